using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Verification;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>Who reads everything once leaves neither its pages behind nor the end to the last.</summary>
public sealed class DroppedCacheTests
{
    private const int Mebi = 1 << 20;

    [Theory]
    [InlineData(true, "")]
    [InlineData(false, "8,16,20")]
    public void A_reader_of_everything_drops_what_it_has_read_behind_it_and_at_the_end(bool keepsCache, string dropped)
    {
        var file = new Noted(20 * Mebi);
        var files = new ReadOnlyFileSystem(new One(file), static _ => { }, keepsCache);
        byte[] piece = new byte[Mebi];
        using (IFile open = files.OpenRead("any"))
        {
            for (long at = 0; at < file.Length; at += Mebi) Assert.Equal(Mebi, open.Read(at, piece));
        }

        Assert.Equal(dropped, string.Join(',', file.Dropped.Select(static end => end / Mebi)));
    }

    [Fact]
    public void What_is_dropped_from_the_cache_is_read_as_before()
    {
        using var directory = new TempDirectory();
        var files = new LocalFileSystem();
        byte[] content = new byte[3 * Mebi];
        new Random(1).NextBytes(content);
        files.WriteNew(directory["file"], content, sync: true);
        using IFile file = files.OpenRead(directory["file"]);
        using MappedFile? map = file.TryMap();
        file.DropCached(content.Length);
        byte[] read = new byte[content.Length];
        Assert.Equal(content.Length, file.Read(0, read));
        Assert.Equal(content, read);
        Assert.Equal(content, map!.Slice(0, content.Length).Span.ToArray());
    }

    [Theory]
    [InlineData(0, "1234")]
    [InlineData(0.49, "2341")]
    [InlineData(0.5, "3412")]
    [InlineData(0.99, "4123")]
    public void A_check_that_does_not_begin_at_the_beginning_comes_to_all_of_it(double startAt, string order)
    {
        var run = new VerifyRun(new CrashFileSystem("/disk"), new DataLayout("/disk/data"), live: null, progress: null, CancellationToken.None, startAt);
        Assert.Equal(order, string.Concat(run.InTurn([1, 2, 3, 4])));
        Assert.Empty(run.InTurn(Array.Empty<int>()));
    }

    private sealed class One(IFile file) : IFileSystem
    {
        public IFile OpenRead(string path) => file;

        public IFile CreateNew(string path) => throw new NotSupportedException();

        public IFile OpenAppendable(string path) => throw new NotSupportedException();

        public void Rename(string from, string to) => throw new NotSupportedException();

        public void Link(string existing, string link) => throw new NotSupportedException();

        public void Unlink(string path) => throw new NotSupportedException();

        public void MakeDir(string path) => throw new NotSupportedException();

        public void RemoveDir(string path) => throw new NotSupportedException();

        public IReadOnlyList<DirectoryEntry> List(string path) => throw new NotSupportedException();

        public long? FileSize(string path) => file.Length;

        public void SyncDir(string path) => throw new NotSupportedException();

        public long FreeSpace(string path) => throw new NotSupportedException();

        public IDisposable Lock(string path, string holder) => throw new NotSupportedException();
    }

    /// <summary>A file of zeros that remembers what was dropped.</summary>
    private sealed class Noted(long length) : IFile
    {
        public List<long> Dropped { get; } = [];

        public string Path => "any";

        public long Length => length;

        public int Read(long offset, Span<byte> destination) => (int)Math.Min(destination.Length, length - offset);

        public void DropCached(long end) => Dropped.Add(end);

        public void Write(long offset, ReadOnlySpan<byte> source) => throw new NotSupportedException();

        public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => throw new NotSupportedException();

        public void Preallocate(long length) => throw new NotSupportedException();

        public void SetLength(long length) => throw new NotSupportedException();

        public void SyncData() => throw new NotSupportedException();

        public void SyncAll() => throw new NotSupportedException();

        public MappedFile? TryMap() => null;

        public void Dispose()
        {
        }
    }
}
