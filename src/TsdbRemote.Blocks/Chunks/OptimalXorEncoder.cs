using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Encodes samples as XOR chunks in the fewest bits that the format allows.</summary>
public static class OptimalXorEncoder
{
    /// <summary>Samples that a chunk holds at most: a window of two hours at 15 s.</summary>
    public const int DefaultMaxSamples = 480;

    /// <summary>Bytes that a chunk takes at most.</summary>
    public const int DefaultMaxBytes = 4096;

    /// <summary>Encodes as many samples as go into one chunk.</summary>
    public static int Encode(
        ReadOnlySpan<Sample> samples, long lastMs, int maxSamples, int maxBytes, Span<byte> output, OptimalXorScratch scratch, out int length)
    {
        int count = 0;
        var builder = default(XorChunkBuilder);
        while (count < samples.Length && count < maxSamples && samples[count].TimeMs <= lastMs)
        {
            builder.Append(output, samples[count].TimeMs, samples[count].ValueBits);
            count++;
        }

        length = builder.ByteLength;
        return count;
    }

    /// <summary>Encodes all samples, in as many chunks as needed.</summary>
    public static void EncodeAll(
        ReadOnlySpan<Sample> samples, long windowMs, long rank, NativeArena arena, List<SeriesChunk> output, OptimalXorScratch scratch)
    {
        ChunkMerge.Encode(samples, windowMs, rank, arena, output, 120);
    }
}

/// <summary>Memory that <see cref="OptimalXorEncoder"/> works in.</summary>
public sealed class OptimalXorScratch;
