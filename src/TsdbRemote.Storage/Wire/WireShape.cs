namespace TsdbRemote.Storage.Wire;

/// <summary>Checks messages that are counted but not decoded: is every part of them legal protobuf? Stateless.</summary>
/// <remarks>
/// Stepping over a scalar checks it as well as reading it would, so only packed lists and nested messages need a look of their own.
/// Field numbers: remote write, Histogram (equal in 1.0 and 2.0) and Exemplar.
/// </remarks>
internal static class WireShape
{
    private const uint ExemplarLabels = (1 << 3) | 2;
    private const uint NegativeSpans = (8 << 3) | 2;
    private const uint NegativeDeltas = (9 << 3) | 2;
    private const uint NegativeCounts = (10 << 3) | 2;
    private const uint PositiveSpans = (11 << 3) | 2;
    private const uint PositiveDeltas = (12 << 3) | 2;
    private const uint PositiveCounts = (13 << 3) | 2;
    private const uint CustomValues = (16 << 3) | 2;

    /// <summary>Reads a histogram to its end.</summary>
    public static bool IsHistogram(scoped ref WireReader histogram)
    {
        while (!histogram.AtEnd)
        {
            if (!histogram.TryReadTag(out uint tag)) return false;
            bool legal = tag switch
            {
                NegativeSpans or PositiveSpans => TrySkipFlatMessage(ref histogram),
                NegativeDeltas or PositiveDeltas => TrySkipPackedVarints(ref histogram),
                NegativeCounts or PositiveCounts or CustomValues => TrySkipPackedDoubles(ref histogram),
                _ => histogram.TrySkip(tag),
            };
            if (!legal) return false;
        }

        return true;
    }

    /// <summary>Reads an exemplar of remote write 1.0 to its end.</summary>
    public static bool IsExemplarV1(scoped ref WireReader exemplar)
    {
        while (!exemplar.AtEnd)
        {
            if (!exemplar.TryReadTag(out uint tag)) return false;
            if (!(tag == ExemplarLabels ? TrySkipFlatMessage(ref exemplar) : exemplar.TrySkip(tag))) return false;
        }

        return true;
    }

    private static bool TrySkipFlatMessage(scoped ref WireReader parent) =>
        parent.TryReadMessage(out WireReader message) && message.TrySkipRest();

    private static bool TrySkipPackedVarints(scoped ref WireReader parent)
    {
        if (!parent.TryReadMessage(out WireReader list)) return false;
        while (!list.AtEnd)
        {
            if (!list.TryReadVarint(out _)) return false;
        }

        return true;
    }

    private static bool TrySkipPackedDoubles(scoped ref WireReader parent) =>
        parent.TryReadBytes(out _, out int length) && length % sizeof(double) == 0;
}
