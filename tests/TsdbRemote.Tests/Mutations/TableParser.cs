using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Tables;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.Mutations;

/// <summary>A table is opened, asked for some series, and walked. What passes the verifier holds what its properties say, and a map of it gives the same.</summary>
internal sealed class TableParser : FuzzParser, ISeriesChunkSink
{
    public const long TableId = 7;
    private const string Path = "/fuzz/tables/7.sst";

    private static readonly ulong[] Asked = [1, 2, 3, 5, 300, ulong.MaxValue];

    private readonly FuzzFiles _files = new(Path);
    private long _chunks;
    private uint _hash;
    private long _walked;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        _files.CanMap = false;
        return TryRead();
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        (long chunks, uint hash, long walked) = (_chunks, _hash, _walked);
        _files.CanMap = true;
        Assert.True(TryRead(), "what is read without a map is not with one");
        Assert.Equal((chunks, hash, walked), (_chunks, _hash, _walked));
        using SSTableReader reader = Open();
        try
        {
            reader.Verify(CancellationToken.None);
        }
        catch (CorruptFileException)
        {
            return;
        }

        Assert.Equal(reader.Properties.Windows.Sum(static window => window.Series), walked);
        Assert.Equal(reader.Properties.Windows.Sum(static window => window.Series), reader.Properties.Windows.Sum(window => reader.SeriesIdsOf(window.StartMs).Count));
    }

    void ISeriesChunkSink.Add(int idIndex, in SeriesChunk chunk) => Note(Asked[idIndex], chunk);

    bool ISeriesChunkSink.SkipDamaged(int idIndex, CorruptFileException damage) => (_files.Variant & 2) == 0;

    private bool TryRead()
    {
        (_chunks, _hash, _walked) = (0, 0, 0);
        try
        {
            using SSTableReader reader = Open();
            using NativeArena arena = new(4096);
            reader.Collect(Asked, (_files.Variant & 0xC) == 4 ? new TimeRange(0, 3_600_000) : TimeRange.All, rank: 11, arena, this, asksBloom: (_files.Variant & 0x10) == 0);
            foreach (SSTableWindow window in reader.Properties.Windows) Walk(reader, window.StartMs);
            return true;
        }
        catch (CorruptFileException)
        {
            return false;
        }
    }

    private SSTableReader Open() =>
        SSTableReader.Open(_files, Path, TableId, _files.Length, mmap: true, cacheMetadata: (_files.Variant & 1) == 0, readBufferBytes: SSTableFormat.IndexBlockTargetBytes);

    private void Walk(SSTableReader reader, long windowStartMs)
    {
        using WindowCursor cursor = reader.Walk(windowStartMs, rank: 11, static _ => { });
        while (cursor.MoveNext())
        {
            _walked++;
            foreach (ref readonly SeriesChunk chunk in cursor.Chunks) Note(cursor.SeriesId, chunk);
        }
    }

    private void Note(ulong id, in SeriesChunk chunk)
    {
        _chunks++;
        _hash = _hash * 31 + Crc32C.Of(chunk.Data.Span) + (uint)id + (uint)chunk.MinTimeMs + (uint)chunk.MaxTimeMs + (uint)chunk.Encoding;
    }
}
