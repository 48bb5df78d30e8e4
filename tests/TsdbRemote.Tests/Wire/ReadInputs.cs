using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Wire;

/// <summary>Chunks and samples for the tests of the read answers.</summary>
internal static class ReadInputs
{
    public static SeriesChunk[] Chunks(NativeArena arena, ReadOnlySpan<Sample> samples, int maxSamples = 120)
    {
        var chunks = new List<SeriesChunk>();
        ChunkMerge.Encode(samples, windowMs: 0, rank: 0, arena, chunks, maxSamples);
        return [.. chunks];
    }

    /// <summary>A chunk whose bytes do not matter, for tests of framing.</summary>
    public static SeriesChunk Opaque(NativeArena arena, long minMs, long maxMs, int bytes)
    {
        NativeBytes data = arena.Allocate(bytes);
        data.Span.Fill(0x5A);
        return new SeriesChunk(minMs, maxMs, ChunkEncoding.Xor, data, Rank: 0);
    }

    public static Sample[] Noise(int count, int seed)
    {
        var random = new Random(seed);
        var samples = new Sample[count];
        long time = 1_700_000_000_000;
        for (int i = 0; i < count; i++) samples[i] = new Sample(time += random.Next(1, 60_000), (ulong)random.NextInt64());
        return samples;
    }
}
