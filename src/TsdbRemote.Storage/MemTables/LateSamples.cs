using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>The out-of-order samples of one series in one block: one for each time, the last to arrive.</summary>
/// <remarks>
/// <code>┌ block bytes i32 ┬ sorted i32 ┬ tail i32 ┬ (4) ┬ sorted samples, ascending ┬ tail, as it came ┬ free ┐   16 bytes each</code>
/// A sample above all others joins the sorted part while the tail is empty: an old range sent in order, the usual case, costs an
/// append. Others join the tail; when it outgrows its share it is sorted and merged in. So a look-up is a short scan and a binary
/// search, and any order of arrival costs few moves a sample. Tried instead: arrival order alone (a look-up by a scan is
/// quadratic under a backfill), a hash index (half as much memory again, and each read sorts everything).
/// Of histograms the value is the address of a chunk of one; here nobody looks at it.
/// Touched only under the stripe's lock.
/// </remarks>
[StructLayout(LayoutKind.Sequential, Size = HeadBytes)]
internal unsafe struct LateSamples
{
    private const int HeadBytes = 16;
    private const int MinTail = 32;
    private const int MaxTail = 512;

    private int _blockBytes;
    private int _sorted;
    private int _tail;

    /// <summary>The sample at exactly <paramref name="timeMs"/>, to read or to overwrite its value; null if there is none.</summary>
    /// <param name="late">The block, or null for no samples.</param>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    public static Sample* Find(LateSamples* late, long timeMs)
    {
        if (late == null) return null;
        Sample* samples = SamplesOf(late);
        int count = late->_sorted + late->_tail;
        for (int i = count - 1; i >= late->_sorted; i--)
        {
            if (samples[i].TimeMs == timeMs) return samples + i;
        }

        int at = LowerBound(SortedOf(late), timeMs);
        return at < late->_sorted && samples[at].TimeMs == timeMs ? samples + at : null;
    }

    /// <summary>Adds a sample at a time that is free.</summary>
    /// <param name="late">The block, or null for no samples.</param>
    /// <param name="slab">Where blocks come from.</param>
    /// <param name="sample">The sample.</param>
    /// <returns>The block to use from now on.</returns>
    public static LateSamples* Add(LateSamples* late, ChunkSlab slab, Sample sample)
    {
        late = WithRoom(late, slab);
        Sample* samples = SamplesOf(late);
        int sorted = late->_sorted;
        samples[sorted + late->_tail] = sample;
        if (late->_tail == 0 && (sorted == 0 || samples[sorted - 1].TimeMs < sample.TimeMs))
        {
            late->_sorted++;
            return late;
        }

        late->_tail++;
        if (late->_tail >= Math.Clamp(sorted / 16, MinTail, MaxTail)) MergeTail(late);
        return late;
    }

    /// <summary>At most how many samples <see cref="CopyTo"/> copies for the range.</summary>
    public static int CountUpTo(LateSamples* late, TimeRange range)
    {
        SortedRange(late, range, out int from, out int end);
        return end - from + late->_tail;
    }

    /// <summary>True if some sample is inside the range.</summary>
    public static bool Any(LateSamples* late, TimeRange range)
    {
        SortedRange(late, range, out int from, out int end);
        if (end > from) return true;
        Sample* tail = SamplesOf(late) + late->_sorted;
        for (int i = 0; i < late->_tail; i++)
        {
            if (range.Contains(tail[i].TimeMs)) return true;
        }

        return false;
    }

    /// <summary>Copies the samples inside the range.</summary>
    /// <param name="late">The block.</param>
    /// <param name="range">Closed interval.</param>
    /// <param name="target">Room for <see cref="CountUpTo"/> samples.</param>
    /// <param name="ascending">False if the copy still has to be sorted by time.</param>
    /// <returns>Samples copied.</returns>
    public static int CopyTo(LateSamples* late, TimeRange range, Span<Sample> target, out bool ascending)
    {
        SortedRange(late, range, out int from, out int end);
        SortedOf(late)[from..end].CopyTo(target);
        int copied = end - from;
        ascending = late->_tail == 0;
        Sample* tail = SamplesOf(late) + late->_sorted;
        for (int i = 0; i < late->_tail; i++)
        {
            if (range.Contains(tail[i].TimeMs)) target[copied++] = tail[i];
        }

        return copied;
    }

    /// <summary>Sorts samples by time.</summary>
    public static void SortByTime(Span<Sample> samples) => samples.Sort(static (a, b) => a.TimeMs.CompareTo(b.TimeMs));

    private static LateSamples* WithRoom(LateSamples* late, ChunkSlab slab)
    {
        if (late == null)
        {
            var first = (LateSamples*)slab.Allocate(2 * ChunkSlab.Grain, out int firstBytes);
            *first = default;
            first->_blockBytes = firstBytes;
            return first;
        }

        int used = sizeof(LateSamples) + (late->_sorted + late->_tail) * sizeof(Sample);
        if (used + sizeof(Sample) <= late->_blockBytes) return late;
        int wanted = late->_blockBytes + Math.Max(late->_blockBytes / 2, ChunkSlab.Grain);
        var larger = (LateSamples*)slab.Allocate(wanted, out int blockBytes);
        Buffer.MemoryCopy(late, larger, blockBytes, used);
        larger->_blockBytes = blockBytes;
        slab.Free((byte*)late, late->_blockBytes);
        return larger;
    }

    /// <summary>Merges from the end: each tail sample, the highest first, shifts what lies above it once.</summary>
    [SkipLocalsInit]
    private static void MergeTail(LateSamples* late)
    {
        int tailCount = late->_tail;
        var all = new Span<Sample>(SamplesOf(late), late->_sorted + tailCount);
        Span<Sample> tail = stackalloc Sample[MaxTail];
        tail = tail[..tailCount];
        all[late->_sorted..].CopyTo(tail);
        SortByTime(tail);
        int end = late->_sorted;
        for (int i = tailCount - 1; i >= 0; i--)
        {
            int from = LowerBound(all[..end], tail[i].TimeMs);
            all[from..end].CopyTo(all[(from + i + 1)..]);
            all[from + i] = tail[i];
            end = from;
        }

        late->_sorted += tailCount;
        late->_tail = 0;
    }

    private static void SortedRange(LateSamples* late, TimeRange range, out int from, out int end)
    {
        ReadOnlySpan<Sample> sorted = SortedOf(late);
        from = LowerBound(sorted, range.MinMs);
        end = range.MaxMs == long.MaxValue ? sorted.Length : LowerBound(sorted, range.MaxMs + 1);
        end = Math.Max(from, end);
    }

    /// <summary>Index of the first sample at <paramref name="timeMs"/> or later.</summary>
    private static int LowerBound(ReadOnlySpan<Sample> sorted, long timeMs)
    {
        int low = 0;
        int high = sorted.Length;
        while (low < high)
        {
            int middle = (int)((uint)(low + high) >> 1);
            if (sorted[middle].TimeMs < timeMs) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    private static Sample* SamplesOf(LateSamples* late) => (Sample*)(late + 1);

    private static Span<Sample> SortedOf(LateSamples* late) => new(SamplesOf(late), late->_sorted);
}
