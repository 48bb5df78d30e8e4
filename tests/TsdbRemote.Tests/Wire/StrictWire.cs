namespace TsdbRemote.Tests.Wire;

/// <summary>
/// Where our decoders are stricter than Google.Protobuf on purpose: tags and lengths beyond 32 bits, whose upper bits that parser drops.
/// </summary>
/// <remarks>Walks a body that Google.Protobuf has accepted, by a table of which fields hold messages; slow and simple.</remarks>
internal static class StrictWire
{
    private const string Flat = "flat";

    private static readonly Dictionary<(string Message, int Field), string> Nested = new()
    {
        [("v1", 1)] = "series1",
        [("v1", 3)] = Flat,
        [("series1", 1)] = Flat,
        [("series1", 2)] = Flat,
        [("series1", 3)] = "exemplar1",
        [("series1", 4)] = "histogram",
        [("exemplar1", 1)] = Flat,
        [("v2", 5)] = "series2",
        [("series2", 2)] = Flat,
        [("series2", 3)] = "histogram",
        [("series2", 4)] = Flat,
        [("series2", 5)] = Flat,
        [("histogram", 8)] = Flat,
        [("histogram", 11)] = Flat,
    };

    public static bool DropsNoBits(ReadOnlySpan<byte> body, string message)
    {
        int at = 0;
        while (at < body.Length)
        {
            UInt128 tag = Varint(body, ref at);
            if (tag > uint.MaxValue) return false;
            switch ((int)(tag & 7))
            {
                case 0: Varint(body, ref at); break;
                case 1: at += 8; break;
                case 5: at += 4; break;
                case 2:
                    UInt128 length = Varint(body, ref at);
                    if (length > int.MaxValue) return false;
                    ReadOnlySpan<byte> content = body.Slice(at, (int)length);
                    at += (int)length;
                    if (Nested.TryGetValue((message, (int)(tag >> 3)), out string? nested) && !DropsNoBits(content, nested)) return false;
                    break;
                default:
                    if (!SkipGroup(body, ref at)) return false;    // known field numbers inside it mean nothing
                    break;
            }
        }

        return true;
    }

    private static bool SkipGroup(ReadOnlySpan<byte> body, ref int at)
    {
        for (int depth = 1; depth > 0;)
        {
            UInt128 tag = Varint(body, ref at);
            if (tag > uint.MaxValue) return false;
            switch ((int)(tag & 7))
            {
                case 0: Varint(body, ref at); break;
                case 1: at += 8; break;
                case 5: at += 4; break;
                case 3: depth++; break;
                case 4: depth--; break;
                default:
                    UInt128 length = Varint(body, ref at);
                    if (length > int.MaxValue) return false;
                    at += (int)length;
                    break;
            }
        }

        return true;
    }

    private static UInt128 Varint(ReadOnlySpan<byte> body, ref int at)
    {
        UInt128 value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte b = body[at++];
            value |= (UInt128)(b & 0x7F) << shift;
            if (b < 0x80) return value;
        }
    }
}
