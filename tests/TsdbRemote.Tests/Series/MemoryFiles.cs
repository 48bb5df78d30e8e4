using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Tests.Series;

/// <summary>Just enough of a disk for the tests of one file format: names, bytes, and what was synced.</summary>
internal sealed class MemoryFiles : IFileSystem
{
    private readonly Dictionary<string, MemoryFile> _files = [];

    public byte[] this[string path]
    {
        get => _files[path].Bytes;
        set => _files[path] = new MemoryFile(path) { Bytes = value };
    }

    public List<int> WriteSizes { get; } = [];

    public int SyncedLength(string path) => _files[path].SyncedLength;

    public IFile OpenRead(string path) => _files[path];

    public IFile CreateNew(string path)
    {
        var file = new MemoryFile(path) { Log = WriteSizes };
        _files.Add(path, file);
        return file;
    }

    public IFile OpenAppendable(string path) => _files[path];

    public long? FileSize(string path) => _files.TryGetValue(path, out MemoryFile? file) ? file.Length : null;

    public void Rename(string from, string to) => throw new NotSupportedException();

    public void Link(string existing, string link) => throw new NotSupportedException();

    public void Unlink(string path) => _files.Remove(path);

    public void MakeDir(string path) => throw new NotSupportedException();

    public void RemoveDir(string path) => throw new NotSupportedException();

    public IReadOnlyList<DirectoryEntry> List(string path) => throw new NotSupportedException();

    public void SyncDir(string path) => throw new NotSupportedException();

    public long FreeSpace(string path) => throw new NotSupportedException();

    public IDisposable Lock(string path, string holder) => throw new NotSupportedException();

    private sealed class MemoryFile(string path) : IFile
    {
        public byte[] Bytes { get; set; } = [];

        public List<int>? Log { get; init; }

        public int SyncedLength { get; private set; }

        public string Path => path;

        public long Length => Bytes.Length;

        public int Read(long offset, Span<byte> destination)
        {
            ReadOnlySpan<byte> rest = Bytes.AsSpan((int)Math.Min(offset, Bytes.Length));
            int length = Math.Min(rest.Length, destination.Length);
            rest[..length].CopyTo(destination);
            return length;
        }

        public void Write(long offset, ReadOnlySpan<byte> source)
        {
            Log?.Add(source.Length);
            if (offset + source.Length > Bytes.Length) SetLength(offset + source.Length);
            source.CopyTo(Bytes.AsSpan((int)offset));
        }

        public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => throw new NotSupportedException();

        public void Preallocate(long length) => throw new NotSupportedException();

        public void SetLength(long length)
        {
            byte[] bytes = new byte[length];
            Bytes.AsSpan(0, (int)Math.Min(length, Bytes.Length)).CopyTo(bytes);
            Bytes = bytes;
        }

        public void SyncData() => throw new NotSupportedException();

        public void SyncAll() => SyncedLength = Bytes.Length;

        public MappedFile? TryMap() => null;

        public void Dispose()
        {
        }
    }
}
