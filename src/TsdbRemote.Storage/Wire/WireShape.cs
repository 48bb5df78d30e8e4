namespace TsdbRemote.Storage.Wire;

/// <summary>Checks messages that are counted but not decoded: is every part of them legal protobuf? Stateless.</summary>
/// <remarks>
/// Stepping over a scalar checks it as well as reading it would, so only nested messages need a look of their own.
/// Field numbers: remote write 1.0, Exemplar.
/// </remarks>
internal static class WireShape
{
    private const uint ExemplarLabels = (1 << 3) | 2;

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
}
