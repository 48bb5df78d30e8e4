using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>The Exemplar message of both versions, which spell only its labels differently. Stateless.</summary>
/// <remarks>
/// <code>
/// 1.0   0A len label, repeated      │ 11 value: 8 bytes │ 18 time: varint
/// 2.0   0A len references, packed   │ the same two; references also one by one: 08 reference
/// </code>
/// A request's exemplars are read twice: while it is decoded, to see that they are legal, and when they are taken. Between the two nothing is kept of them but where they are.
/// Source: prometheus prompb/types.proto, Exemplar; prompb/io/prometheus/write/v2/types.proto, Exemplar.
/// </remarks>
internal static class ExemplarWire
{
    private const uint LabelsTag = (1 << 3) | 2;
    private const uint RefTag = (1 << 3) | 0;
    private const uint ValueTag = (2 << 3) | 1;
    private const uint TimeTag = (3 << 3) | 0;
    private const int ValueBytes = 1 + sizeof(ulong);

    /// <summary>
    /// Most bytes of labels that are read. An exemplar's may have 128 characters, so at most 512 bytes in 128 labels of six bytes more each; a few references must not
    /// become gigabytes of text.
    /// </summary>
    private const int MaxLabelBytes = 2048;

    /// <summary>Reads an exemplar of 1.0 to its end; stepping over a scalar checks it as well as reading it would.</summary>
    public static bool IsLegalV1(scoped ref WireReader exemplar)
    {
        while (!exemplar.AtEnd)
        {
            if (!exemplar.TryReadTag(out uint tag)) return false;
            if (!(tag == LabelsTag ? exemplar.TryReadMessage(out WireReader label) && label.TrySkipRest() : exemplar.TrySkip(tag))) return false;
        }

        return true;
    }

    /// <summary>Reads an exemplar to its end.</summary>
    /// <param name="exemplar">Legal; of 2.0 also with references that are all in the table, in pairs.</param>
    /// <param name="body">The whole body, in which symbols may stand anywhere.</param>
    /// <param name="symbols">The table of a 2.0 request; empty in 1.0.</param>
    /// <param name="labels">Its labels are appended, in the order of the wire, without those whose value is empty.</param>
    /// <param name="read">Its time and value.</param>
    /// <param name="isTooLong">True if it has more labels than any exemplar may have: they are not all there then.</param>
    /// <returns>False if it is not legal.</returns>
    public static bool TryRead(
        scoped ref WireReader exemplar, ReadOnlySpan<byte> body, ReadOnlySpan<BodyRange> symbols, PooledBuffer labels, out Sample read, out bool isTooLong)
    {
        read = default;
        isTooLong = false;
        ulong value = 0;
        ulong time = 0;
        uint name = 0;
        bool hasName = false;
        while (!exemplar.AtEnd)
        {
            if (!exemplar.TryReadTag(out uint tag)) return false;
            bool isRead = tag switch
            {
                ValueTag => exemplar.TryReadFixed64(out value),
                TimeTag => exemplar.TryReadVarint(out time),
                LabelsTag when symbols.IsEmpty => TryReadLabel(ref exemplar, labels, ref isTooLong),
                LabelsTag or RefTag when !symbols.IsEmpty => TryReadRefs(ref exemplar, tag, body, symbols, labels, ref name, ref hasName, ref isTooLong),
                _ => exemplar.TrySkip(tag),
            };
            if (!isRead) return false;
        }

        read = new Sample((long)time, value);
        return true;
    }

    /// <summary>Bytes of a 1.0 message.</summary>
    public static int SizeOf(int labelRunLength, Sample exemplar) => checked(
        labelRunLength + (exemplar.ValueBits != 0 ? ValueBytes : 0) + (exemplar.TimeMs != 0 ? 1 + Varint.SizeOf((ulong)exemplar.TimeMs) : 0));

    /// <summary>Writes a 1.0 message.</summary>
    /// <returns>Bytes written, equal to <see cref="SizeOf"/>.</returns>
    public static int Write(Span<byte> destination, ReadOnlySpan<byte> labelRun, Sample exemplar)
    {
        labelRun.CopyTo(destination);
        int at = labelRun.Length;
        if (exemplar.ValueBits != 0)
        {
            destination[at] = (byte)ValueTag;
            BinaryPrimitives.WriteUInt64LittleEndian(destination[(at + 1)..], exemplar.ValueBits);
            at += ValueBytes;
        }

        if (exemplar.TimeMs == 0) return at;
        destination[at++] = (byte)TimeTag;
        return at + Varint.Write(destination[at..], (ulong)exemplar.TimeMs);
    }

    private static bool TryReadLabel(scoped ref WireReader exemplar, PooledBuffer labels, ref bool isTooLong)
    {
        if (!exemplar.TryReadMessage(out WireReader label) || !LabelWire.TryRead(ref label, out BodyRange name, out BodyRange value, out _)) return false;
        isTooLong |= !TryAdd(labels, exemplar.Body, name, value);
        return true;
    }

    private static bool TryReadRefs(
        scoped ref WireReader exemplar, uint tag, ReadOnlySpan<byte> body, ReadOnlySpan<BodyRange> symbols, PooledBuffer labels, ref uint name,
        ref bool hasName, ref bool isTooLong)
    {
        if (!exemplar.TryReadNumbers(tag, out WireReader refs)) return false;
        while (!refs.AtEnd)
        {
            if (!refs.TryReadVarint(out ulong reference) || (uint)reference >= (uint)symbols.Length) return false;
            hasName = !hasName;
            if (hasName) name = (uint)reference;
            else isTooLong |= !TryAdd(labels, body, symbols[(int)name], symbols[(int)(uint)reference]);
        }

        return true;
    }

    private static bool TryAdd(PooledBuffer labels, ReadOnlySpan<byte> body, BodyRange name, BodyRange value)
    {
        if (value.Length == 0) return true;
        if ((long)labels.Length + name.Length + value.Length > MaxLabelBytes) return false;
        int size = Labels.SizeOf(name.Length, value.Length);
        Labels.Write(labels.Reserve(size), body.Slice(name.Offset, name.Length), body.Slice(value.Offset, value.Length));
        labels.SetLength(labels.Length + size);
        return true;
    }
}
