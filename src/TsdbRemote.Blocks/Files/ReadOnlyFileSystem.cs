namespace TsdbRemote.Blocks.Files;

/// <summary>A disk that can be read and not changed, and that tells how much is read: for whoever examines what is not his.</summary>
/// <remarks>
/// Whatever would change something is a fault of its caller and throws <see cref="InvalidOperationException"/>. Files are read, never mapped: an error of the disk is then an
/// exception and not a signal. As thread-safe as the disk behind it.
/// </remarks>
/// <param name="inner">The disk.</param>
/// <param name="read">Told the bytes of each read once it is done, on its thread: may wait, so as to bound the pace, or throw, so as to end it.</param>
/// <param name="keepsCache">False: what was read is dropped from the page cache, 8 MiB behind and at the end, so that one who reads everything once does not push out what others read again and again.</param>
public sealed class ReadOnlyFileSystem(IFileSystem inner, Action<int> read, bool keepsCache = true) : IFileSystem
{
    private const long DropEvery = 8 << 20;

    /// <inheritdoc/>
    public IFile OpenRead(string path) => new ReadOnlyFile(inner.OpenRead(path), read, keepsCache);

    /// <inheritdoc/>
    public IFile CreateNew(string path) => throw Refused("create", path);

    /// <inheritdoc/>
    public IFile OpenAppendable(string path) => throw Refused("open for writing", path);

    /// <inheritdoc/>
    public void Rename(string from, string to) => throw Refused("rename", from);

    /// <inheritdoc/>
    public void Link(string existing, string link) => throw Refused("link", existing);

    /// <inheritdoc/>
    public void Unlink(string path) => throw Refused("unlink", path);

    /// <inheritdoc/>
    public void MakeDir(string path) => throw Refused("mkdir", path);

    /// <inheritdoc/>
    public void RemoveDir(string path) => throw Refused("rmdir", path);

    /// <inheritdoc/>
    public IReadOnlyList<DirectoryEntry> List(string path) => inner.List(path);

    /// <inheritdoc/>
    public long? FileSize(string path) => inner.FileSize(path);

    /// <inheritdoc/>
    public void SyncDir(string path) => throw Refused("fsync", path);

    /// <inheritdoc/>
    public long FreeSpace(string path) => inner.FreeSpace(path);

    /// <inheritdoc/>
    public string? UnreliableKind(string path) => inner.UnreliableKind(path);

    /// <inheritdoc/>
    public IDisposable Lock(string path, string holder) => throw Refused("lock", path);

    /// <inheritdoc/>
    public IDisposable? LockUnchanged(string path) => inner.LockUnchanged(path);

    private static InvalidOperationException Refused(string operation, string path) => new($"{operation} of {path}: nothing may be changed here");

    private sealed class ReadOnlyFile(IFile inner, Action<int> read, bool keepsCache) : IFile
    {
        private long _sinceDrop;
        private long _end;

        public string Path => inner.Path;

        public long Length => inner.Length;

        public int Read(long offset, Span<byte> destination)
        {
            int count = inner.Read(offset, destination);
            if (!keepsCache) Drop(offset + count, count);
            read(count);
            return count;
        }

        public void Write(long offset, ReadOnlySpan<byte> source) => throw Refused("write", Path);

        public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => throw Refused("write", Path);

        public void Preallocate(long length) => throw Refused("posix_fallocate", Path);

        public void SetLength(long length) => throw Refused("ftruncate", Path);

        public void SyncData() => throw Refused("fdatasync", Path);

        public void SyncAll() => throw Refused("fsync", Path);

        public MappedFile? TryMap() => null;

        public void DropCached(long end) => inner.DropCached(end);

        public void Dispose()
        {
            if (_sinceDrop > 0) inner.DropCached(_end);
            inner.Dispose();
        }

        private void Drop(long end, int count)
        {
            _end = Math.Max(_end, end);
            _sinceDrop += count;
            if (_sinceDrop < DropEvery) return;
            inner.DropCached(_end);
            _sinceDrop = 0;
        }
    }
}
