using System.Buffers;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>What a merge left out because a newer version of the same instant exists.</summary>
/// <param name="Duplicates">Samples that gave way to one with the same value bits.</param>
/// <param name="Conflicts">Samples that gave way to one with other value bits.</param>
public readonly record struct MergeCounts(long Duplicates, long Conflicts)
{
    /// <summary>Sums two counts.</summary>
    public static MergeCounts operator +(MergeCounts left, MergeCounts right) => Add(left, right);

    /// <summary>Sums two counts.</summary>
    public static MergeCounts Add(MergeCounts left, MergeCounts right) =>
        new(left.Duplicates + right.Duplicates, left.Conflicts + right.Conflicts);
}

/// <summary>What a merge makes of a group of chunks.</summary>
/// <param name="Range">What is kept.</param>
/// <param name="WindowMs">Width of the windows that no chunk crosses, ms; 0 for none.</param>
/// <param name="Rank">Rank of the chunks.</param>
/// <param name="Arena">Holds their bytes.</param>
/// <param name="Output">Receives them.</param>
/// <param name="MaxSamples">Most samples of a chunk.</param>
internal readonly record struct MergeTarget(
    TimeRange Range, long WindowMs, long Rank, NativeArena Arena, List<SeriesChunk> Output, int MaxSamples);

/// <summary>
/// Several overlapping chunks of one series → one run of chunks in time order, each instant once.
/// Serves reads, compaction and conversion alike.
/// </summary>
/// <remarks>
/// A chunk that overlaps no other, lies inside the range and inside one window is passed on as it is, unread. Only the others are decoded,
/// merged and encoded again: groups of chunks that overlap transitively, and chunks that a bound cuts.
/// <para>
/// Which sample stays, where several chunks hold one instant: that of the highest rank. Between equal ranks (which the engine does not
/// produce, but foreign blocks may) that of the chunk which starts later, then of the one which ends later, then of the one whose bytes
/// compare greater. So the answer does not depend on the order of the input. A re-encoded chunk carries the highest rank of those it was
/// made of, so all versions must take part in one merge.
/// </para>
/// <para>
/// Where a float and a histogram hold one instant the float stays, whatever their ranks: that is the rule of Prometheus' readers, and as it
/// does not ask who came first, every merge agrees on it. A group with histograms is <see cref="HistogramMerge"/>'s; one of floats only
/// never goes there.
/// Stateless; thread-safe; scratch memory comes from the shared pools, and for histograms is kept with each thread.
/// </para>
/// </remarks>
public static class ChunkMerge
{
    /// <summary>Samples that a re-encoded chunk holds at most, as in Prometheus' own vertical compaction.</summary>
    public const int DefaultMaxSamples = 120;

    /// <summary>Merges the chunks of one series.</summary>
    /// <param name="chunks">Any order, any overlap; may be reordered.</param>
    /// <param name="range">What the output is cut to, both ends included.</param>
    /// <param name="windowMs">Width of the windows that no re-encoded chunk crosses, ms; 0 for none.</param>
    /// <param name="arena">Holds the bytes of re-encoded chunks.</param>
    /// <param name="output">Receives the chunks, ascending and without overlap, behind what it holds already.</param>
    /// <param name="maxSamples">Most samples of a re-encoded chunk, 1 to 65,535.</param>
    /// <returns>How many samples inside the range gave way to a newer version.</returns>
    /// <exception cref="CorruptChunkException">
    /// A chunk's encoding is unknown, or one that had to be decoded is none or does not span the times that its source says.
    /// </exception>
    public static MergeCounts Merge(
        Span<SeriesChunk> chunks,
        TimeRange range,
        long windowMs,
        NativeArena arena,
        List<SeriesChunk> output,
        int maxSamples = DefaultMaxSamples)
    {
        chunks = KeepOverlapping(chunks, range);
        SortByStart(chunks);
        MergeCounts counts = default;
        int start = 0;
        while (start < chunks.Length)
        {
            int end = start + 1;
            long lastMs = chunks[start].MaxTimeMs;
            while (end < chunks.Length && chunks[end].MinTimeMs <= lastMs) lastMs = Math.Max(lastMs, chunks[end++].MaxTimeMs);
            if (end - start == 1 && IsWhole(chunks[start], range, windowMs)) output.Add(chunks[start]);
            else counts += MergeGroup(chunks[start..end], range, windowMs, arena, output, maxSamples);
            start = end;
        }

        return counts;
    }

    /// <summary>Decodes a chunk of floats.</summary>
    /// <param name="chunk">The chunk.</param>
    /// <param name="output">Receives the samples behind what it holds already; unchanged if an exception is thrown.</param>
    /// <exception cref="CorruptChunkException">The bytes are no XOR chunk, or do not span the times that their source says.</exception>
    public static void Decode(in SeriesChunk chunk, List<Sample> output)
    {
        if (chunk.Encoding != ChunkEncoding.Xor) CorruptChunkException.Throw(chunk, "its encoding is not that of floats");
        if (XorChunkReader.TryReadSingle(chunk.Data.Span, out Sample single) && single.TimeMs == chunk.MinTimeMs && chunk.MinTimeMs == chunk.MaxTimeMs)
        {
            output.Add(single);
            return;
        }

        int before = output.Count;
        int count = CountOf(chunk);
        CollectionsMarshal.SetCount(output, before + count);
        try
        {
            DecodeInto(chunk, CollectionsMarshal.AsSpan(output)[before..]);
        }
        catch
        {
            CollectionsMarshal.SetCount(output, before);
            throw;
        }
    }

    /// <summary>Encodes samples as XOR chunks.</summary>
    /// <param name="samples">Times ascending and unique.</param>
    /// <param name="windowMs">Width of the windows that no chunk crosses, ms; 0 for none.</param>
    /// <param name="rank">Rank of the chunks.</param>
    /// <param name="arena">Holds the bytes.</param>
    /// <param name="output">Receives the chunks behind what it holds already.</param>
    /// <param name="maxSamples">Most samples of a chunk, 1 to 65,535.</param>
    public static void Encode(
        ReadOnlySpan<Sample> samples,
        long windowMs,
        long rank,
        NativeArena arena,
        List<SeriesChunk> output,
        int maxSamples = DefaultMaxSamples)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxSamples, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxSamples, ushort.MaxValue);
        if (samples.IsEmpty) return;
        byte[] scratch = ArrayPool<byte>.Shared.Rent(XorChunkBuilder.MaxBytes(Math.Min(maxSamples, samples.Length)));
        while (!samples.IsEmpty)
        {
            long lastMs = windowMs == 0 ? long.MaxValue : TimeWindow.EndOf(samples[0].TimeMs, windowMs);
            int count = 0;
            var builder = default(XorChunkBuilder);
            while (count < samples.Length && count < maxSamples && samples[count].TimeMs <= lastMs)
            {
                builder.Append(scratch, samples[count].TimeMs, samples[count].ValueBits);
                count++;
            }

            NativeBytes data = arena.Allocate(builder.ByteLength);
            scratch.AsSpan(0, builder.ByteLength).CopyTo(data.Span);
            output.Add(new SeriesChunk(samples[0].TimeMs, builder.LastTimeMs, ChunkEncoding.Xor, data, rank));
            samples = samples[count..];
        }

        ArrayPool<byte>.Shared.Return(scratch);
    }

    private static Span<SeriesChunk> KeepOverlapping(Span<SeriesChunk> chunks, TimeRange range)
    {
        int kept = 0;
        for (int i = 0; i < chunks.Length; i++)
        {
            ref SeriesChunk chunk = ref chunks[i];
            RequireKnown(chunk);
            if (chunk.MinTimeMs > chunk.MaxTimeMs) CorruptChunkException.Throw(chunk, "it ends before it starts");
            if (!range.Overlaps(new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs))) continue;
            if (kept != i) (chunks[kept], chunk) = (chunk, chunks[kept]);
            kept++;
        }

        return chunks[..kept];
    }

    private static void SortByStart(Span<SeriesChunk> chunks)
    {
        for (int i = 1; i < chunks.Length; i++)
        {
            if (chunks[i].MinTimeMs >= chunks[i - 1].MinTimeMs) continue;
            chunks.Sort(static (a, b) => a.MinTimeMs.CompareTo(b.MinTimeMs));
            return;
        }
    }

    private static bool IsWhole(in SeriesChunk chunk, TimeRange range, long windowMs) =>
        range.Contains(new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs))
        && (windowMs == 0 || chunk.MaxTimeMs <= TimeWindow.EndOf(chunk.MinTimeMs, windowMs));

    private static MergeCounts MergeGroup(
        Span<SeriesChunk> group, TimeRange range, long windowMs, NativeArena arena, List<SeriesChunk> output, int maxSamples)
    {
        int floatChunks = FloatsFirst(group);
        Span<SeriesChunk> floats = group[..floatChunks];
        long total = 0;
        foreach (ref readonly SeriesChunk chunk in floats) total += CountOf(chunk);
        Sample[] samples = ArrayPool<Sample>.Shared.Rent(checked((int)total));
        Sample[] spare = ArrayPool<Sample>.Shared.Rent(floats.Length <= 1 ? 0 : (int)total);
        int[] runs = ArrayPool<int>.Shared.Rent(floats.Length + 1);
        try
        {
            // From here on "later in the group" means "wins".
            if (floats.Length > 1) floats.Sort(CompareVersions);
            int runCount = DecodeAll(floats, range, samples, runs);
            MergeCounts counts = MergeRuns(ref samples, ref spare, runs, runCount);
            Span<Sample> merged = samples.AsSpan(0, runs[1]);
            var target = new MergeTarget(range, windowMs, floats.IsEmpty ? long.MinValue : floats[^1].Rank, arena, output, maxSamples);
            if (floatChunks < group.Length) return counts + HistogramMerge.Merge(group[floatChunks..], merged, target);
            Encode(merged, windowMs, target.Rank, arena, output, maxSamples);
            return counts;
        }
        finally
        {
            ArrayPool<Sample>.Shared.Return(samples);
            ArrayPool<Sample>.Shared.Return(spare);
            ArrayPool<int>.Shared.Return(runs);
        }
    }

    /// <summary>
    /// Puts the chunks of floats before those of histograms, each by their start. Mostly all are of floats: then nothing is moved.
    /// </summary>
    /// <returns>How many hold floats.</returns>
    private static int FloatsFirst(Span<SeriesChunk> group)
    {
        int floats = 0;
        foreach (ref readonly SeriesChunk chunk in group)
        {
            if (chunk.Encoding == ChunkEncoding.Xor) floats++;
        }

        if (floats == group.Length) return floats;
        group.Sort(static (a, b) =>
        {
            int order = (a.Encoding != ChunkEncoding.Xor).CompareTo(b.Encoding != ChunkEncoding.Xor);
            return order != 0 ? order : a.MinTimeMs.CompareTo(b.MinTimeMs);
        });
        return floats;
    }

    /// <summary>Which of two chunks wins an instant that both hold: the greater one.</summary>
    internal static int CompareVersions(SeriesChunk left, SeriesChunk right)
    {
        int order = left.Rank.CompareTo(right.Rank);
        if (order == 0) order = left.MinTimeMs.CompareTo(right.MinTimeMs);
        if (order == 0) order = left.MaxTimeMs.CompareTo(right.MaxTimeMs);
        return order != 0 ? order : left.Data.Span.SequenceCompareTo(right.Data.Span);
    }

    /// <summary>
    /// Decodes a group into ascending runs, samples outside the range left out. Chunks of one source mostly form one run.
    /// </summary>
    /// <param name="group">Chunks, the winning ones last.</param>
    /// <param name="range">What is kept.</param>
    /// <param name="samples">Receives the samples.</param>
    /// <param name="runs">Receives the start of each run, and the end of the last; room for one more than chunks.</param>
    /// <returns>Number of runs, at least 1.</returns>
    private static int DecodeAll(ReadOnlySpan<SeriesChunk> group, TimeRange range, Sample[] samples, int[] runs)
    {
        int runCount = 1;
        int length = 0;
        runs[0] = 0;
        foreach (ref readonly SeriesChunk chunk in group)
        {
            Span<Sample> decoded = samples.AsSpan(length, CountOf(chunk));
            DecodeInto(chunk, decoded);
            int kept = Cut(decoded, range);
            if (kept == 0) continue;
            if (length > runs[runCount - 1] && decoded[0].TimeMs <= samples[length - 1].TimeMs) runs[runCount++] = length;
            length += kept;
        }

        runs[runCount] = length;
        return runCount;
    }

    /// <summary>Moves the samples inside the range to the front.</summary>
    private static int Cut(Span<Sample> samples, TimeRange range)
    {
        int end = samples.Length;
        while (end > 0 && samples[end - 1].TimeMs > range.MaxMs) end--;
        int start = 0;
        while (start < end && samples[start].TimeMs < range.MinMs) start++;
        if (start > 0) samples[start..end].CopyTo(samples);
        return end - start;
    }

    /// <summary>
    /// Merges neighbouring runs pass by pass until one is left, which starts at 0 and ends at <c>runs[1]</c> of <paramref name="samples"/>.
    /// </summary>
    private static MergeCounts MergeRuns(ref Sample[] samples, ref Sample[] spare, int[] runs, int runCount)
    {
        MergeCounts counts = default;
        while (runCount > 1)
        {
            int merged = 0;
            int length = 0;
            for (int run = 0; run < runCount; run += 2)
            {
                ReadOnlySpan<Sample> older = samples.AsSpan(runs[run]..runs[run + 1]);
                ReadOnlySpan<Sample> newer = run + 1 < runCount ? samples.AsSpan(runs[run + 1]..runs[run + 2]) : default;
                runs[merged++] = length;
                length += MergeTwo(older, newer, spare.AsSpan(length), ref counts);
            }

            runs[merged] = length;
            runCount = merged;
            (samples, spare) = (spare, samples);
        }

        return counts;
    }

    private static int MergeTwo(ReadOnlySpan<Sample> older, ReadOnlySpan<Sample> newer, Span<Sample> target, ref MergeCounts counts)
    {
        int i = 0;
        int j = 0;
        int written = 0;
        long duplicates = 0;
        long conflicts = 0;
        while (i < older.Length && j < newer.Length)
        {
            if (older[i].TimeMs < newer[j].TimeMs)
            {
                target[written++] = older[i++];
                continue;
            }

            if (older[i].TimeMs == newer[j].TimeMs)
            {
                if (older[i].ValueBits == newer[j].ValueBits) duplicates++;
                else conflicts++;
                i++;
            }

            target[written++] = newer[j++];
        }

        older[i..].CopyTo(target[written..]);
        written += older.Length - i;
        newer[j..].CopyTo(target[written..]);
        counts += new MergeCounts(duplicates, conflicts);
        return written + newer.Length - j;
    }

    /// <summary>The chunk's own count, as long as its bytes can hold so many: nothing is rented for a lie.</summary>
    internal static int CountOf(in SeriesChunk chunk)
    {
        int count = new XorChunkReader(chunk.Data.Span).Count;
        if (count > chunk.Data.Length * 4L) CorruptChunkException.Throw(chunk, $"{count} samples need 2 bits each at least");
        return count;
    }

    internal static void DecodeInto(in SeriesChunk chunk, Span<Sample> samples)
    {
        var reader = new XorChunkReader(chunk.Data.Span);
        int count = reader.ReadInto(samples);
        if (reader.IsCorrupt) CorruptChunkException.Throw(chunk, $"not an XOR chunk behind sample {count} of {reader.Count}");
        if (count == 0) CorruptChunkException.Throw(chunk, "it holds no sample");
        if (samples[0].TimeMs != chunk.MinTimeMs || samples[count - 1].TimeMs != chunk.MaxTimeMs)
            CorruptChunkException.Throw(chunk, $"its samples span {samples[0].TimeMs} to {samples[count - 1].TimeMs} ms");
    }

    private static void RequireKnown(in SeriesChunk chunk)
    {
        if (!ChunkEncodings.IsKnown(chunk.Encoding)) CorruptChunkException.Throw(chunk, "unknown encoding");
    }
}
