using System.Runtime.InteropServices;
using SharpFuzz.Common;

namespace TsdbRemote.Fuzz;

/// <summary>Which branches of the instrumented assemblies were taken: a byte counts for each pair of one branch and the next, as AFL does it.</summary>
/// <remarks>Belongs to the whole process: one thread at a time may run instrumented code, or their branches are taken for one path.</remarks>
internal sealed unsafe class Coverage
{
    private const int Pairs = 1 << 16;

    // A loop taken 3 times is another path than one taken once; one taken 90 times is none that one taken 80 times is not.
    private static readonly byte[] Classes = [.. Enumerable.Range(0, 256).Select(static count => (byte)(count switch { 0 => 0, 1 => 1, 2 => 2, 3 => 4, < 8 => 8, < 16 => 16, < 32 => 32, < 128 => 64, _ => 128 }))];

    private readonly byte* _counts = (byte*)NativeMemory.AllocZeroed(Pairs);
    private readonly byte[] _seen = new byte[Pairs];

    /// <summary>Takes over what instrumented code writes to. Has to be made before any of it runs.</summary>
    public Coverage() => Trace.SharedMem = _counts;

    /// <summary>Pairs that were seen.</summary>
    public int Seen => Pairs - _seen.AsSpan().Count((byte)0);

    /// <summary>Forgets what the last input did.</summary>
    public void Begin()
    {
        new Span<byte>(_counts, Pairs).Clear();
        Trace.PrevLocation = 0;
    }

    /// <summary>Notes what the input did.</summary>
    /// <returns>True if no input before did all of that.</returns>
    public bool End()
    {
        bool isNew = false;
        ReadOnlySpan<ulong> words = new(_counts, Pairs / sizeof(ulong));
        for (int i = words.IndexOfAnyExcept(0UL); i >= 0;)
        {
            for (int at = i * sizeof(ulong); at < (i + 1) * sizeof(ulong); at++)
            {
                byte mark = Classes[_counts[at]];
                isNew |= (mark & ~_seen[at]) != 0;
                _seen[at] |= mark;
            }

            int next = words[(i + 1)..].IndexOfAnyExcept(0UL);
            i = next < 0 ? -1 : i + 1 + next;
        }

        return isNew;
    }

    /// <summary>Begins anew, as if no input had been tried.</summary>
    public void Forget() => Array.Clear(_seen);

    /// <summary>Notes pairs only, not how often each was taken.</summary>
    /// <returns>True if there is one that no input before had.</returns>
    public bool EndPairs()
    {
        bool isNew = false;
        for (int at = 0; at < Pairs; at++)
        {
            isNew |= _counts[at] != 0 && _seen[at] == 0;
            _seen[at] |= (byte)(_counts[at] != 0 ? 1 : 0);
        }

        return isNew;
    }
}
