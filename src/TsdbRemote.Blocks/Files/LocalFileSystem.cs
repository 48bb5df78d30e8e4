using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>The disk of this machine, through the C library's calls.</summary>
/// <remarks>
/// Linux on x64 and arm64 only; layouts and constants are in <see cref="Libc"/>. The framework's own file API is not used for
/// what must last: its flush swallows EROFS, EINVAL and ENOTSUP, its move copies across file systems, and it can neither sync
/// a directory nor call <c>fdatasync</c>.
/// Promise:   every call does what it says or throws <see cref="DiskException"/> with the errno; only EINTR is repeated.
/// Names:     absolute paths, or relative to the working directory. A symbolic link inside a listed directory is listed as
///            itself, never as the directory it points to; opening refuses a link at the end of the path, and whatever is no
///            regular file (a fifo would block for ever). Links on the way to it are followed.
/// Modes:     files 0666 and directories 0777, less the process's umask; descriptors are closed on exec.
/// Not here:  when to sync, and what to do after a failure (the engine); retries (nobody).
/// Thread-safe.
/// </remarks>
public sealed unsafe class LocalFileSystem : IFileSystem
{
    private const uint FileMode = 0b110_110_110;
    private const uint DirectoryMode = 0b111_111_111;
    private const int MaxHolderBytes = 1024;

    private readonly bool _mmap;
    private readonly bool _keepsAccessTimes;
    private readonly IDiskCalls _calls;

    /// <summary>The disk.</summary>
    /// <param name="mmap">False: <see cref="IFile.TryMap"/> answers null, and a bad sector is an error instead of a SIGBUS.</param>
    /// <param name="keepsAccessTimes">True: what is read keeps its time of last access, where the kernel lets us (the owner of the file, or root).</param>
    /// <exception cref="PlatformNotSupportedException">Not Linux on x64 or arm64.</exception>
    public LocalFileSystem(bool mmap = true, bool keepsAccessTimes = false)
        : this(mmap, DiskCalls.Real) => _keepsAccessTimes = keepsAccessTimes;

    /// <summary>The disk with some calls replaced by a test.</summary>
    internal LocalFileSystem(bool mmap, IDiskCalls calls)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture is not (Architecture.X64 or Architecture.Arm64))
            throw new PlatformNotSupportedException("the data directory needs Linux on x64 or arm64");
        _mmap = mmap;
        _calls = calls;
    }

    /// <summary>What a process writes into its lock: pid and start time, so that a number used again is not taken for it.</summary>
    public static string DescribeThisProcess()
    {
        using Process process = Process.GetCurrentProcess();
        string started = process.StartTime.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        return string.Create(CultureInfo.InvariantCulture, $"pid {process.Id}, started {started}");
    }

    /// <summary>Where a path ends once symbolic links at its end are followed; what opens data files follows none. For files that a user names.</summary>
    /// <param name="path">A path; there need be nothing.</param>
    /// <exception cref="DiskException">The links go round.</exception>
    public static string TargetOf(string path)
    {
        try
        {
            return new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path;
        }
        catch (Exception gone) when (gone is FileNotFoundException or DirectoryNotFoundException)
        {
            return path; // whoever opens it says so
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            throw new DiskException("readlink", path, Errno.Invalid, failed.Message);
        }
    }

    /// <inheritdoc/>
    public IFile OpenRead(string path) => OpenFile(path, Libc.ReadOnly, writable: false);

    /// <inheritdoc/>
    public IFile CreateNew(string path) => OpenFile(path, Libc.ReadWrite | Libc.Create | Libc.Exclusive, writable: true);

    /// <inheritdoc/>
    public IFile OpenAppendable(string path) => OpenFile(path, Libc.ReadWrite, writable: true);

    /// <inheritdoc/>
    public void Rename(string from, string to)
    {
        if (Libc.Rename(Checked(from), Checked(to)) != 0) throw LastError("rename", from, to);
    }

    /// <inheritdoc/>
    public void Link(string existing, string link)
    {
        if (Libc.Link(Checked(existing), Checked(link)) != 0) throw LastError("link", existing, link);
    }

    /// <inheritdoc/>
    public void Unlink(string path)
    {
        if (Libc.Unlink(Checked(path)) != 0) throw LastError("unlink", path);
    }

    /// <inheritdoc/>
    public void MakeDir(string path)
    {
        if (Libc.MakeDirectory(Checked(path), DirectoryMode) == 0) return;
        DiskException refused = LastError("mkdir", path);
        Libc.FileStatus status;
        bool there = refused.Errno == Errno.Exists
            && Libc.Stat(Libc.AtWorkingDirectory, path, 0, Libc.StatTypeAndSize, &status) == 0
            && status.IsDirectory;
        if (!there) throw refused;
    }

    /// <inheritdoc/>
    public void RemoveDir(string path)
    {
        if (Libc.RemoveDirectory(Checked(path)) != 0) throw LastError("rmdir", path);
    }

    /// <inheritdoc/>
    public IReadOnlyList<DirectoryEntry> List(string path)
    {
        int descriptor = OpenToRead(path, Libc.DirectoryOnly);
        if (descriptor < 0) return Marshal.GetLastPInvokeError() == Errno.NoEntry ? [] : throw LastError("opendir", path);
        nint stream = Libc.OpenDirectory(descriptor);
        if (stream == 0)
        {
            DiskException refused = LastError("opendir", path);
            _ = Libc.Close(descriptor);
            throw refused;
        }

        try
        {
            List<DirectoryEntry> entries = [];
            while (Libc.ReadDirectory(stream) is nint record and not 0)
            {
                if (Describe(stream, (byte*)record + Libc.DirectoryRecord.NameOffset, path) is { } entry) entries.Add(entry);
            }

            if (Marshal.GetLastPInvokeError() != 0) throw LastError("readdir", path);
            entries.Sort(static (left, right) => string.CompareOrdinal(left.Name, right.Name));
            return entries;
        }
        finally
        {
            _ = Libc.CloseDirectory(stream);
        }
    }

    /// <inheritdoc/>
    public long? FileSize(string path)
    {
        Libc.FileStatus status;
        if (Libc.Stat(Libc.AtWorkingDirectory, Checked(path), 0, Libc.StatTypeAndSize, &status) == 0)
            return status.IsRegular ? status.Size : null;
        return Marshal.GetLastPInvokeError() is Errno.NoEntry or Errno.NotDirectory ? null : throw LastError("stat", path);
    }

    /// <inheritdoc/>
    public void SyncDir(string path)
    {
        using FileHandle directory = OpenHandle(path, Libc.ReadOnly | Libc.DirectoryOnly);
        int errno;
        do errno = _calls.SyncAll(directory);
        while (errno == Errno.Interrupted);

        if (errno != 0) throw new DiskException("fsync", path, errno, Errno.Describe(errno));
    }

    /// <inheritdoc/>
    /// <remarks>0 on a file system that is mounted read-only, or became so after an error.</remarks>
    public long FreeSpace(string path)
    {
        Libc.VolumeStatus status;
        if (!TryStatVolume(Checked(path), &status)) throw LastError("statvfs", path);
        if ((status.Flags & Libc.MountedReadOnly) != 0) return 0;
        UInt128 bytes = (UInt128)status.AvailableFragments * status.FragmentBytes;
        return bytes > long.MaxValue ? long.MaxValue : (long)bytes;
    }

    /// <summary>
    /// The kind of a file system on which locks, syncs or maps cannot be relied on (<c>nfs</c>, <c>smb</c>, <c>fuse</c>, <c>9p</c>),
    /// or null for one that keeps its promises.
    /// </summary>
    /// <exception cref="DiskException">The path cannot be examined.</exception>
    public static string? UnreliableKind(string path)
    {
        Libc.FileSystemStatus status;
        while (Libc.StatFileSystem(Checked(path), &status) != 0)
        {
            if (Marshal.GetLastPInvokeError() != Errno.Interrupted) throw LastError("statfs", path);
        }

        // Numbers of linux/magic.h; the word is signed and cifs' fills all 32 bits.
        return (uint)status.Kind switch
        {
            0x6969 => "nfs",
            0x517B or 0xFE534D42 or 0xFF534D42 => "smb",
            0x65735546 => "fuse",
            0x01021997 => "9p",
            _ => null,
        };
    }

    /// <inheritdoc/>
    string? IFileSystem.UnreliableKind(string path) => UnreliableKind(path);

    /// <inheritdoc/>
    public string BootId => field ??= FindBootId();

    /// <inheritdoc/>
    /// <remarks>
    /// The lock is <c>flock</c>: it is the kernel's, ends with the process, and is refused within the same process too. The file
    /// stays behind when the lock is let go; deleting it would let two processes lock two files of one name.
    /// </remarks>
    public IDisposable Lock(string path, string holder)
    {
        FileHandle handle = OpenHandle(path, Libc.ReadWrite | Libc.Create);
        var file = new LocalFile(handle, path, writable: true, mappable: false, _calls);
        try
        {
            Take(handle, Libc.LockExclusiveNow, file);
            Name(holder, file);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IDisposable? LockUnchanged(string path)
    {
        int descriptor = OpenToRead(path, Libc.NoFollow | Libc.NonBlocking);
        if (descriptor < 0) return Marshal.GetLastPInvokeError() == Errno.NoEntry ? null : throw LastError("open", path);
        var handle = new FileHandle(descriptor);
        var file = new LocalFile(handle, path, writable: false, mappable: false, _calls);
        try
        {
            Take(handle, Libc.LockSharedNow, file);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Says who holds a lock, in its file; over the old text, which on a full disk has the only room there is.</summary>
    private static void Name(string holder, LocalFile file)
    {
        byte[] text = System.Text.Encoding.UTF8.GetBytes(holder);
        try
        {
            file.Write(0, text);
            file.SetLength(text.Length);
        }
        catch (DiskException full) when (full.Errno is Errno.NoSpace or Errno.Quota)
        {
            // And therefore others are refused as they should be, and not told by whom.
        }
    }

    /// <summary>Whether the file system of a path is mounted read-only; false also when that cannot be found out.</summary>
    /// <remarks>A file system that gave up its journal turns read-only; some kernels then answer a sync with success.</remarks>
    internal static bool IsReadOnlyMount(string path)
    {
        Libc.VolumeStatus status;
        return TryStatVolume(path, &status) && (status.Flags & Libc.MountedReadOnly) != 0;
    }

    private static void Take(FileHandle handle, int operation, LocalFile file)
    {
        while (Libc.Lock(handle, operation) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno == Errno.WouldBlock) throw new DirectoryLockedException(file.Path, HolderIn(file));
            if (errno != Errno.Interrupted) throw new DiskException("flock", file.Path, errno, Errno.Describe(errno));
        }
    }

    private static string HolderIn(LocalFile file)
    {
        Span<byte> bytes = stackalloc byte[MaxHolderBytes];
        int length = file.Read(0, bytes);
        return length == 0 ? "no name given" : System.Text.Encoding.UTF8.GetString(bytes[..length]);
    }

    private static DirectoryEntry? Describe(nint stream, byte* name, string path)
    {
        string text = Marshal.PtrToStringUTF8((nint)name)!;
        if (text is "." or "..") return null;
        Libc.FileStatus status;
        if (Libc.Stat(Libc.DirectoryDescriptor(stream), name, Libc.AtNoFollow, Libc.StatTypeAndSize, &status) == 0)
            return new DirectoryEntry(text, status.IsDirectory, status.IsDirectory ? 0 : status.Size);

        // Removed since it was listed: then it is no longer there to be named.
        return Marshal.GetLastPInvokeError() == Errno.NoEntry ? null : throw LastError("stat", $"{path}/{text}");
    }

    private static bool TryStatVolume(string path, Libc.VolumeStatus* status)
    {
        while (Libc.StatVolume(path, status) != 0)
        {
            if (Marshal.GetLastPInvokeError() != Errno.Interrupted) return false;
        }

        return true;
    }

    private static FileHandle OpenHandle(string path, int flags)
    {
        while (true)
        {
            int descriptor = Libc.Open(Checked(path), flags | Libc.CloseOnExec, FileMode);
            if (descriptor >= 0) return new FileHandle(descriptor);
            if (Marshal.GetLastPInvokeError() != Errno.Interrupted) throw LastError("open", path);
        }
    }

    /// <summary>Opens for reading.</summary>
    /// <returns>A descriptor; negative if it failed, and errno tells.</returns>
    private int OpenToRead(string path, int flags)
    {
        bool keepsTime = _keepsAccessTimes;
        while (true)
        {
            int descriptor = Libc.Open(Checked(path), Libc.ReadOnly | Libc.CloseOnExec | flags | (keepsTime ? Libc.KeepAccessTime : 0), 0);
            if (descriptor >= 0) return descriptor;
            int errno = Marshal.GetLastPInvokeError();
            if (errno == Errno.NotPermitted && keepsTime) keepsTime = false; // another user's file: it can be read, as others read it
            else if (errno != Errno.Interrupted) return descriptor;
        }
    }

    // A name cut at an embedded NUL by the C library would be another file's.
    private static string Checked(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (path.Contains('\0', StringComparison.Ordinal)) throw new ArgumentException("a path cannot contain NUL", nameof(path));
        return path;
    }

    private static DiskException LastError(string operation, string path, string? target = null)
    {
        int errno = Marshal.GetLastPInvokeError();
        string detail = Errno.Describe(errno);
        return new DiskException(operation, path, errno, target is null ? detail : $"{detail}; target {target}");
    }

    private int OpenOrThrow(string path)
    {
        int descriptor = OpenToRead(path, Libc.NonBlocking | Libc.NoFollow);
        return descriptor >= 0 ? descriptor : throw LastError("open", path);
    }

    private LocalFile OpenFile(string path, int flags, bool writable)
    {
        // A link among the files, as in a block that somebody put there, would have us serve what lies elsewhere.
        FileHandle handle = writable ? OpenHandle(path, flags | Libc.NonBlocking | Libc.NoFollow) : new FileHandle(OpenOrThrow(path));
        byte empty = 0;
        Libc.FileStatus status;
        int errno = Libc.Stat(handle, &empty, Libc.AtEmptyPath, Libc.StatTypeAndSize, &status) == 0 ? 0 : Marshal.GetLastPInvokeError();
        if (errno == 0 && status.IsRegular) return new LocalFile(handle, path, writable, _mmap, _calls);
        handle.Dispose();
        if (errno != 0) throw new DiskException("fstat", path, errno, Errno.Describe(errno));
        throw new DiskException("open", path, status.IsDirectory ? Errno.IsDirectory : Errno.Invalid, "not a regular file");
    }

    private string FindBootId()
    {
        try
        {
            using IFile file = OpenRead("/proc/sys/kernel/random/boot_id");
            Span<byte> id = stackalloc byte[64];
            return System.Text.Encoding.ASCII.GetString(id[..file.Read(0, id)]);
        }
        catch (DiskException)
        {
            return ""; // nobody can tell
        }
    }
}
