using System.Numerics;
using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Chunks;

public sealed class OptimalXorTests : IDisposable
{
    private const long T0 = 1_700_000_000_000;
    private const int Whole = 1 << 20;
    private const int Least = OptimalXorEncoder.LeastMaxBytes;

    /// <summary>Doubles of every class, payloads of NaN included.</summary>
    private static readonly ulong[] Classes =
    [
        .. new[]
        {
            0.0, -0.0, 1, -1, 0.1, double.Epsilon, -double.Epsilon, 2.2250738585072009e-308, double.MaxValue, double.MinValue,
            double.PositiveInfinity, double.NegativeInfinity, double.NaN,
        }.Select(BitConverter.DoubleToUInt64Bits),
        StaleMarker.Bits, StaleMarker.NormalNaN, 0x7ff0000000000001, 0xfff8000000000001, ulong.MaxValue, 1UL << 63 | 1,
    ];

    /// <summary>Series of 2 to 200 samples, each of one character: what makes windows worth choosing.</summary>
    private static readonly Gen<Sample[]> Series = Gen.Select(Gen.Int[0, 7], Gen.Int[2, 200], Gen.Int).Select(static (kind, count, seed) =>
    {
        var random = new Random(seed);
        double value = random.Next(1_000_000);
        return Enumerable.Range(0, count).Select(i =>
        {
            ulong bits = kind switch
            {
                0 => Bits(42.5),
                1 => Bits(value += random.Next(100)),
                2 => Bits(value += random.Next(10) == 0 ? random.Next(1 << 20) : 1),
                3 => Bits(Math.Round(20 + 5 * Math.Sin(i / 9.0) + random.NextDouble(), 2)),
                4 => Bits(random.NextDouble()),
                5 => Classes[random.Next(Classes.Length)],
                6 => random.Next(4) == 0 ? StaleMarker.Bits : Bits(random.Next(3)),
                _ => (ulong)random.NextInt64() << random.Next(64) >> random.Next(64),
            };
            return new Sample(T0 + i * 15_000L + (random.Next(20) == 0 ? random.Next(10_000) : 0), bits);
        }).ToArray();
    });

    private static readonly Gen<Sample[]> Any = Gen.OneOf(Series, ChunkSamples.Ascending);

    private readonly NativeArena _arena = new();

    public void Dispose() => _arena.Dispose();

    [Fact]
    public void Any_samples_come_back_bit_for_bit() =>
        Any.Sample(static samples => ChunkSamples.Decode(Encode(samples)).AsSpan().SequenceEqual(samples));

    [Fact]
    public void A_reader_that_follows_the_format_page_reads_the_same_samples() =>
        Any.Sample(static samples => NaiveXor.Decode(Encode(samples)).AsSpan().SequenceEqual(samples));

    [Fact]
    public void No_chunk_is_larger_than_the_greedy_one() =>
        Any.Sample(static samples => Encode(samples).Length <= ChunkSamples.Encode(samples).Length);

    [Fact]
    public void No_sequence_of_windows_is_cheaper() =>
        Any.Sample(static samples => NaiveXor.ValueBits(Encode(samples)) == LeastBits(samples), iter: 400);

    [Fact]
    public void Windows_that_lead_to_a_race_of_many_runs_are_still_the_cheapest() =>
        Gen.Select(Gen.Int, Gen.Int[20, 480]).Sample(static (seed, count) =>
        {
            // Windows that drift by a bit at a time keep most runs within what a new window costs.
            var random = new Random(seed);
            int leading = 10;
            int trailing = 20;
            ulong bits = 0;
            Sample[] samples = [.. Enumerable.Range(0, count).Select(i =>
            {
                leading = Math.Clamp(leading + random.Next(-1, 2), 0, 31);
                trailing = Math.Clamp(trailing + random.Next(-1, 2), 0, 31);
                return new Sample(T0 + i, bits ^= 1UL << (63 - leading) | 1UL << trailing);
            })];
            return NaiveXor.ValueBits(Encode(samples)) == LeastBits(samples);
        }, iter: 150);

    [Fact]
    public void The_scratch_carries_nothing_from_chunk_to_chunk() =>
        Any.Array[1, 5].Sample(static all =>
        {
            var scratch = new OptimalXorScratch();
            return all.All(samples => Encode(samples, scratch).AsSpan().SequenceEqual(Encode(samples)));
        });

    [Fact]
    public void An_outlier_does_not_widen_the_window_of_the_rest()
    {
        Sample[] samples = [.. Enumerable.Range(0, 120).Select(static i => Sample.Of(T0 + i * 15_000L, i == 60 ? Math.PI : 1000 + i % 2))];
        Assert.True(ChunkSamples.Encode(samples).Length > 400);
        Assert.True(Encode(samples).Length < 160);
    }

    [Fact]
    public void A_chunk_ends_where_the_first_of_its_limits_is_reached() =>
        Gen.Select(Any, Gen.Int[1, 210], Gen.Int[Least, 600], Gen.Int[0, 210]).Sample(static (samples, maxSamples, maxBytes, last) =>
        {
            long lastMs = samples[Math.Min(last, samples.Length - 1)].TimeMs;
            byte[] output = new byte[maxBytes + XorChunkBuilder.AppendSlack];
            int count = OptimalXorEncoder.Encode(samples, lastMs, maxSamples, maxBytes, output, new OptimalXorScratch(), out int length);
            if (count == 0 || length > maxBytes || count > maxSamples || samples[count - 1].TimeMs > lastMs) return false;
            if (!output.AsSpan(0, length).SequenceEqual(Encode(samples[..count]))) return false;
            if (count == samples.Length || count == maxSamples || samples[count].TimeMs > lastMs) return true;
            return Encode(samples[..(count + 1)]).Length > maxBytes;
        });

    [Fact]
    public void Nothing_is_encoded_where_nothing_lies_before_the_end()
    {
        byte[] output = new byte[Least + XorChunkBuilder.AppendSlack];
        Assert.Equal(0, OptimalXorEncoder.Encode([Sample.Of(5, 1)], 4, 1, Least, output, new OptimalXorScratch(), out int length));
        Assert.Equal(0, length);
        Assert.Equal(0, OptimalXorEncoder.Encode([], 4, 1, Least, output, new OptimalXorScratch(), out length));
        Assert.Equal(0, length);
    }

    [Fact]
    public void The_longest_sample_fits_in_the_least_limit()
    {
        byte[] output = new byte[Least + XorChunkBuilder.AppendSlack];
        Sample[] samples = [new(long.MinValue, ulong.MaxValue), new(long.MaxValue, 0)];
        Assert.Equal(1, OptimalXorEncoder.Encode(samples, long.MaxValue, 9, Least, output, new OptimalXorScratch(), out int length));
        Assert.Equal(Least, length);
    }

    [Theory]
    [InlineData(0, 100, 200)]
    [InlineData(65_536, 100, 200)]
    [InlineData(1, Least - 1, 200)]
    [InlineData(1, 100, 100 + XorChunkBuilder.AppendSlack - 1)]
    public void Limits_that_cannot_be_kept_are_refused(int maxSamples, int maxBytes, int outputBytes) =>
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            OptimalXorEncoder.Encode([Sample.Of(1, 1)], 1, maxSamples, maxBytes, new byte[outputBytes], new OptimalXorScratch(), out _));

    [Fact]
    public void The_largest_count_that_the_format_can_hold_is_reached_and_not_passed()
    {
        Sample[] samples = [.. Enumerable.Range(0, ushort.MaxValue + 1).Select(static i => Sample.Of(i, i % 3))];
        byte[] output = new byte[Whole + XorChunkBuilder.AppendSlack];
        int count = OptimalXorEncoder.Encode(samples, long.MaxValue, ushort.MaxValue, Whole, output, new OptimalXorScratch(), out int length);
        Assert.Equal(ushort.MaxValue, count);
        Assert.True(ChunkSamples.Decode(output.AsSpan(0, length)).AsSpan().SequenceEqual(samples.AsSpan(0, count)));
    }

    [Fact]
    public void All_samples_go_into_chunks_of_their_window_in_order()
    {
        const long windowMs = 7_200_000;
        var random = new Random(5);
        Sample[] samples = [.. Enumerable.Range(0, 5000).Select(i => Sample.Of(T0 + i * 5_000L, i < 2000 ? i : random.NextDouble()))];
        var chunks = new List<SeriesChunk>();
        OptimalXorEncoder.EncodeAll(samples, windowMs, 7, _arena, chunks, new OptimalXorScratch());
        Assert.All(chunks, static chunk =>
        {
            Assert.True(chunk.Data.Length <= OptimalXorEncoder.DefaultMaxBytes);
            Assert.Equal(TimeWindow.StartOf(chunk.MinTimeMs, windowMs), TimeWindow.StartOf(chunk.MaxTimeMs, windowMs));
            Assert.Equal((ChunkEncoding.Xor, 7L), (chunk.Encoding, chunk.Rank));
        });

        // Decode compares the times that a chunk is said to span with those that it holds.
        var decoded = new List<Sample>();
        foreach (SeriesChunk chunk in chunks) ChunkMerge.Decode(chunk, decoded);
        Assert.Equal(samples, decoded);
        Assert.Equal(OptimalXorEncoder.DefaultMaxSamples, chunks.Max(static chunk => new XorChunkReader(chunk.Data.Span).Count));
    }

    [Fact]
    public void Windows_of_no_width_do_not_cut()
    {
        Sample[] samples = [.. Enumerable.Range(0, 100).Select(static i => Sample.Of(i * 1_000_000_000L, i))];
        var chunks = new List<SeriesChunk>();
        OptimalXorEncoder.EncodeAll(samples, 0, 1, _arena, chunks, new OptimalXorScratch());
        Assert.Single(chunks);
    }

    [Fact]
    public void A_used_scratch_allocates_nothing_more()
    {
        Sample[] samples = [.. Enumerable.Range(0, 480).Select(static i => Sample.Of(T0 + i * 15_000L, Math.Sqrt(i)))];
        var scratch = new OptimalXorScratch();
        byte[] output = new byte[OptimalXorEncoder.DefaultMaxBytes + XorChunkBuilder.AppendSlack];
        OptimalXorEncoder.Encode(samples, long.MaxValue, 480, OptimalXorEncoder.DefaultMaxBytes, output, scratch, out _);
        long before = GC.GetAllocatedBytesForCurrentThread();
        OptimalXorEncoder.Encode(samples, long.MaxValue, 480, OptimalXorEncoder.DefaultMaxBytes, output, scratch, out _);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void The_builder_refuses_a_window_that_cuts_bits_off()
    {
        byte[] buffer = new byte[XorChunkBuilder.MaxBytes(2)];
        var builder = default(XorChunkBuilder);
        builder.Append(buffer, 1, 0b1000, default);
        Assert.Throws<ArgumentException>(() => Append(builder, new XorWindow(0, 3)));
        Assert.Throws<ArgumentException>(() => Append(builder, new XorWindow(31, 4)));
        Append(builder, new XorWindow(31, 2));

        void Append(XorChunkBuilder copy, XorWindow window) => copy.Append(buffer, 2, 0b1100, window);
    }

    private static byte[] Encode(Sample[] samples) => Encode(samples, new OptimalXorScratch());

    private static byte[] Encode(Sample[] samples, OptimalXorScratch scratch)
    {
        byte[] output = new byte[Whole / 8 + XorChunkBuilder.AppendSlack];
        output.AsSpan().Fill(0xEE);
        int count = OptimalXorEncoder.Encode(samples, long.MaxValue, ushort.MaxValue, Whole / 8, output, scratch, out int length);
        Assert.Equal(samples.Length, count);
        return output[..length];
    }

    /// <summary>Bits of the values behind the first by trying every window at every value.</summary>
    private static int LeastBits(Sample[] samples)
    {
        const int impossible = int.MaxValue / 2;
        int[,] open = new int[32, 64];
        for (int i = 0; i < open.Length; i++) open[i / 64, i % 64] = impossible;
        int least = 0;
        int unchanged = 0;
        for (int i = 1; i < samples.Length; i++)
        {
            ulong xor = samples[i].ValueBits ^ samples[i - 1].ValueBits;
            if (xor == 0)
            {
                unchanged++;
                continue;
            }

            int before = least;
            least = impossible;
            for (int leading = 0; leading < 32; leading++)
            {
                for (int trailing = 0; leading + trailing < 64; trailing++)
                {
                    bool fits = leading <= BitOperations.LeadingZeroCount(xor) && trailing <= BitOperations.TrailingZeroCount(xor);
                    ref int cost = ref open[leading, trailing];
                    cost = fits ? Math.Min(cost + 2, before + 13) + 64 - leading - trailing : impossible;
                    least = Math.Min(least, cost);
                }
            }
        }

        return least + unchanged;
    }

    private static ulong Bits(double value) => BitConverter.DoubleToUInt64Bits(value);
}
