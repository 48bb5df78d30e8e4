using System.Buffers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>Sorts ordinals by labels: small sets by comparing, large ones by ranks that are computed once and extended.</summary>
/// <remarks>
/// Order:     <see cref="Labels.Compare"/>, then ordinal, so that it is total even where two ids carry equal labels.
/// Ranks:     an immutable array, 4 bytes a series, published whole: a read in progress keeps the one that it began with. It covers the
///            first so many ordinals; a set with a few younger ones is sorted in two parts and merged. Once the younger ones asked for are
///            a sixteenth of all, the ranks are extended: many at once through the postings (<see cref="LabelRanking"/>), fewer by
///            comparing and merging. What the postings do not hold yet has no rank and is always compared.
/// Threads:   any. The lock guards extending only, and nothing is taken inside; it is held for the whole sort, as any second sorter needs its result.
/// </remarks>
internal sealed class LabelOrder
{
    private const int DirectSortMax = 1024;
    private const int ExtendShare = 16;
    private const int RebuildShare = 8;

    private readonly Lock _extending = new();
    private readonly LabelStorage _storage;
    private readonly Postings _postings;
    private uint[] _ranks = [];

    /// <summary>No ranks yet.</summary>
    /// <param name="storage">Label runs by ordinal.</param>
    /// <param name="postings">Where complete, they rank all series many times faster than comparing would.</param>
    public LabelOrder(LabelStorage storage, Postings postings)
    {
        _storage = storage;
        _postings = postings;
    }

    /// <summary>Bytes held.</summary>
    public long MemoryBytes => RankedCount * (long)sizeof(uint);

    /// <summary>Ordinals that have a rank.</summary>
    internal int RankedCount => Volatile.Read(ref _ranks).Length;

    /// <summary>Orders two canonical runs as <see cref="Labels.Compare"/> does, at the speed of a byte comparison.</summary>
    /// <remarks>Canonical runs are equal byte by byte up to the first label that differs; only that one is parsed.</remarks>
    public static int Compare(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        int common = left.CommonPrefixLength(right);
        if (common == left.Length || common == right.Length) return left.Length.CompareTo(right.Length);
        int start = 0;
        while (true)
        {
            int at = start + 1;
            if (!Varint.TryRead(left, ref at, out ulong length) || (ulong)at + length > (ulong)common) break;
            start = at + (int)length;
        }

        return Labels.Compare(left[start..], right[start..]);
    }

    /// <summary>Ranks all series that the postings hold, so that the first large sort need not.</summary>
    public void Rank() => Extend();

    /// <summary>Sorts distinct, existing ordinals.</summary>
    public void Sort(Span<uint> ordinals)
    {
        if (ordinals.Length < 2) return;
        uint[] ranks = Volatile.Read(ref _ranks);
        int ranked = MoveRankedFirst(ordinals, ranks.Length);
        int rest = ordinals.Length - ranked;
        if (rest > DirectSortMax && rest > _storage.Count / ExtendShare)
        {
            ranks = Extend();
            ranked = MoveRankedFirst(ordinals, ranks.Length);
        }

        SortByRank(ordinals[..ranked], ranks);
        SortDirectly(ordinals[ranked..]);
        MergeParts(ordinals, ranked);
    }

    private static int MoveRankedFirst(Span<uint> ordinals, int rankedCount)
    {
        int ranked = 0;
        for (int i = 0; i < ordinals.Length; i++)
        {
            if (ordinals[i] >= rankedCount) continue;
            (ordinals[ranked], ordinals[i]) = (ordinals[i], ordinals[ranked]);
            ranked++;
        }

        return ranked;
    }

    private static void SortByRank(Span<uint> ordinals, uint[] ranks)
    {
        if (ordinals.Length < 2) return;
        using var scratch = new NativeArena();
        Span<uint> keys = scratch.Allocate(checked(ordinals.Length * sizeof(uint))).As<uint>();
        for (int i = 0; i < keys.Length; i++) keys[i] = ranks[ordinals[i]];
        keys.Sort(ordinals);
    }

    private int Compare(uint left, uint right)
    {
        int order = Compare(_storage[left].Run, _storage[right].Run);
        return order != 0 ? order : left.CompareTo(right);
    }

    private void SortDirectly(Span<uint> ordinals)
    {
        if (ordinals.Length > 1) ordinals.Sort(Compare);
    }

    // Few younger ordinals meet many ranked ones: each finds its place by bisection, and what stands behind moves up once, in blocks.
    private void MergeParts(Span<uint> ordinals, int firstLength)
    {
        int late = ordinals.Length - firstLength;
        if (late == 0 || firstLength == 0) return;
        uint[] rented = ArrayPool<uint>.Shared.Rent(late);
        Span<uint> second = rented.AsSpan(0, late);
        ordinals[firstLength..].CopyTo(second);
        int left = firstLength;
        for (int i = late - 1; i >= 0; i--)
        {
            int place = PlaceOf(second[i], ordinals[..left]);
            ordinals[place..left].CopyTo(ordinals[(place + i + 1)..]);
            ordinals[place + i] = second[i];
            left = place;
        }

        ArrayPool<uint>.Shared.Return(rented);
    }

    private int PlaceOf(uint ordinal, ReadOnlySpan<uint> sorted)
    {
        int low = 0;
        int high = sorted.Length;
        while (low < high)
        {
            int middle = (int)(((uint)low + (uint)high) / 2);
            if (Compare(sorted[middle], ordinal) < 0) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    private uint[] Extend()
    {
        lock (_extending)
        {
            int before = _ranks.Length;
            int count = (int)_postings.IndexedCount;
            if (count <= before) return _ranks;
            using var scratch = new NativeArena();
            Span<uint> order = scratch.Allocate(checked(count * sizeof(uint))).As<uint>();
            if (count - before > before / RebuildShare) LabelRanking.Sort(_postings, order, Compare);
            else OrderWithYounger(before, order);
            uint[] ranks = new uint[count];
            for (int i = 0; i < count; i++) ranks[order[i]] = (uint)i;
            Volatile.Write(ref _ranks, ranks);
            return ranks;
        }
    }

    private void OrderWithYounger(int before, Span<uint> order)
    {
        for (uint i = 0; i < before; i++) order[(int)_ranks[i]] = i;
        for (int i = before; i < order.Length; i++) order[i] = (uint)i;
        SortDirectly(order[before..]);
        MergeParts(order, before);
    }
}
