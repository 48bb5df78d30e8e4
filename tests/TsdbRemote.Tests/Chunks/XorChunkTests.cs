using System.Runtime.CompilerServices;
using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Chunks;

public class XorChunkTests
{
    private const long T0 = 1700000000000;

    public static TheoryData<string, Sample[]> WorkedExamples { get; } = new()
    {
        {
            "0005 80a0abfef962 3ff0000000000000 98 75 40 0561 37ffb7fd9400 6561b0ffffe0000000000004",
            [Sample.Of(T0, 1), Sample.Of(T0 + 15000, 1), Sample.Of(T0 + 30010, 2.5), Sample.Of(T0 + 45000, 0), new(T0 + 65500, StaleMarker.NormalNaN)]
        },
        {
            "0007 80a0abfef962 3ff0000000000000 904e 36038001c267ffcffeb3e20f07fff73333333333337c000000000023e67ec18e7da51199ec06",
            [
                Sample.Of(T0, 1), Sample.Of(T0 + 10000, 1), Sample.Of(T0 + 20000, 1.5), Sample.Of(T0 + 30001, 2), Sample.Of(T0 + 48191, 2),
                Sample.Of(T0 + 130000, -0.1), Sample.Of(T0 + 800000, 1e300)
            ]
        },
        {
            "0004 80a0abfef962 3ff0000000000000 904e 70c3503b9e5840",
            [Sample.Of(T0, 1), Sample.Of(T0 + 10000, 1), Sample.Of(T0 + 120000, 1), Sample.Of(T0 + 130001, 1)]
        },
        {
            "0003 80a0abfef962 4024000000000000 9875 d60da48eb0",
            [Sample.Of(T0, 10), Sample.Of(T0 + 15000, 20), Sample.Of(T0 + 30000, 35)]
        },
        { "0001 80f4ee06 40c7700000000000", [Sample.Of(7200000, 12000.0)] },
    };

    [Theory]
    [MemberData(nameof(WorkedExamples))]
    public void Worked_examples_encode_to_their_bytes(string hex, Sample[] samples) =>
        Assert.Equal(hex.Replace(" ", "", StringComparison.Ordinal), Convert.ToHexStringLower(ChunkSamples.Encode(samples)));

    [Theory]
    [MemberData(nameof(WorkedExamples))]
    public void Worked_examples_decode_to_their_samples(string hex, Sample[] samples) =>
        Assert.Equal(samples, ChunkSamples.Decode(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))));

    [Fact]
    public void A_chunk_of_one_sample_is_read_at_once_as_it_is_step_by_step() =>
        Gen.Select(Gen.Byte.Array[0, 24], Gen.Bool, Gen.Long).Sample((bytes, isOne, timeMs) =>
        {
            if (isOne && bytes.Length >= 2) (bytes[0], bytes[1]) = (0, 1);
            if (bytes.Length >= 20 && timeMs % 2 == 0) Varint.WriteZigZag(bytes.AsSpan(2), timeMs >> 8);
            var reader = new XorChunkReader(bytes);
            bool stepped = reader.MoveNext() && reader.Count == 1;
            return XorChunkReader.TryReadSingle(bytes, out Sample only) == stepped && (!stepped || only == new Sample(reader.TimeMs, reader.ValueBits));
        }, iter: 20_000);

    [Fact]
    public void Any_samples_come_back_bit_for_bit() =>
        ChunkSamples.Ascending.Sample(static samples =>
            ChunkSamples.Decode(ChunkSamples.Encode(samples)).AsSpan().SequenceEqual(samples));

    [Fact]
    public void Any_samples_encode_as_the_format_page_says() =>
        ChunkSamples.Ascending.Sample(static samples => ChunkSamples.Encode(samples).AsSpan().SequenceEqual(NaiveXor.Encode(samples)));

    [Fact]
    public void The_chunk_is_whole_after_each_append() =>
        ChunkSamples.Ascending.Sample(static samples =>
        {
            byte[] buffer = new byte[XorChunkBuilder.MaxBytes(samples.Length)];
            var builder = default(XorChunkBuilder);
            for (int i = 0; i < samples.Length; i++)
            {
                builder.Append(buffer, samples[i].TimeMs, samples[i].ValueBits);
                if (!ChunkSamples.Decode(buffer.AsSpan(0, builder.ByteLength)).AsSpan().SequenceEqual(samples.AsSpan(0, i + 1))) return false;
                if (builder.Count != i + 1 || builder.LastTimeMs != samples[i].TimeMs || builder.LastValueBits != samples[i].ValueBits) return false;
            }

            return true;
        });

    [Fact]
    public void A_chunk_cut_anywhere_is_corrupt_unless_only_padding_is_gone() =>
        Gen.Select(ChunkSamples.Ascending, Gen.Int[0, 1200]).Sample(static (samples, cut) =>
        {
            byte[] chunk = ChunkSamples.Encode(samples);
            return cut >= chunk.Length || ChunkSamples.Decode(chunk.AsSpan(0, cut)) is null;
        });

    [Fact]
    public void Trailing_bytes_are_no_damage() =>
        ChunkSamples.Ascending.Sample(static samples =>
            ChunkSamples.Decode([.. ChunkSamples.Encode(samples), 0, 0xFF]).AsSpan().SequenceEqual(samples));

    [Fact]
    public void Garbage_never_throws_and_never_yields_unordered_times() =>
        Gen.Byte.Array[0, 200].Sample(static bytes =>
        {
            Sample[]? samples = ChunkSamples.Decode(bytes);
            return samples is null || samples.Zip(samples.Skip(1)).All(static pair => pair.First.TimeMs < pair.Second.TimeMs);
        });

    [Fact]
    public void Flipped_bits_never_throw() =>
        Gen.Select(ChunkSamples.Ascending, Gen.Int[0, 10_000]).Sample(static (samples, at) =>
        {
            byte[] chunk = ChunkSamples.Encode(samples);
            at %= chunk.Length * 8;
            chunk[at / 8] ^= (byte)(1 << (at % 8));
            return ChunkSamples.Decode(chunk) is not { } changed || changed.Length <= ushort.MaxValue;
        });

    [Fact]
    public void Nothing_behind_the_chunk_is_touched_wherever_it_is_cut()
    {
        using var guarded = new GuardedBytes(1 << 12);
        Gen.Select(ChunkSamples.Ascending, Gen.Int[0, 1200]).Sample(
            (samples, cut) =>
            {
                byte[] chunk = ChunkSamples.Encode(samples);
                Span<byte> bytes = guarded.Last(Math.Min(cut, chunk.Length));
                chunk.AsSpan(0, bytes.Length).CopyTo(bytes);
                Assert.Equal(cut >= chunk.Length ? samples : null, ChunkSamples.Decode(bytes));
            },
            threads: 1);
    }

    [Fact]
    public void The_whole_of_time_fits_between_two_samples()
    {
        Sample[] samples = [new(long.MinValue, 1), new(long.MaxValue, StaleMarker.Bits)];
        Assert.Equal(samples, ChunkSamples.Decode(ChunkSamples.Encode(samples)));
    }

    [Fact]
    public void A_delta_of_zero_is_corrupt() =>
        Assert.Null(ChunkSamples.Decode(Convert.FromHexString("000280a0abfef9623ff00000000000000000")));

    [Fact]
    public void A_window_beyond_64_bits_is_corrupt()
    {
        // delta 1, then 11, leading 31, significant 63
        byte[] chunk = [.. Convert.FromHexString("000280a0abfef9623ff000000000000001"), 0b1111_1111, 0b1111_1000, 0, 0, 0, 0, 0, 0, 0, 0];
        Assert.Null(ChunkSamples.Decode(chunk));
    }

    [Fact]
    public void A_full_chunk_and_a_short_buffer_are_refused()
    {
        byte[] buffer = new byte[XorChunkBuilder.MaxBytes(ushort.MaxValue)];
        var builder = default(XorChunkBuilder);
        for (int i = 0; i < ushort.MaxValue; i++) builder.Append(buffer, i, 0);
        Assert.Equal(ushort.MaxValue, ChunkSamples.Decode(buffer.AsSpan(0, builder.ByteLength))!.Length);
        Assert.Throws<InvalidOperationException>(() => builder.Append(buffer, ushort.MaxValue, 0));
        Assert.Throws<InvalidOperationException>(() => default(XorChunkBuilder).Append(new byte[XorChunkBuilder.AppendSlack - 1], 0, 0));
    }

    [Fact]
    public void An_append_never_touches_more_than_its_slack() =>
        ChunkSamples.Ascending.Sample(static samples =>
        {
            byte[] buffer = new byte[XorChunkBuilder.MaxBytes(samples.Length) + XorChunkBuilder.AppendSlack];
            var builder = default(XorChunkBuilder);
            foreach (Sample sample in samples)
            {
                int end = builder.ByteLength + XorChunkBuilder.AppendSlack;
                buffer.AsSpan(end).Fill(0xEE);
                builder.Append(buffer.AsSpan(0, end), sample.TimeMs, sample.ValueBits);
                if (buffer.AsSpan(end).ContainsAnyExcept((byte)0xEE)) return false;
            }

            return true;
        });

    // 3 × 8 (time, delta, value) + 4 (bits) + 2 (count) + 1 + 1 (window); one of these for each series in memory.
    [Fact]
    public void The_builder_takes_32_bytes() => Assert.Equal(32, Unsafe.SizeOf<XorChunkBuilder>());
}
