using CsCheck;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Chunks;

/// <summary>Generators and helpers around chunks.</summary>
internal static class ChunkSamples
{
    /// <summary>Value bits that meet every branch of the value code, payloads of NaN included.</summary>
    public static Gen<ulong> ValueBits { get; } = Gen.OneOf(
        Gen.Int[0, 3].Select(static i => BitConverter.DoubleToUInt64Bits(i)),
        Gen.Double.Select(BitConverter.DoubleToUInt64Bits),
        Gen.ULong,
        Gen.OneOf(StaleMarker.Bits, StaleMarker.NormalNaN, 0UL, 1UL, 1UL << 63, ulong.MaxValue, 0x7ff0000000000000UL));

    /// <summary>Times with steps around every class bound of the delta of delta, up to the whole of time.</summary>
    public static Gen<long[]> Times { get; } = Gen.Select(
        Gen.OneOf(Gen.Long, Gen.OneOf(long.MinValue, long.MinValue + 1, 0L, 1700000000000L, long.MaxValue)),
        Gen.OneOf(
            Gen.OneOf(1UL, 1000UL, 15000UL, 15001UL, 8191UL, 8192UL, 8193UL, 65535UL, 65537UL, 524287UL, 524289UL),
            Gen.Int[1, 2_000_000].Select(static i => (ulong)i),
            Gen.ULong).Array[0, 60]).Select(static (start, steps) =>
        {
            var times = new List<long> { start };
            foreach (ulong step in steps)
            {
                ulong room = (ulong)long.MaxValue - (ulong)times[^1];
                if (room == 0) break;
                times.Add((long)((ulong)times[^1] + (step == 0 ? 1 : step > room ? room : step)));
            }

            return times.ToArray();
        });

    /// <summary>Any ascending samples.</summary>
    public static Gen<Sample[]> Ascending { get; } = Gen.Select(Times, ValueBits.Array[61])
        .Select(static (times, values) => times.Select((time, i) => new Sample(time, values[i])).ToArray());

    public static byte[] Encode(ReadOnlySpan<Sample> samples)
    {
        byte[] buffer = new byte[XorChunkBuilder.MaxBytes(samples.Length)];
        buffer.AsSpan().Fill(0xEE);   // what was there before must not matter
        var builder = default(XorChunkBuilder);
        foreach (Sample sample in samples) builder.Append(buffer, sample.TimeMs, sample.ValueBits);
        return buffer[..builder.ByteLength];
    }

    /// <summary>Reads a chunk, sample by sample and many at once, which must agree; null if it is corrupt.</summary>
    public static Sample[]? Decode(ReadOnlySpan<byte> chunk)
    {
        var samples = new List<Sample>();
        var reader = new XorChunkReader(chunk);
        while (reader.MoveNext()) samples.Add(new Sample(reader.TimeMs, reader.ValueBits));
        foreach (int piece in (int[])[1, 7, ushort.MaxValue]) AssertReadsInPieces(chunk, piece, samples, reader.IsCorrupt);
        return reader.IsCorrupt ? null : [.. samples];
    }

    private static void AssertReadsInPieces(ReadOnlySpan<byte> chunk, int piece, List<Sample> expected, bool isCorrupt)
    {
        var room = new Sample[Math.Min(piece, expected.Count + 1)];
        var read = new List<Sample>();
        var reader = new XorChunkReader(chunk);
        int count;
        do
        {
            count = reader.ReadInto(room);
            read.AddRange(room.AsSpan(0, count));
        }
        while (count == room.Length);
        Assert.Equal(expected, read);
        Assert.Equal(isCorrupt, reader.IsCorrupt);
    }

    public static NativeBytes Copy(NativeArena arena, ReadOnlySpan<byte> bytes)
    {
        NativeBytes copy = arena.Allocate(bytes.Length);
        bytes.CopyTo(copy.Span);
        return copy;
    }

    public static SeriesChunk Chunk(NativeArena arena, long rank, params ReadOnlySpan<Sample> samples) =>
        new(samples[0].TimeMs, samples[^1].TimeMs, ChunkEncoding.Xor, Copy(arena, Encode(samples)), rank);
}
