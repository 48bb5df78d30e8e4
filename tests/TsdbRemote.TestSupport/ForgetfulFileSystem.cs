using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>Which call makes something durable.</summary>
public enum SyncKind
{
    /// <summary>Contents of a file (fdatasync).</summary>
    Data,

    /// <summary>Contents and metadata of a file (fsync).</summary>
    All,

    /// <summary>Names in a directory.</summary>
    Directory,
}

/// <summary>A disk on which one kind of sync says "done" and does nothing: what the code would be with that call removed.</summary>
/// <remarks>Meant are files whose path holds the part and ends so; of directories, without a suffix, the one that has exactly that path.</remarks>
public sealed class ForgetfulFileSystem(IFileSystem inner, SyncKind kind, string pathPart, string suffix) : IFileSystem
{
    private long _forgotten;

    /// <summary>Syncs left out so far.</summary>
    public long Forgotten => Interlocked.Read(ref _forgotten);

    public IFile OpenRead(string path) => new ForgetfulFile(this, inner.OpenRead(path));

    public IFile CreateNew(string path) => new ForgetfulFile(this, inner.CreateNew(path));

    public IFile OpenAppendable(string path) => new ForgetfulFile(this, inner.OpenAppendable(path));

    public void Rename(string from, string to) => inner.Rename(from, to);

    public void Link(string existing, string link) => inner.Link(existing, link);

    public void Unlink(string path) => inner.Unlink(path);

    public void MakeDir(string path) => inner.MakeDir(path);

    public void RemoveDir(string path) => inner.RemoveDir(path);

    public IReadOnlyList<DirectoryEntry> List(string path) => inner.List(path);

    public long? FileSize(string path) => inner.FileSize(path);

    public void SyncDir(string path)
    {
        bool isMeant = suffix.Length == 0 ? path == pathPart : path.Contains(pathPart, StringComparison.Ordinal) && path.EndsWith(suffix, StringComparison.Ordinal);
        if (kind == SyncKind.Directory && isMeant) Interlocked.Increment(ref _forgotten);
        else inner.SyncDir(path);
    }

    public long FreeSpace(string path) => inner.FreeSpace(path);

    public string? UnreliableKind(string path) => inner.UnreliableKind(path);

    public string BootId => inner.BootId;

    public IDisposable Lock(string path, string holder) => inner.Lock(path, holder);

    private bool Forgets(SyncKind asked, string path)
    {
        if (asked != kind || !path.Contains(pathPart, StringComparison.Ordinal) || !path.EndsWith(suffix, StringComparison.Ordinal)) return false;
        Interlocked.Increment(ref _forgotten);
        return true;
    }

    private sealed class ForgetfulFile(ForgetfulFileSystem owner, IFile inner) : IFile
    {
        public string Path => inner.Path;

        public long Length => inner.Length;

        public int Read(long offset, Span<byte> destination) => inner.Read(offset, destination);

        public void Write(long offset, ReadOnlySpan<byte> source) => inner.Write(offset, source);

        public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => inner.WriteGather(offset, buffers);

        public void Preallocate(long length) => inner.Preallocate(length);

        public void SetLength(long length) => inner.SetLength(length);

        public void SyncData()
        {
            if (!owner.Forgets(SyncKind.Data, Path)) inner.SyncData();
        }

        public void SyncAll()
        {
            if (!owner.Forgets(SyncKind.All, Path)) inner.SyncAll();
        }

        public MappedFile? TryMap() => inner.TryMap();

        public void Dispose() => inner.Dispose();
    }
}
