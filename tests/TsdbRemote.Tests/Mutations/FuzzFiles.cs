using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Mutations;

/// <summary>A disk with one file, whose bytes are replaced for each input; what is written to it is forgotten.</summary>
/// <remarks>Mapped, the file ends where a page begins that may not be touched: a read beyond the end ends the process. Not thread-safe.</remarks>
internal sealed unsafe class FuzzFiles(string path) : IFileSystem, IFile
{
    private const int NoSuchFile = 2;

    private GuardedBytes _bytes = new(1 << 16);
    private int _capacity = 1 << 16;
    private int _length;

    /// <summary>Whether the file can be mapped.</summary>
    public bool CanMap { get; set; }

    public string Path => path;

    public long Length => _length;

    /// <summary>A number that looks random and is always the same for the same input: decides between options.</summary>
    public uint Variant { get; private set; }

    /// <summary>Replaces the file.</summary>
    public void Put(ReadOnlySpan<byte> input)
    {
        if (input.Length > _capacity)
        {
            _bytes.Dispose();
            _capacity = 2 * input.Length;
            _bytes = new GuardedBytes(_capacity);
        }

        _length = input.Length;
        input.CopyTo(_bytes.Last(_length));

        // Of the bytes as they are, never of a checksum that was put right: that would be the same for all.
        Variant = Crc32C.Of(input[..(input.Length / 2)]) * 0x9E3779B1;
    }

    public IFile OpenRead(string name) => name == path ? this : throw new DiskException("open", name, NoSuchFile, "no such file");

    public long? FileSize(string name) => name == path ? _length : null;

    public IReadOnlyList<DirectoryEntry> List(string directory) => [new DirectoryEntry(path[(path.LastIndexOf('/') + 1)..], IsDirectory: false, _length)];

    public int Read(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        int count = (int)Math.Clamp(_length - offset, 0, destination.Length);
        if (count > 0) _bytes.Last(_length).Slice((int)offset, count).CopyTo(destination);
        return count;
    }

    public MappedFile? TryMap()
    {
        if (!CanMap || _length == 0) return null;
        ref byte first = ref MemoryMarshal.GetReference(_bytes.Last(_length));
        return new MappedFile((byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref first), _length, static (_, _) => { });
    }

    public IFile CreateNew(string name) => new Sink(name);

    public IFile OpenAppendable(string name) => throw new NotSupportedException();

    public void Rename(string from, string to)
    {
    }

    public void Link(string existing, string link)
    {
    }

    public void Unlink(string name)
    {
    }

    public void MakeDir(string directory)
    {
    }

    public void RemoveDir(string directory)
    {
    }

    public void SyncDir(string directory)
    {
    }

    public long FreeSpace(string name) => long.MaxValue;

    public IDisposable Lock(string name, string holder) => throw new NotSupportedException();

    void IFile.Write(long offset, ReadOnlySpan<byte> source) => throw new NotSupportedException();

    void IFile.WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => throw new NotSupportedException();

    void IFile.Preallocate(long length) => throw new NotSupportedException();

    void IFile.SetLength(long length) => throw new NotSupportedException();

    void IFile.SyncData() => throw new NotSupportedException();

    void IFile.SyncAll() => throw new NotSupportedException();

    /// <summary>Closes the file, which can be opened again: the bytes stay for the next input.</summary>
    void IDisposable.Dispose()
    {
    }

    /// <summary>A copy that nobody reads.</summary>
    private sealed class Sink(string name) : IFile
    {
        public string Path => name;

        public long Length { get; private set; }

        public int Read(long offset, Span<byte> destination) => throw new NotSupportedException();

        public void Write(long offset, ReadOnlySpan<byte> source) => Length = Math.Max(Length, offset + source.Length);

        public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => throw new NotSupportedException();

        public void Preallocate(long length) => throw new NotSupportedException();

        public void SetLength(long length) => throw new NotSupportedException();

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
}
