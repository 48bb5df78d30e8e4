using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Model;

/// <summary>A series' labels as one run of bytes, exactly as remote write 1.0 sends them and remote read answers them.</summary>
/// <remarks>
/// <code>
/// for each label, ascending by name bytes:   0A len │ 0A len name │ 12 len value        (repeated Label labels = 1)
/// </code>
/// Canonical form: minimal varints, name before value, names strictly ascending, no empty name or value, valid UTF-8. Two series are the
/// same exactly if their canonical runs are equal byte by byte. Order is byte-wise over UTF-8, never UTF-16.
/// </remarks>
public static class Labels
{
    /// <summary>Wire tag of a label in its series.</summary>
    public const byte LabelTag = 0x0A;

    /// <summary>Wire tag of a label's name.</summary>
    public const byte NameTag = 0x0A;

    /// <summary>Wire tag of a label's value.</summary>
    public const byte ValueTag = 0x12;

    // Without it anybody could make up series of one hash, and have each compared with all before it.
    private static readonly long HashSeed = BitConverter.ToInt64(RandomNumberGenerator.GetBytes(sizeof(long)));

    /// <summary>Hash of a run, or of any text, by which it is looked up in memory: XXH3, 64 bits, another one in each process.</summary>
    public static ulong Hash(ReadOnlySpan<byte> run) => XxHash3.HashToUInt64(run, HashSeed);

    /// <summary>
    /// Orders two runs as Prometheus orders label sets: label by label, name then value; the shorter set first if all common ones are
    /// equal.
    /// </summary>
    public static int Compare(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        var a = new LabelRunReader(left);
        var b = new LabelRunReader(right);
        while (true)
        {
            bool moreA = a.MoveNext();
            bool moreB = b.MoveNext();
            if (!moreA || !moreB) return moreA.CompareTo(moreB);
            int order = a.Name.SequenceCompareTo(b.Name);
            if (order == 0) order = a.Value.SequenceCompareTo(b.Value);
            if (order != 0) return order;
        }
    }

    /// <summary>Finds a label's value.</summary>
    /// <returns>False, with an empty value, if the run has no such label.</returns>
    public static bool TryGet(ReadOnlySpan<byte> run, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        var labels = new LabelRunReader(run);
        while (labels.MoveNext())
        {
            if (labels.Name.SequenceEqual(name))
            {
                value = labels.Value;
                return true;
            }
        }

        value = default;
        return false;
    }

    /// <summary>Bytes that one label takes in a run.</summary>
    public static int SizeOf(int nameLength, int valueLength)
    {
        int message = MessageSize(nameLength, valueLength);
        return 1 + Varint.SizeOf((uint)message) + message;
    }

    /// <summary>Writes one label.</summary>
    /// <returns>Bytes written, equal to <see cref="SizeOf"/>.</returns>
    public static int Write(Span<byte> destination, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        int at = 0;
        destination[at++] = LabelTag;
        at += Varint.Write(destination[at..], (uint)MessageSize(name.Length, value.Length));
        destination[at++] = NameTag;
        at += Varint.Write(destination[at..], (uint)name.Length);
        name.CopyTo(destination[at..]);
        at += name.Length;
        destination[at++] = ValueTag;
        at += Varint.Write(destination[at..], (uint)value.Length);
        value.CopyTo(destination[at..]);
        return at + value.Length;
    }

    /// <summary>Builds the canonical run of string labels: sorted, without empty values. For tests and tools.</summary>
    public static byte[] Encode(params ReadOnlySpan<(string Name, string Value)> labels)
    {
        var sorted = new List<(byte[] Name, byte[] Value)>();
        foreach ((string name, string value) in labels)
        {
            if (value.Length > 0) sorted.Add((System.Text.Encoding.UTF8.GetBytes(name), System.Text.Encoding.UTF8.GetBytes(value)));
        }

        sorted.Sort(static (a, b) => a.Name.AsSpan().SequenceCompareTo(b.Name));
        byte[] run = new byte[sorted.Sum(static label => SizeOf(label.Name.Length, label.Value.Length))];
        int at = 0;
        foreach ((byte[] name, byte[] value) in sorted) at += Write(run.AsSpan(at), name, value);
        return run;
    }

    /// <summary>
    /// The run in Go's label syntax, <c>{__name__="up", job="a"}</c>, cut after about <paramref name="maxChars"/> characters.
    /// </summary>
    /// <remarks>
    /// Safe for messages and logs: what is not printable or not UTF-8 is escaped, and work is bounded by the cut, not by the run.
    /// </remarks>
    public static string Print(ReadOnlySpan<byte> run, int maxChars = 512)
    {
        var text = new StringBuilder("{");
        var labels = new LabelRunReader(run);
        while (labels.MoveNext())
        {
            if (text.Length > 1) text.Append(", ");
            if (!TryPrintName(text, labels.Name, maxChars)) return text.Append("...}").ToString();
            text.Append("=\"");
            if (!LabelText.AppendEscaped(text, labels.Value, maxChars)) return text.Append("...}").ToString();
            text.Append('"');
        }

        return text.Append('}').ToString();
    }

    private static bool TryPrintName(StringBuilder text, ReadOnlySpan<byte> name, int maxChars)
    {
        bool quoted = !IsLegacyName(name);
        if (quoted) text.Append('"');
        if (!LabelText.AppendEscaped(text, name, maxChars)) return false;
        if (quoted) text.Append('"');
        return true;
    }

    private static int MessageSize(int nameLength, int valueLength) =>
        2 + Varint.SizeOf((uint)nameLength) + nameLength + Varint.SizeOf((uint)valueLength) + valueLength;

    private static bool IsLegacyName(ReadOnlySpan<byte> name)
    {
        if (name.IsEmpty || char.IsAsciiDigit((char)name[0])) return false;
        foreach (byte b in name)
        {
            if (!char.IsAsciiLetterOrDigit((char)b) && b != '_') return false;
        }

        return true;
    }
}
