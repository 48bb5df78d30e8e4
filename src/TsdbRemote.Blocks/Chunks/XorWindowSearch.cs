using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Finds the cheapest sequence of windows for the changed values of an XOR chunk: exactly, and value by value.</summary>
/// <remarks>
/// Use: <see cref="Reset"/>; <see cref="Add"/> each changed value, which tells the bits so far; <see cref="Finish"/> with how many of them are
/// kept; then follow <see cref="RunAt"/> from 0.
/// <para>
/// An encoding cuts the changed values into runs that share a window, and the best window of a run is the union of what its values need. So
/// with C(j) the bits of the first j values and S(i,j) the significant bits of the union of values i+1 to j,
/// </para>
/// <code>
/// C(0) = 0      C(j) = min over i &lt; j of V(i,j)      V(i,j) = C(i) + 11 + (j-i) · (2 + S(i,j))
/// </code>
/// <para>
/// offers every sequence of windows that the format knows. Few of the runs i need be looked at: once V(i,j) ≥ C(j) + 11, run i has lost to
/// the one that begins behind j. For at any later k that one costs V(j,k) = C(j) + 11 + (k-j) · (2 + S(j,k)), run i costs
/// V(i,k) ≥ V(i,j) + (k-j) · (2 + S(i,k)), and S(i,k) ≥ S(j,k).
/// </para>
/// <para>
/// So a run stays in the race while it is within 11 bits of the best: 13 runs on scraped data, and never more than 32 on that or on data made
/// to provoke it. They race in the lanes of vectors; a loser's lane goes to the next run, and a vector is added where no lane is free.
/// </para>
/// <para>
/// Not thread-safe. Allocates only while it grows: 4 bytes for each changed value of the longest chunk seen, and 160 for each 8 runs that were
/// ever in the race together.
/// </para>
/// </remarks>
internal sealed class XorWindowSearch
{
    // Base of a run that has lost. Whatever its lane adds until it is taken, at most 65,535 values of 66 bits, it does not overflow.
    private const int Lost = int.MaxValue / 2;

    // _runs[j] for j ≥ 1: the last run of the cheapest encoding of the first j values, and where it begins.
    // Behind Finish, for each i where one begins: the run of the cheapest encoding of all values that begins behind value i, and where it ends.
    private Run[] _runs = new Run[512];
    private Lanes[] _groups = new Lanes[1];
    private int _groupCount;
    private int _count;

    /// <summary>Begins a chunk.</summary>
    public void Reset()
    {
        _count = 0;
        _groupCount = 0;
        AddGroup(XorWindow.OpenBits);
    }

    /// <summary>Adds a changed value.</summary>
    /// <param name="exact">Its narrowest window.</param>
    /// <returns>Bits of the cheapest encoding of all values so far, flags and windows included.</returns>
    public int Add(XorWindow exact)
    {
        if (++_count == _runs.Length) Array.Resize(ref _runs, 2 * _runs.Length);
        Span<Lanes> groups = _groups.AsSpan(0, _groupCount);
        Vector256<int> least = groups[0].Widen(exact, _count);
        for (int i = 1; i < groups.Length; i++) least = Vector256.Min(least, groups[i].Widen(exact, _count));
        int bits = MinOf(least);
        int lost = bits + XorWindow.OpenBits;
        bool begun = false;
        foreach (ref Lanes group in groups)
        {
            uint best = Vector256.Equals(group.Cost, Vector256.Create(bits)).ExtractMostSignificantBits();
            if (best != 0) _runs[_count] = group.RunAt(BitOperations.TrailingZeroCount(best));
            uint free = group.DropLosers(lost);
            if (begun || free == 0) continue;
            group.Begin(BitOperations.TrailingZeroCount(free), _count, lost);
            begun = true;
        }

        if (!begun) AddGroup(lost);
        else if (_groupCount > 1 && _groups[_groupCount - 1].AreAllLost) _groupCount--;
        return bits;
    }

    /// <summary>Ends the chunk behind the first so many changed values; <see cref="RunAt"/> then tells their runs.</summary>
    /// <param name="count">0 to what was added.</param>
    public void Finish(int count)
    {
        // The back pointers turn into forward ones, in place: what stands where a run begins is read before it is overwritten.
        Run run = _runs[count];
        for (int end = count; end > 0;)
        {
            int start = run.OtherEnd;
            Run before = _runs[start];
            _runs[start] = run with { OtherEnd = (ushort)end };
            (run, end) = (before, start);
        }
    }

    /// <summary>The window of the run that begins behind so many changed values.</summary>
    /// <param name="start">0, or the end of the run before.</param>
    /// <param name="end">Changed values up to its end.</param>
    public XorWindow RunAt(int start, out int end)
    {
        Run run = _runs[start];
        end = run.OtherEnd;
        return run.Window;
    }

    private void AddGroup(int bits)
    {
        if (_groupCount == _groups.Length) Array.Resize(ref _groups, 2 * _groups.Length);
        ref Lanes group = ref _groups[_groupCount++];
        group = new Lanes { Base = Vector256.Create(Lost) };
        group.Begin(0, _count, bits);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int MinOf(Vector256<int> lanes)
    {
        Vector128<int> four = Vector128.Min(lanes.GetLower(), lanes.GetUpper());
        Vector128<int> two = Vector128.Min(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Min(two, Vector128.Shuffle(two, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    private readonly record struct Run(ushort OtherEnd, XorWindow Window);

    /// <summary>Eight runs of the race, a lane each. Methods work on copies of the fields: each store and load back would cost 3 ns.</summary>
    private struct Lanes
    {
        /// <summary>Union of the windows that the run's values need.</summary>
        public Vector256<int> Leading, Trailing;

        /// <summary>Changed values before the run.</summary>
        public Vector256<int> Start;

        /// <summary>Bits of the cheapest encoding of those, and of what opens the run; <see cref="Lost"/> where the lane is free.</summary>
        public Vector256<int> Base;

        /// <summary>Bits up to the last value added.</summary>
        public Vector256<int> Cost;

        public readonly bool AreAllLost => Base == Vector256.Create(Lost);

        /// <summary>Takes a value into every run.</summary>
        /// <param name="exact">Its window.</param>
        /// <param name="count">Changed values with this one.</param>
        /// <returns>The costs.</returns>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector256<int> Widen(XorWindow exact, int count)
        {
            Vector256<int> leading = Vector256.Min(Leading, Vector256.Create((int)exact.Leading));
            Vector256<int> trailing = Vector256.Min(Trailing, Vector256.Create((int)exact.Trailing));
            Vector256<int> bits = Vector256.Create(XorWindow.FlagBits + 64) - leading - trailing;
            Vector256<int> cost = Base + (Vector256.Create(count) - Start) * bits;
            Leading = leading;
            Trailing = trailing;
            Cost = cost;
            return cost;
        }

        /// <summary>Takes the runs that cost so much or more out of the race.</summary>
        /// <returns>A bit for each free lane.</returns>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public uint DropLosers(int lost)
        {
            Vector256<int> isLost = Vector256.GreaterThanOrEqual(Cost, Vector256.Create(lost));
            Base = Vector256.ConditionalSelect(isLost, Vector256.Create(Lost), Base);
            return isLost.ExtractMostSignificantBits();
        }

        /// <summary>Gives a lane to the run that begins behind so many changed values.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Begin(int lane, int start, int bits)
        {
            Vector256<int> chosen = Vector256.Equals(Vector256<int>.Indices, Vector256.Create(lane));
            Leading = Vector256.ConditionalSelect(chosen, Vector256.Create(XorWindow.MaxLeading), Leading);
            Trailing = Vector256.ConditionalSelect(chosen, Vector256.Create(63), Trailing);
            Start = Vector256.ConditionalSelect(chosen, Vector256.Create(start), Start);
            Base = Vector256.ConditionalSelect(chosen, Vector256.Create(bits), Base);
        }

        public readonly Run RunAt(int lane) =>
            new((ushort)ElementOf(in Start, lane), new XorWindow((byte)ElementOf(in Leading, lane), (byte)ElementOf(in Trailing, lane)));

        // From memory: GetElement of a lane that the compiler does not know would copy the vector first.
        private static int ElementOf(in Vector256<int> lanes, int lane) =>
            Unsafe.Add(ref Unsafe.As<Vector256<int>, int>(ref Unsafe.AsRef(in lanes)), lane);
    }
}
