using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>The Label message of remote write 1.0, as it stands in a body. Stateless.</summary>
/// <remarks><code>0A len │ 0A len name │ 12 len value</code>Source: prometheus prompb/types.proto, Label.</remarks>
internal static class LabelWire
{
    /// <summary>Where a short label's name stands, counted from the label's tag.</summary>
    public const int NameAt = 4;

    private const int ShortMessageMax = 0x7F;

    /// <summary>Bytes of a short message beyond its texts: two tags and two lengths.</summary>
    private const int ShortOverhead = 4;

    /// <summary>Bytes of a label's message, without its tag and length.</summary>
    public static int MessageSize(int nameLength, int valueLength) =>
        2 + Varint.SizeOf((uint)nameLength) + nameLength + Varint.SizeOf((uint)valueLength) + valueLength;

    /// <summary>Writes all of a label but its texts, for lengths of one byte each; as <see cref="Labels.Write"/> would.</summary>
    /// <param name="target">Starts with the label's tag.</param>
    /// <param name="nameLength">The name's bytes, which stand at <see cref="NameAt"/>.</param>
    /// <param name="valueLength">The value's bytes, which stand two behind the name's end.</param>
    public static void WriteShortHeads(Span<byte> target, int nameLength, int valueLength)
    {
        uint message = (uint)(ShortOverhead + nameLength + valueLength);
        uint head = Labels.LabelTag | (message << 8) | (Labels.NameTag << 16) | ((uint)nameLength << 24);
        BinaryPrimitives.WriteUInt32LittleEndian(target, head);
        BinaryPrimitives.WriteUInt16LittleEndian(target[(NameAt + nameLength)..], (ushort)(Labels.ValueTag | (valueLength << 8)));
    }

    /// <summary>Steps over labels as every sender writes them: all lengths one byte, name then value.</summary>
    /// <returns>Where the reader of all spellings has to go on.</returns>
    public static int SkipPlainRun(ReadOnlySpan<byte> series, int at)
    {
        while (series.Length - at >= 2 + ShortOverhead)
        {
            uint head = BinaryPrimitives.ReadUInt32LittleEndian(series[at..]);     // 0A, label length, 0A, name length
            if ((head & 0x00FF00FF) != (Labels.LabelTag | (Labels.NameTag << 16))) break;
            int length = (int)(head >> 8) & 0xFF;
            int valueLength = length - ShortOverhead - (int)(head >> 24);
            int next = at + 2 + length;
            if (length > ShortMessageMax || valueLength < 0 || next > series.Length) break;
            int valueAt = next - valueLength;
            if (series[valueAt - 2] != Labels.ValueTag || series[valueAt - 1] != valueLength) break;
            at = next;
        }

        return at;
    }

    /// <summary>Reads a label's message, whatever its spelling.</summary>
    /// <param name="message">The message, read to its end.</param>
    /// <param name="name">The last name in it; empty if there is none.</param>
    /// <param name="value">The last value in it; empty if there is none.</param>
    /// <param name="isPlain">True if there is nothing else in it and nothing twice.</param>
    public static bool TryRead(scoped ref WireReader message, out BodyRange name, out BodyRange value, out bool isPlain)
    {
        name = default;
        value = default;
        isPlain = true;
        int seen = 0;
        while (!message.AtEnd)
        {
            if (!message.TryReadTag(out uint tag)) return false;
            if (tag is not (Labels.NameTag or Labels.ValueTag))
            {
                isPlain = false;
                if (!message.TrySkip(tag)) return false;
                continue;
            }

            if (!message.TryReadBytes(out int offset, out int length)) return false;
            int field = tag == Labels.NameTag ? 1 : 2;
            isPlain &= (seen & field) == 0;
            seen |= field;
            if (tag == Labels.NameTag) name = new BodyRange(offset, length);
            else value = new BodyRange(offset, length);
        }

        return true;
    }
}
