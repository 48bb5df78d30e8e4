using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Samples → XOR chunks of the fewest bits that the format allows. Every reader of Prometheus' chunks reads them.</summary>
/// <remarks>
/// Prometheus' encoder is greedy: a value goes into the last window whenever it fits, so one outlier widens the window for the rest of the
/// chunk, and long chunks pay for it. The format leaves the choice to the writer; here it is that of <see cref="XorWindowSearch"/>, which is
/// exact, so a chunk is never larger than the greedy one of the same samples. Times and unchanged values have one encoding only.
/// <para>
/// Two passes over the samples: the first searches the windows, counts the bits and finds where the limits cut; the second writes, through
/// <see cref="XorChunkBuilder"/>. Costs about 30 ns a sample where greedy takes 12; figures in docs/decisions/0015-optimal-xor.md.
/// </para>
/// <para>
/// Thread-safe as long as each thread has its own <see cref="OptimalXorScratch"/>. Not for a chunk that still grows: that is the builder.
/// </para>
/// </remarks>
public static class OptimalXorEncoder
{
    /// <summary>Samples that a chunk of a block holds at most: two hours at 15 s.</summary>
    public const int DefaultMaxSamples = 480;

    /// <summary>Bytes that a chunk of a block takes at most, without its frame; store gateways fetch 16,000 at a time.</summary>
    public const int DefaultMaxBytes = 4096;

    /// <summary>The least that bytes can be limited to: the longest chunk of one sample.</summary>
    public const int LeastMaxBytes = 20;

    /// <summary>Encodes as many samples as go into one chunk.</summary>
    /// <param name="samples">Times ascending and unique.</param>
    /// <param name="lastMs">Where the chunk has to end: samples behind it stay out, ms.</param>
    /// <param name="maxSamples">Most samples, 1 to 65,535.</param>
    /// <param name="maxBytes">Most bytes of the chunk, <see cref="LeastMaxBytes"/> or more.</param>
    /// <param name="output">Receives the chunk; <see cref="XorChunkBuilder.AppendSlack"/> bytes longer than <paramref name="maxBytes"/>.</param>
    /// <param name="scratch">Memory to work in.</param>
    /// <param name="length">Bytes of the chunk; 0 if it holds no sample.</param>
    /// <returns>Samples of the chunk: the first so many. 0 only if there is none up to <paramref name="lastMs"/>.</returns>
    public static int Encode(
        ReadOnlySpan<Sample> samples, long lastMs, int maxSamples, int maxBytes, Span<byte> output, OptimalXorScratch scratch, out int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxSamples, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxSamples, ushort.MaxValue);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxBytes, LeastMaxBytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(output.Length, (long)maxBytes + XorChunkBuilder.AppendSlack, nameof(output));
        XorWindowSearch search = scratch.Search;
        int count = Plan(samples[..Math.Min(samples.Length, maxSamples)], lastMs, 8L * maxBytes, search);
        length = Write(samples[..count], output, search);
        return count;
    }

    /// <summary>Encodes all samples, in as many chunks as needed.</summary>
    /// <param name="samples">Times ascending and unique.</param>
    /// <param name="windowMs">Width of the windows that no chunk crosses, ms; 0 for none.</param>
    /// <param name="rank">Rank of the chunks.</param>
    /// <param name="arena">Holds the bytes.</param>
    /// <param name="output">Receives the chunks behind what it holds already.</param>
    /// <param name="scratch">Memory to work in.</param>
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
        ulong lastDelta = 0;
        long fixedBits = XorChunkBuilder.FirstSampleBits(last.TimeMs);
        int windowBits = 0;
        int changed = 0;
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

            // The fewest bits of a beginning never shrink when it grows, so no later sample would fit either.
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
        if (samples.IsEmpty) return 0;
        var builder = default(XorChunkBuilder);
        XorWindow window = default;
        ulong last = samples[0].ValueBits;
        int changed = 0;
        int end = 0;
        foreach (ref readonly Sample sample in samples)
        {
            if (sample.ValueBits != last && changed++ == end) window = search.RunAt(end, out end);
            builder.Append(output, sample.TimeMs, sample.ValueBits, window);
            last = sample.ValueBits;
        }

        return builder.ByteLength;
    }
}

/// <summary>Memory that <see cref="OptimalXorEncoder"/> works in, chunk after chunk: about 8 KiB, allocated once.</summary>
/// <remarks>Not thread-safe: one for each thread that encodes. Belongs to the garbage collector; nothing to dispose.</remarks>
public sealed class OptimalXorScratch
{
    internal XorWindowSearch Search { get; } = new();

    internal byte[] Chunk { get; } = new byte[OptimalXorEncoder.DefaultMaxBytes + XorChunkBuilder.AppendSlack];
}
