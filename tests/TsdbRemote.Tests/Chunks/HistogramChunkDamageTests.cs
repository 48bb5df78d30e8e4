using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.Verification;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

/// <summary>Bytes that are no histogram chunk: always an answer, never more memory than the format allows.</summary>
public class HistogramChunkDamageTests
{
    private const long T0 = 1_700_006_400_000;

    // Two lists of buckets, lanes, spans and bounds at their most, and lists that grew by doubling.
    private const long MaxAllocated = 16 << 20;

    private static readonly Dictionary<string, HistogramForge> Broken = new()
    {
        { "schema 53", Forge(static f => f.Schema = 53) },
        { "schema -10", Forge(static f => f.Schema = -10) },
        { "a schema of 40 bits", Forge(static f => f.Schema = 1L << 40) },
        { "a later span that steps back", Forge(static f => f.Positive[1] = (1, -1)) },
        { "more buckets than there are bits", Forge(static f => f.Positive[1] = (60_000, 1)) },
        { "too many buckets of a span", Forge(static f => f.Positive[1] = (1 << 20, 1)) },
        { "too many buckets of a huge span", Forge(static f => f.Positive[1] = (ulong.MaxValue, 1)) },
        { "an offset of 40 bits", Forge(static f => f.Positive[0] = (2, 1L << 40)) },
        { "an index out of reach", Forge(static f => f.Positive[1] = (1, int.MaxValue)) },
        { "custom bounds and a negative side", Custom(static f => f.Negative.Add((0, 0))) },
        { "custom bounds out of order", Custom(static f => f.Bounds[1] = 0.001) },
        { "an infinite custom bound", Custom(static f => f.Bounds[1] = double.PositiveInfinity) },
        { "NaN for a custom bound", Custom(static f => f.Bounds[1] = double.NaN) },
        { "more buckets than custom bounds", Custom(static f => f.Bounds.RemoveAt(1)) },
        { "custom buckets left of the first", Custom(static f => f.Positive[0] = (3, -1)) },
        { "one instant twice", Forge(static f => f.Samples[1] = f.Samples[1] with { TimeMs = T0 }) },
        {
            "life behind a stale sample",
            Forge(static f => f.Samples.Insert(1, new ForgedHistogram(T0 + 1, 0, 0, 0, 1, 2, 1) { IsStale = true }))
        },
        { "no sample", Forge(static f => f.Samples.Clear()) },
    };

    public static TheoryData<string> Names => [.. Broken.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_broken_chunk_is_corrupt_and_says_so(string what)
    {
        byte[] chunk = Broken[what].Build();
        using var arena = new NativeArena();
        var exception = Assert.Throws<CorruptChunkException>(() => ReadToEnd(arena, chunk, T0, T0 + 15_000));
        string expected = $"chunk of {T0} to {T0 + 15_000} ms, encoding 2, {chunk.Length} bytes: ";
        Assert.StartsWith(expected, exception.Message, StringComparison.Ordinal);
        Assert.Equal(7, exception.Rank);
    }

    [Fact]
    public void The_chunks_that_are_broken_above_are_whole_before_that()
    {
        using var arena = new NativeArena();
        ReadToEnd(arena, Forge(static _ => { }).Build(), T0, T0 + 15_000);
        ReadToEnd(arena, Custom(static _ => { }).Build(), T0, T0 + 15_000);
        Assert.Throws<CorruptChunkException>(() => ReadToEnd(arena, Forge(static _ => { }).Build(), T0, T0 + 14_999));
    }

    [Fact]
    public void A_chunk_of_floats_that_opens_a_window_beyond_64_bits_is_corrupt()
    {
        List<MadeChunk> chunks = HistogramChunks.Make([new(T0, HistogramGen.Float(HistogramGen.Integer(1)))], windowMs: 0);
        // One more sample: a step of 1 ms, then for the count: 11, 31 leading, 63 significant.
        byte[] bytes = [.. Convert.FromHexString(chunks[0].Hex)];
        bytes[1] = 2;
        byte[] longer = [.. bytes, .. Enumerable.Repeat((byte)0xFF, 40)];
        var reader = new HistogramChunkReader(longer, ChunkEncoding.FloatHistogram, new HistogramReadBuffer());
        Assert.True(reader.MoveNext());
        Assert.False(reader.MoveNext());
        Assert.True(reader.IsCorrupt);
    }

    [Fact]
    public void Chunks_of_floats_are_none_of_histograms()
    {
        var reader = new HistogramChunkReader(ChunkSamples.Encode([Sample.Of(T0, 1)]), ChunkEncoding.Xor, new HistogramReadBuffer());
        Assert.False(reader.MoveNext());
        Assert.NotNull(reader.Problem);
    }

    [Fact]
    public void A_chunk_cut_anywhere_is_corrupt_unless_only_padding_is_gone() => HistogramGen.Series.Sample(static samples =>
    {
        MadeChunk chunk = HistogramChunks.Make(samples, HistogramHistory.WindowMs).MaxBy(static chunk => chunk.Hex.Length)!;
        byte[] bytes = Convert.FromHexString(chunk.Hex);
        var buffer = new HistogramReadBuffer();
        for (int length = 0; length < bytes.Length; length++)
            Assert.False(IsWhole(bytes.AsSpan(0, length), chunk.Encoding, buffer), $"{length} of {bytes.Length}");
        Assert.True(IsWhole([.. bytes, 0, 0xFF], chunk.Encoding, buffer));
    }, iter: 40);

    [Fact]
    public void A_change_of_any_byte_never_throws_and_never_takes_much_memory() => HistogramGen.Series.Sample(static samples =>
    {
        MadeChunk chunk = HistogramChunks.Make(samples, HistogramHistory.WindowMs)[0];
        byte[] bytes = Convert.FromHexString(chunk.Hex);
        for (int at = 0; at < bytes.Length; at++)
        {
            byte kept = bytes[at];
            foreach (byte change in (ReadOnlySpan<byte>)[0x01, 0x10, 0x80, 0xFF])
            {
                bytes[at] = (byte)(kept ^ change);
                AssertBounded(bytes, chunk.Encoding);
            }

            bytes[at] = kept;
        }
    }, iter: 20);

    [Fact]
    public void Garbage_never_throws_and_never_takes_much_memory() => Gen.Select(Gen.Byte.Array[0, 400], Gen.Byte[2, 3]).Sample(
        static (bytes, encoding) => AssertBounded(bytes, (ChunkEncoding)encoding));

    [Fact]
    public void Layouts_that_promise_the_most_take_no_more_than_they_may()
    {
        for (int filling = 0; filling < 256; filling += 5)
        {
            byte[] bytes = new byte[1 << 18];
            bytes.AsSpan(0, 2).Fill(0xFF);
            bytes.AsSpan(3).Fill((byte)filling);
            AssertBounded(bytes, ChunkEncoding.Histogram);
            AssertBounded(bytes, ChunkEncoding.FloatHistogram);
        }
    }

    private static void AssertBounded(ReadOnlySpan<byte> bytes, ChunkEncoding encoding)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        long last = long.MinValue;
        int read = 0;
        var reader = new HistogramChunkReader(bytes, encoding, new HistogramReadBuffer());
        while (reader.MoveNext())
        {
            Assert.True(read == 0 || reader.TimeMs > last);
            last = reader.TimeMs;
            read++;
        }

        Assert.True(reader.IsCorrupt || read == reader.Count);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MaxAllocated);
    }

    private static bool IsWhole(ReadOnlySpan<byte> bytes, ChunkEncoding encoding, HistogramReadBuffer buffer)
    {
        var reader = new HistogramChunkReader(bytes, encoding, buffer);
        while (reader.MoveNext())
        {
        }

        return !reader.IsCorrupt;
    }

    private static void ReadToEnd(NativeArena arena, byte[] bytes, long minMs, long maxMs)
    {
        var chunk = new SeriesChunk(minMs, maxMs, ChunkEncoding.Histogram, ChunkSamples.Copy(arena, bytes), Rank: 7);
        var reader = new HistogramChunkReader(chunk.Data.Span, chunk.Encoding, new HistogramReadBuffer());
        while (reader.MoveNext())
        {
        }

        reader.ThrowIfCorrupt(chunk);
    }

    private static HistogramForge Forge(Action<HistogramForge> edit) => Edited(
        new HistogramForge
        {
            Samples = { new ForgedHistogram(T0, 6, 1, 18.5, 1, 2, 1), new ForgedHistogram(T0 + 15_000, 9, 2, 30.25, 2, 3, 2) },
        },
        edit);

    private static HistogramForge Custom(Action<HistogramForge> edit)
    {
        var forge = new HistogramForge
        {
            Schema = HistogramSchema.Custom,
            ThresholdCode = 0,
            Bounds = { 0.005, 0.1 },
            Samples = { new ForgedHistogram(T0, 6, 0, 7.25, 1, 2, 3), new ForgedHistogram(T0 + 15_000, 7, 0, 8, 1, 2, 4) },
        };
        forge.Positive.Clear();
        forge.Positive.Add((3, 0));
        return Edited(forge, edit);
    }

    private static HistogramForge Edited(HistogramForge forge, Action<HistogramForge> edit)
    {
        edit(forge);
        return forge;
    }
}
