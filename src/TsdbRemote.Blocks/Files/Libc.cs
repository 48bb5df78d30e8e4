using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>The C library's calls behind <see cref="LocalFileSystem"/>, as they are: no loops, no exceptions.</summary>
/// <remarks>
/// Constants and layouts are those of 64-bit Linux on x64 and arm64, where <c>off_t</c> is 64 bits wide. Where the two differ
/// (<c>O_DIRECTORY</c>) the value is chosen at run time; <c>stat</c> differs in layout, so the kernel's <c>statx</c> is used,
/// whose layout is one for all processors.
/// </remarks>
internal static unsafe partial class Libc
{
    public const int ReadOnly = 0;
    public const int ReadWrite = 2;
    public const int Create = 0x40;
    public const int Exclusive = 0x80;
    public const int NonBlocking = 0x800;
    public const int CloseOnExec = 0x80000;

    public const int KeepAccessTime = 0x40000; // O_NOATIME
    public const int LockSharedNow = 1 | 4; // LOCK_SH | LOCK_NB
    public const int LockExclusiveNow = 2 | 4; // LOCK_EX | LOCK_NB
    public const int ProtectRead = 1;
    public const int MapShared = 1;

    public const int NotNeeded = 4; // POSIX_FADV_DONTNEED

    public const int AtWorkingDirectory = -100;
    public const int AtNoFollow = 0x100;
    public const int AtEmptyPath = 0x1000;
    public const uint StatTypeAndSize = 0x1 | 0x200; // STATX_TYPE | STATX_SIZE

    public const ulong MountedReadOnly = 1; // ST_RDONLY

    public const int LargeBlockOption = -3; // M_MMAP_THRESHOLD

    private const string Library = "libc";

    /// <summary>O_DIRECTORY: one of the few flags that arm64 numbers differently.</summary>
    public static readonly int DirectoryOnly = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x4000 : 0x10000;

    /// <summary>O_NOFOLLOW: another one.</summary>
    public static readonly int NoFollow = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    [LibraryImport(Library, EntryPoint = "mallopt")]
    public static partial int SetAllocatorOption(int option, int value);

    [LibraryImport(Library, EntryPoint = "malloc_trim")]
    public static partial int TrimAllocator(nuint keptBytes);

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags, uint mode);

    [LibraryImport(Library, EntryPoint = "close", SetLastError = true)]
    public static partial int Close(nint descriptor);

    [LibraryImport(Library, EntryPoint = "pread", SetLastError = true)]
    public static partial nint ReadAt(FileHandle file, byte* buffer, nuint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwritev", SetLastError = true)]
    public static partial nint WriteVectorAt(FileHandle file, IoVector* vectors, int count, long offset);

    [LibraryImport(Library, EntryPoint = "posix_fallocate")]
    public static partial int Allocate(FileHandle file, long offset, long length);

    [LibraryImport(Library, EntryPoint = "posix_fadvise")]
    public static partial int Advise(FileHandle file, long offset, long length, int advice);

    [LibraryImport(Library, EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Truncate(FileHandle file, long length);

    [LibraryImport(Library, EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int SyncData(FileHandle file);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    public static partial int SyncAll(FileHandle file);

    [LibraryImport(Library, EntryPoint = "flock", SetLastError = true)]
    public static partial int Lock(FileHandle file, int operation);

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    public static partial nint Map(nint address, nuint length, int protection, int flags, FileHandle file, long offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    public static partial int Unmap(nint address, nuint length);

    [LibraryImport(Library, EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Rename(string from, string to);

    [LibraryImport(Library, EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Link(string existing, string link);

    [LibraryImport(Library, EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unlink(string path);

    [LibraryImport(Library, EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int MakeDirectory(string path, uint mode);

    [LibraryImport(Library, EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int RemoveDirectory(string path);

    [LibraryImport(Library, EntryPoint = "fdopendir", SetLastError = true)]
    public static partial nint OpenDirectory(int descriptor);

    /// <summary>Returns 0 both at the end and on an error; the generated stub clears errno first, so that it tells them apart.</summary>
    [LibraryImport(Library, EntryPoint = "readdir", SetLastError = true)]
    public static partial nint ReadDirectory(nint stream);

    [LibraryImport(Library, EntryPoint = "closedir", SetLastError = true)]
    public static partial int CloseDirectory(nint stream);

    [LibraryImport(Library, EntryPoint = "dirfd", SetLastError = true)]
    public static partial int DirectoryDescriptor(nint stream);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Stat(int directory, string path, int flags, uint mask, FileStatus* status);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true)]
    public static partial int Stat(int directory, byte* name, int flags, uint mask, FileStatus* status);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true)]
    public static partial int Stat(FileHandle file, byte* empty, int flags, uint mask, FileStatus* status);

    [LibraryImport(Library, EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int StatVolume(string path, VolumeStatus* status);

    [LibraryImport(Library, EntryPoint = "statfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int StatFileSystem(string path, FileSystemStatus* status);

    /// <summary><c>struct iovec</c>: a buffer of a gathered write.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct IoVector
    {
        public byte* Pointer;
        public nuint Length;
    }

    /// <summary>The parts of <c>struct statx</c> (256 bytes) that are read.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct FileStatus
    {
        [FieldOffset(28)]
        public ushort Mode;

        [FieldOffset(40)]
        public long Size;

        public readonly bool IsRegular => (Mode & 0xF000) == 0x8000;

        public readonly bool IsDirectory => (Mode & 0xF000) == 0x4000;
    }

    /// <summary>The parts of <c>struct statvfs</c> (112 bytes, some slack) that are read.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct VolumeStatus
    {
        [FieldOffset(8)]
        public ulong FragmentBytes;

        [FieldOffset(32)]
        public ulong AvailableFragments;

        [FieldOffset(72)]
        public ulong Flags;
    }

    /// <summary>The kind of a file system: the first word of <c>struct statfs</c> (120 bytes, some slack).</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    public struct FileSystemStatus
    {
        [FieldOffset(0)]
        public long Kind;
    }

    /// <summary><c>struct dirent</c> of 64-bit glibc and musl: inode 8, offset 8, length 2, type 1, then the name.</summary>
    public static class DirectoryRecord
    {
        public const int NameOffset = 19;
    }
}
