using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Tests.Wal;

/// <summary>A disk that keeps nothing and allocates nothing, and counts the buffers of a gathered write.</summary>
internal sealed class CountingFileSystem : IFileSystem, IFile
{
    public int MostBuffers { get; private set; }

    public string Path => "/counted";

    public long Length { get; private set; }

    public IFile OpenRead(string path) => this;

    public IFile CreateNew(string path) => this;

    public IFile OpenAppendable(string path) => this;

    public void Rename(string from, string to) => throw new NotSupportedException();

    public void Link(string existing, string link) => throw new NotSupportedException();

    public void Unlink(string path) => throw new NotSupportedException();

    public void MakeDir(string path) => throw new NotSupportedException();

    public void RemoveDir(string path) => throw new NotSupportedException();

    public IReadOnlyList<DirectoryEntry> List(string path) => [];

    public long? FileSize(string path) => Length;

    public void SyncDir(string path)
    {
    }

    public long FreeSpace(string path) => long.MaxValue;

    public IDisposable Lock(string path, string holder) => this;

    public int Read(long offset, Span<byte> destination) => 0;

    public void Write(long offset, ReadOnlySpan<byte> source) => Length = Math.Max(Length, offset + source.Length);

    public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => MostBuffers = Math.Max(MostBuffers, buffers.Count);

    public void Preallocate(long length) => Length = Math.Max(Length, length);

    public void SetLength(long length) => Length = length;

    public void SyncData()
    {
    }

    public void SyncAll()
    {
    }

    public MappedFile? TryMap() => null;

    public void Dispose()
    {
    }
}
