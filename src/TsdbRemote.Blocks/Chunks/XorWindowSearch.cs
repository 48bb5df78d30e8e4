using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Finds the cheapest sequence of windows for the changed values of an XOR chunk: exactly, and value by value.</summary>
/// <remarks>
/// Use: <see cref="Reset"/>; <see cref="Add"/> each changed value, which tells the bits so far; <see cref="Finish"/> with how many of them are
/// kept; then read the windows off <see cref="RunAt"/>.
/// <para>
/// An encoding cuts the changed values into runs that share a window, and the best window of a run is the union of what its values need. So
/// with C(j) the bits of the first j values and S(i,j) the significant bits of the union of values i+1 to j,
/// </para>
/// <code>
/// C(0) = 0      C(j) = min over i &lt; j of V(i,j)      V(i,j) = C(i) + 11 + (j-i) · (2 + S(i,j))
/// </code>
/// <para>
/// which already offers every window that the format knows. What makes it fast: once V(i,j) ≥ C(j) + 11, the run that began behind i has lost
/// to a run that begins behind j. For at any later k the former costs V(i,k) ≥ V(i,j) + (k-j) · (2 + S(i,k)), the latter
/// V(j,k) = C(j) + 11 + (k-j) · (2 + S(j,k)), and S(j,k) ≤ S(i,k). So only runs within 11 bits of the best stay in the race: 2 or 3 on scraped
/// data, hardly ever more than the 8 that fit in one vector. Losers give their lane to the next run.
/// </para>
/// <para>
/// Not thread-safe. Allocates only while it grows: 4 bytes for each changed value of the longest chunk seen, and 128 for each 8 runs that
/// were ever in the race together.
/// </para>
/// </remarks>
internal sealed class XorWindowSearch
{
    // A run that is out of the race. What it may still gain until its lane is taken (65,535 values of 66 bits) does not overflow.
    private const int Lost = int.MaxValue / 2;

    // _runs[j] for j ≥ 1: the last run of the cheapest encoding of the first j values, and where it begins.
    // Behind Finish: _runs[i] is the run of the cheapest encoding of all values that begins behind the first i, and where it ends.
    private Run[] _runs = new Run[512];
    private Lanes[] _groups = new Lanes[1];
    private int _groupCount;
    private int _count;

    /// <summary>Begins a chunk.</summary>
    public void Reset()
    {
        _count = 0;
        _groupCount = 1;
        _groups[0] = Lanes.Empty;
        Begin(ref _groups[0], 0, XorWindow.OpenBits);
    }

    /// <summary>Adds a changed value.</summary>
    /// <param name="exact">Its narrowest window.</param>
    /// <returns>Bits of the cheapest encoding of all values so far, flags and windows included.</returns>
    public int Add(XorWindow exact)
    {
        if (++_count == _runs.Length) Array.Resize(ref _runs, 2 * _runs.Length);
        Vector256<int> leading = Vector256.Create((int)exact.Leading);
        Vector256<int> trailing = Vector256.Create((int)exact.Trailing);
        Vector256<int> count = Vector256.Create(_count);
        Span<Lanes> groups = _groups.AsSpan(0, _groupCount);
        Vector256<int> least = groups[0].Widen(leading, trailing, count);
        for (int i = 1; i < groups.Length; i++) least = Vector256.Min(least, groups[i].Widen(leading, trailing, count));
        int bits = MinOf(least);
        int lost = bits + XorWindow.OpenBits;
        bool begun = false;
        foreach (ref Lanes group in groups)
        {
            uint best = Vector256.Equals(group.Cost, Vector256.Create(bits)).ExtractMostSignificantBits();
            if (best != 0) _runs[_count] = group.RunAt(BitOperations.TrailingZeroCount(best));
            Vector256<int> isLost = Vector256.GreaterThanOrEqual(group.Cost, Vector256.Create(lost));
            group.Base = Vector256.ConditionalSelect(isLost, Vector256.Create(Lost), group.Base);
            if (begun || isLost == default) continue;
            Begin(ref group, BitOperations.TrailingZeroCount(isLost.ExtractMostSignificantBits()), lost);
            begun = true;
        }

        if (!begun) AddGroup(lost);
        else if (_groupCount > 1 && _groups[_groupCount - 1].IsAllLost) _groupCount--;
        return bits;
    }

    /// <summary>Ends the chunk behind the first so many changed values; <see cref="RunAt"/> then tells their runs.</summary>
    /// <param name="count">0 to what was added.</param>
    public void Finish(int count)
    {
        // The back pointers turn into forward ones, in place: a run's own entry is read before its beginning is overwritten.
        Run run = _runs[count];
        for (int end = count; end > 0;)
        {
            int start = run.Other;
            Run before = _runs[start];
            _runs[start] = run with { Other = (ushort)end };
            (run, end) = (before, start);
        }
    }

    /// <summary>The run that begins behind the first so many changed values.</summary>
    /// <param name="start">0, or the end of the run before.</param>
    /// <param name="end">Changed values up to its end.</param>
    public XorWindow RunAt(int start, out int end)
    {
        Run run = _runs[start];
        end = run.Other;
        return new XorWindow(run.Leading, run.Trailing);
    }

    private void Begin(ref Lanes group, int lane, int bits)
    {
        Vector256<int> chosen = Vector256.Equals(Vector256<int>.Indices, Vector256.Create(lane));
        group.Leading = Vector256.ConditionalSelect(chosen, Vector256.Create(XorWindow.MaxLeading), group.Leading);
        group.Trailing = Vector256.ConditionalSelect(chosen, Vector256.Create(63), group.Trailing);
        group.Start = Vector256.ConditionalSelect(chosen, Vector256.Create(_count), group.Start);
        group.Base = Vector256.ConditionalSelect(chosen, Vector256.Create(bits), group.Base);
    }

    private void AddGroup(int bits)
    {
        if (_groupCount == _groups.Length) Array.Resize(ref _groups, 2 * _groups.Length);
        ref Lanes group = ref _groups[_groupCount++];
        group = Lanes.Empty;
        Begin(ref group, 0, bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int MinOf(Vector256<int> lanes)
    {
        Vector128<int> four = Vector128.Min(lanes.GetLower(), lanes.GetUpper());
        Vector128<int> two = Vector128.Min(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Min(two, Vector128.Shuffle(two, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    private readonly record struct Run(ushort Other, byte Leading, byte Trailing);

    /// <summary>Eight runs of the race, a lane each.</summary>
    private struct Lanes
    {
        /// <summary>Union of the windows that the run's values need.</summary>
        public Vector256<int> Leading, Trailing;

        /// <summary>Changed values before the run.</summary>
        public Vector256<int> Start;

        /// <summary>Bits of the cheapest encoding of those, and of the run's opening; <see cref="Lost"/> in a free lane.</summary>
        public Vector256<int> Base;

        /// <summary>Bits up to the last value added.</summary>
        public Vector256<int> Cost;

        public static Lanes Empty => new() { Base = Vector256.Create(Lost) };

        public readonly bool IsAllLost => Base == Vector256.Create(Lost);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<int> Widen(Vector256<int> leading, Vector256<int> trailing, Vector256<int> count)
        {
            Leading = Vector256.Min(Leading, leading);
            Trailing = Vector256.Min(Trailing, trailing);
            Vector256<int> bits = Vector256.Create(64 + XorWindow.FlagBits) - Leading - Trailing;
            return Cost = Base + (count - Start) * bits;
        }

        public readonly Run RunAt(int lane) => new((ushort)ElementOf(in Start, lane), (byte)ElementOf(in Leading, lane), (byte)ElementOf(in Trailing, lane));

        /// <summary>Reads from memory; GetElement with a lane that the compiler does not know would copy the vector first.</summary>
        private static int ElementOf(in Vector256<int> lanes, int lane) =>
            Unsafe.Add(ref Unsafe.As<Vector256<int>, int>(ref Unsafe.AsRef(in lanes)), lane);
    }
}
