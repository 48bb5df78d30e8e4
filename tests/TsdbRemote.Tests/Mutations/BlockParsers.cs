using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Mutations;

/// <summary>The index of a block is opened, all series, all values and their lists are read, and series selected; a map of it gives the same.</summary>
internal sealed class BlockIndexParser : FuzzParser
{
    private static readonly Matcher[][] Selectors =
    [
        [Matcher.Create(MatcherType.Equal, "job", "x")], [Matcher.Create(MatcherType.Regex, "__name__", "a.*|up"), Matcher.Create(MatcherType.NotEqual, "job", "y")],
    ];

    private readonly FuzzFiles _files = new("/fuzz/index");
    private readonly BlockSeries _series = new();
    private uint _hash;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        _files.CanMap = false;
        return TryRead();
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        uint hash = _hash;
        _files.CanMap = true;
        Assert.True(TryRead(), "what is read without a map is not with one");
        Assert.Equal(hash, _hash);
    }

    protected override void Close() => _series.Dispose();

    private bool TryRead()
    {
        _hash = 0;
        try
        {
            using IndexReader reader = IndexReader.Open(_files, _files.Path, mmap: true);
            foreach (uint id in reader.AllSeries(CancellationToken.None)) Note(reader, id);
            foreach (IndexLabelName name in reader.LabelNames)
            {
                using IndexValues values = reader.ReadValues(name.Utf8.Span);
                while (values.MoveNext())
                {
                    _hash = _hash * 31 + Crc32C.Of(values.Value);
                    foreach (uint id in reader.ReadList(values.ListOffset, CancellationToken.None)) _hash = _hash * 31 + id;
                }
            }

            foreach (Matcher[] selector in Selectors)
            {
                foreach (uint id in reader.SelectSeries(selector, cache: null, CancellationToken.None)) Note(reader, id);
            }

            return true;
        }
        catch (CorruptFileException)
        {
            return false;
        }
    }

    private void Note(IndexReader reader, uint id)
    {
        reader.ReadSeries(id, _series);
        _hash = _hash * 31 + Crc32C.Of(_series.Labels);
        foreach (ChunkMeta chunk in _series.Chunks) _hash = _hash * 31 + (uint)chunk.GetHashCode();
    }
}

/// <summary>A <c>meta.json</c>; what is taken is written and read again.</summary>
internal sealed class BlockMetaParser : FuzzParser
{
    private BlockMeta? _meta;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        try
        {
            _meta = BlockMeta.Parse(input, BlockMeta.FileName);
            return true;
        }
        catch (CorruptFileException)
        {
            return false;
        }
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        byte[] text = _meta!.ToJson();
        Assert.Equal(text, BlockMeta.Parse(text, BlockMeta.FileName).ToJson());
    }
}

/// <summary>Tombstones of a block; each instant that the file names is deleted.</summary>
internal sealed class TombstonesParser : FuzzParser
{
    private readonly FuzzFiles _files = new("/fuzz/tombstones");
    private Tombstones _tombstones = Tombstones.None;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        try
        {
            _tombstones = TombstonesFormat.Read(_files, _files.Path);
            return true;
        }
        catch (CorruptFileException)
        {
            return false;
        }
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        TimeRange[] ranges = [];
        uint series = 0;
        foreach (Tombstone tombstone in _tombstones.All())
        {
            if (tombstone.SeriesId != series || ranges.Length == 0) ranges = _tombstones.OfSeries(series = tombstone.SeriesId).ToArray();
            Assert.Contains(tombstone.Range, ranges);
            Assert.True(tombstone.Range.MinMs <= tombstone.Range.MaxMs, "a deletion is empty");
        }

        for (int i = 1; i < ranges.Length; i++) Assert.True(ranges[i].MinMs > ranges[i - 1].MaxMs, "deletions of a series overlap");
        Assert.Equal(_tombstones.All(), TombstonesFormat.Read(_files, _files.Path).All());
    }
}

/// <summary>A segment of chunks: each record from the front, and what is said to lie elsewhere.</summary>
internal sealed class ChunkSegmentParser : FuzzParser
{
    private readonly FuzzFiles _files = new("/fuzz/chunks/000001");
    private uint _hash;
    private int _read;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        _files.CanMap = false;
        return Read();
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        (uint hash, int read) = (_hash, _read);
        _files.CanMap = true;
        Assert.True(Read(), "what is read without a map is not with one");
        Assert.Equal((hash, read), (_hash, _read));
    }

    private bool Read()
    {
        (_hash, _read) = (0, 0);
        try
        {
            using ChunkSegmentReader reader = ChunkSegmentReader.Open(_files, "/fuzz/chunks", mmap: true);
            using NativeArena arena = new(4096);
            uint offset = SegmentFormat.HeaderBytes;
            while (offset < _files.Length)
            {
                SeriesChunk chunk = reader.Read(new ChunkMeta(0, 1, offset), rank: 1, arena);
                _hash = _hash * 31 + Crc32C.Of(chunk.Data.Span) + (uint)chunk.Encoding;
                _read++;
                offset += (uint)ChunkRecord.SizeOf(chunk.Data.Length);
            }

            // Another place, and in one of four another segment, which is not there.
            reader.Read(new ChunkMeta(0, 1, (_files.Variant & 3) == 0 ? (ulong)_files.Variant << 30 : _files.Variant >> 20), rank: 1, arena);
        }
        catch (CorruptFileException)
        {
            // And therefore what stands behind is not read.
        }

        return _read > 0;
    }
}
