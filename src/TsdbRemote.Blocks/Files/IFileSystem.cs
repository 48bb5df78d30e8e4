namespace TsdbRemote.Blocks.Files;

/// <summary>One entry of a directory.</summary>
/// <param name="Name">File name without the directory.</param>
/// <param name="IsDirectory">True for a directory.</param>
/// <param name="Length">Length in bytes; 0 for a directory.</param>
public readonly record struct DirectoryEntry(string Name, bool IsDirectory, long Length);

/// <summary>The one seam between the engine and the disk.</summary>
/// <remarks>
/// Every operation either does what it says or throws <see cref="DiskException"/> with the errno. Nothing is durable before
/// the matching sync: file contents by <see cref="IFile.SyncData"/> or <see cref="IFile.SyncAll"/>, names by
/// <see cref="SyncDir"/>. Implementations: <c>LocalFileSystem</c>, and the crash-simulating twin of the tests.
/// Thread-safe.
/// </remarks>
public interface IFileSystem
{
    /// <summary>Opens an existing file for reading.</summary>
    IFile OpenRead(string path);

    /// <summary>Creates a file that must not exist yet (O_EXCL), for reading and writing.</summary>
    IFile CreateNew(string path);

    /// <summary>Opens an existing file for reading and writing.</summary>
    IFile OpenAppendable(string path);

    /// <summary>Renames atomically, replacing the target. Never copies: another file system is an error.</summary>
    void Rename(string from, string to);

    /// <summary>Gives a file a second name (hard link). The new name must not exist.</summary>
    void Link(string existing, string link);

    /// <summary>Removes a file's name.</summary>
    void Unlink(string path);

    /// <summary>Creates one directory level; an existing directory is no error.</summary>
    void MakeDir(string path);

    /// <summary>Removes an empty directory.</summary>
    void RemoveDir(string path);

    /// <summary>Lists a directory in ordinal order of names; an absent directory lists as empty.</summary>
    IReadOnlyList<DirectoryEntry> List(string path);

    /// <summary>Length of a file in bytes, or null if there is none of that name.</summary>
    long? FileSize(string path);

    /// <summary>Makes the names in a directory durable (fsync of the directory).</summary>
    void SyncDir(string path);

    /// <summary>Bytes that an unprivileged writer may still use on the file system of <paramref name="path"/>.</summary>
    long FreeSpace(string path);

    /// <summary>
    /// The kind of the file system of <paramref name="path"/> if it is one on which locks, syncs or maps cannot be relied on (<c>nfs</c>, <c>smb</c>, <c>fuse</c>,
    /// <c>9p</c>); null for one that keeps its promises.
    /// </summary>
    string? UnreliableKind(string path) => null;

    /// <summary>Which run of the machine this is: another text after a power cut or a reboot. Empty where nobody can tell.</summary>
    string BootId => "";

    /// <summary>Takes the exclusive lock file, creating it if needed, and writes <paramref name="holder"/> into it.</summary>
    /// <exception cref="DirectoryLockedException">Another process holds it.</exception>
    IDisposable Lock(string path, string holder);

    /// <summary>Keeps others from taking <see cref="Lock"/> while something is only read: changes nothing, the lock file's text and times included.</summary>
    /// <returns>Null if there is no lock file: then nobody holds it, and nobody is kept from it.</returns>
    /// <exception cref="DirectoryLockedException">Another process holds the lock.</exception>
    IDisposable? LockUnchanged(string path) => throw new NotSupportedException($"{path}: this file system has no lock that changes nothing");
}

/// <summary>An open file. Positions are explicit; there is no cursor. Thread-safe for reads; one writer.</summary>
public interface IFile : IDisposable
{
    /// <summary>The name it was opened by.</summary>
    string Path { get; }

    /// <summary>Current length in bytes.</summary>
    long Length { get; }

    /// <summary>Reads until the span is full or the file ends.</summary>
    /// <returns>Bytes read; fewer than asked only at the end of the file.</returns>
    int Read(long offset, Span<byte> destination);

    /// <summary>Writes all bytes at an offset.</summary>
    void Write(long offset, ReadOnlySpan<byte> source);

    /// <summary>Writes all buffers one behind the other, in as few system calls as possible.</summary>
    void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers);

    /// <summary>Grows the file to <paramref name="length"/> bytes of zeros, with its blocks reserved.</summary>
    void Preallocate(long length);

    /// <summary>Cuts or extends the file.</summary>
    void SetLength(long length);

    /// <summary>Makes the contents durable, with the metadata needed to read them back (fdatasync).</summary>
    void SyncData();

    /// <summary>Makes contents and all metadata durable (fsync).</summary>
    void SyncAll();

    /// <summary>
    /// Lets the operating system drop what it has cached of the file's first bytes, if it likes: pages that some process maps and uses stay, and so do those not written yet.
    /// Changes nothing that can be read.
    /// </summary>
    /// <param name="end">Bytes from the beginning.</param>
    void DropCached(long end)
    {
    }

    /// <summary>Maps the whole file for reading, or returns null where mapping is not possible; the caller then reads.</summary>
    MappedFile? TryMap();
}

/// <summary>The data directory is in use by another process.</summary>
public sealed class DirectoryLockedException : IOException
{
    /// <summary>Names the lock file and its holder.</summary>
    public DirectoryLockedException(string path, string holder)
        : base($"{path} is held by another process: {holder}") => Holder = holder;

    /// <summary>What the holder wrote into the lock: its pid and start time.</summary>
    public string Holder { get; }
}
