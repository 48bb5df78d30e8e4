using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Encodes samples as XOR chunks in the fewest bits that the format allows.</summary>
public static class OptimalXorEncoder
{
    /// <summary>Samples of a chunk at most: a window of two hours at 15 s.</summary>
    public const int DefaultMaxSamples = 480;

    /// <summary>Bytes of a chunk at most.</summary>
    public const int DefaultMaxBytes = 4096;

    /// <summary>Bytes of the longest chunk of one sample: what a limit has to leave.</summary>
    public const int MinBytes = 20;

    /// <summary>Encodes as many samples as go into one chunk.</summary>
    public static int Encode(
        ReadOnlySpan<Sample> samples, long lastMs, int maxSamples, int maxBytes, Span<byte> output, OptimalXorScratch scratch, out int length)
    {
        if (samples.Length > maxSamples) samples = samples[..maxSamples];
        int count = Plan(samples, lastMs, 8L * maxBytes, scratch.Search);
        length = Write(samples[..count], output, scratch.Search);
        return count;
    }

    /// <summary>Encodes all samples, in as many chunks as needed.</summary>
    public static void EncodeAll(
        ReadOnlySpan<Sample> samples, long windowMs, long rank, NativeArena arena, List<SeriesChunk> output, OptimalXorScratch scratch)
    {
        while (!samples.IsEmpty)
        {
            long lastMs = windowMs == 0 ? long.MaxValue : TimeWindow.EndOf(samples[0].TimeMs, windowMs);
            int count = Encode(samples, lastMs, DefaultMaxSamples, DefaultMaxBytes, scratch.Chunk, scratch, out int length);
            NativeBytes data = arena.Allocate(length);
            scratch.Chunk.AsSpan(0, length).CopyTo(data.Span);
            output.Add(new SeriesChunk(samples[0].TimeMs, samples[count - 1].TimeMs, ChunkEncoding.Xor, data, rank));
            samples = samples[count..];
        }
    }

    /// <summary>Searches the windows of as many samples as the limits allow.</summary>
    /// <returns>How many that are.</returns>
    private static int Plan(ReadOnlySpan<Sample> samples, long lastMs, long maxBits, XorWindowSearch search)
    {
        search.Reset();
        if (samples.IsEmpty || samples[0].TimeMs > lastMs) return 0;
        Sample last = samples[0];
        long fixedBits = XorChunkBuilder.FirstSampleBits(last.TimeMs);
        int windowBits = 0;
        int changed = 0;
        ulong lastDelta = 0;
        int count = 1;
        for (; count < samples.Length; count++)
        {
            Sample sample = samples[count];
            if (sample.TimeMs > lastMs) break;
            ulong delta = (ulong)sample.TimeMs - (ulong)last.TimeMs;
            fixedBits += count == 1 ? XorChunkBuilder.SecondTimeBits(delta) : XorChunkBuilder.TimeBits((long)(delta - lastDelta));
            ulong xor = sample.ValueBits ^ last.ValueBits;
            if (xor == 0) fixedBits++;
            else windowBits = search.Add(XorWindow.Of(xor));
            if (fixedBits + windowBits > maxBits) break;
            if (xor != 0) changed++;
            lastDelta = delta;
            last = sample;
        }

        search.Finish(changed);
        return count;
    }

    private static int Write(ReadOnlySpan<Sample> samples, Span<byte> output, XorWindowSearch search)
    {
        var builder = default(XorChunkBuilder);
        XorWindow window = default;
        int changed = 0;
        int end = 0;
        ulong last = samples.IsEmpty ? 0 : samples[0].ValueBits;
        foreach (ref readonly Sample sample in samples)
        {
            if (sample.ValueBits != last && changed++ == end) window = search.RunAt(end, out end);
            builder.Append(output, sample.TimeMs, sample.ValueBits, window);
            last = sample.ValueBits;
        }

        return builder.ByteLength;
    }
}

/// <summary>Memory that <see cref="OptimalXorEncoder"/> works in, to be used for chunk after chunk.</summary>
/// <remarks>Not thread-safe: one for each thread that encodes.</remarks>
public sealed class OptimalXorScratch
{
    internal XorWindowSearch Search { get; } = new();

    internal byte[] Chunk { get; } = new byte[OptimalXorEncoder.DefaultMaxBytes + XorChunkBuilder.AppendSlack];
}
