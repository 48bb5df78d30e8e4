using System.Buffers.Binary;
using System.IO.Hashing;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Exemplars;

/// <summary>A value that was seen while a series was counted, with labels of its own, such as the trace it came from. Immutable.</summary>
public sealed class Exemplar
{
    /// <summary>Most characters of all names and values of an exemplar's labels together, as OpenMetrics has it.</summary>
    public const int MaxLabelCharacters = 128;

    /// <summary>An exemplar.</summary>
    /// <param name="labels">Its labels as a canonical run; may be empty.</param>
    /// <param name="at">Its time, ms, and value.</param>
    public Exemplar(ReadOnlySpan<byte> labels, Sample at)
    {
        LabelRun = labels.IsEmpty ? [] : labels.ToArray();
        At = at;
        LabelHash = Hash(labels);
    }

    /// <summary>Its time, ms, and value.</summary>
    public Sample At { get; }

    /// <summary>Its labels as a canonical run; may be empty.</summary>
    public ReadOnlySpan<byte> Labels => LabelRun;

    /// <summary>Bytes of its labels.</summary>
    internal int LabelBytes => LabelRun.Length;

    /// <summary>The hash by which Prometheus orders exemplars of one time and value.</summary>
    internal ulong LabelHash { get; }

    private byte[] LabelRun { get; }

    /// <summary>Whether the labels of a valid run are more than an exemplar may have.</summary>
    public static bool IsTooLong(ReadOnlySpan<byte> labels)
    {
        int characters = 0;
        var reader = new LabelRunReader(labels);
        while (reader.MoveNext()) characters += Characters(reader.Name) + Characters(reader.Value);
        return characters > MaxLabelCharacters;
    }

    /// <summary>Prometheus' rule: older than the newest of its series, or at the same time of a smaller value, or of the same and a smaller hash of labels.</summary>
    internal bool ComesBefore(Exemplar newest)
    {
        if (At.TimeMs != newest.At.TimeMs) return At.TimeMs < newest.At.TimeMs;
        double value = At.Value;
        double newestValue = newest.At.Value;
        return value < newestValue || (value == newestValue && LabelHash < newest.LabelHash);
    }

    /// <summary>The same rule as a total order, in which nothing but exact repetitions is equal.</summary>
    internal int CompareTo(Exemplar other)
    {
        int order = At.TimeMs.CompareTo(other.At.TimeMs);
        if (order == 0) order = At.Value.CompareTo(other.At.Value);
        if (order == 0) order = LabelHash.CompareTo(other.LabelHash);
        if (order == 0) order = At.ValueBits.CompareTo(other.At.ValueBits);
        return order != 0 ? order : Labels.SequenceCompareTo(other.Labels);
    }

    // Continuation bytes are 10xxxxxx.
    private static int Characters(ReadOnlySpan<byte> utf8)
    {
        int count = 0;
        foreach (byte b in utf8)
        {
            if ((b & 0xC0) != 0x80) count++;
        }

        return count;
    }

    /// <summary>xxHash64 of each text behind its length (prometheus: model/labels/labels_stringlabels.go); a length from 255 on takes three bytes behind a 255.</summary>
    private static ulong Hash(ReadOnlySpan<byte> labels)
    {
        if (labels.IsEmpty) return XxHash64.HashToUInt64([]);
        var hash = new XxHash64();
        var reader = new LabelRunReader(labels);
        while (reader.MoveNext())
        {
            Append(hash, reader.Name);
            Append(hash, reader.Value);
        }

        return hash.GetCurrentHashAsUInt64();
    }

    private static void Append(XxHash64 hash, ReadOnlySpan<byte> text)
    {
        Span<byte> length = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(length, ((uint)text.Length << 8) | byte.MaxValue);
        hash.Append(text.Length < byte.MaxValue ? [(byte)text.Length] : length);
        hash.Append(text);
    }
}
