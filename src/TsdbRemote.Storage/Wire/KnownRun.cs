using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Decodes series of a 1.0 body one behind the other as long as each is the one that is expected. Stateless.</summary>
/// <remarks>
/// <code>0A length │ labels, byte for byte those of the expected series │ samples as every sender writes them, and nothing else</code>
/// Whatever is not so is left to the reader of all spellings, from the first byte of its series on. That nothing of the message is behind the last
/// sample makes the comparison sufficient: no label can follow.
/// </remarks>
internal static class KnownRun
{
    private const int ShortLength = 0x7F;

    /// <summary>Takes series.</summary>
    /// <param name="body">The request.</param>
    /// <param name="at">Where the next field starts.</param>
    /// <param name="batch">Takes them.</param>
    /// <param name="known">Knows which to expect.</param>
    /// <returns>Behind the last one that was taken.</returns>
    public static int Take<TKnown>(ReadOnlySpan<byte> body, int at, WriteBatch batch, ref TKnown known)
        where TKnown : struct, IKnownSeries
    {
        Span<SeriesEntry> entries = batch.FreeSeries();
        Span<Sample> samples = batch.FreeSamples();
        int firstSample = batch.SampleCount;
        int taken = 0;
        int taking = 0;
        long min = long.MaxValue;
        long max = long.MinValue;
        for (; taken < entries.Length; taken++)
        {
            if (!TryReadHead(body, at, out int start, out int end)) break;
            int labels = known.MatchExpected(body[start..end]);
            if (labels == 0) break;
            int first = taking;
            int next = start + labels;
            while (next < end && taking < samples.Length && SampleWire.TryReadPlain(body[..end], ref next, out long timeMs, out ulong valueBits))
            {
                samples[taking++] = new Sample(timeMs, valueBits);
                if (timeMs < min) min = timeMs;
                if (timeMs > max) max = timeMs;
            }

            if (next != end || first == taking)
            {
                taking = first;
                break;
            }

            entries[taken] = new SeriesEntry
            {
                LabelsOffset = start,
                LabelsLength = labels,
                FirstSample = firstSample + first,
                SampleCount = taking - first,
                MessageOffset = start,
                MessageLength = end - start,
                Known = known.TakeExpected(),
                WasExpected = true,
            };
            at = end;
        }

        if (taken == 0) return at;
        batch.AdvanceSeries(taken);
        batch.AdvanceSamples(taking, min, max);
        return at;
    }

    /// <summary>Tag and length of a series shorter than 16 KiB.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryReadHead(ReadOnlySpan<byte> body, int at, out int start, out int end)
    {
        start = 0;
        end = 0;
        if (body.Length - at < 3 || body[at] != RemoteWriteV1.SeriesTag) return false;
        int length = body[at + 1];
        start = at + 2;
        if (length > ShortLength)
        {
            int upper = body[at + 2];
            if (upper > ShortLength) return false;
            length = (length & ShortLength) | (upper << 7);
            start++;
        }

        end = start + length;
        return end <= body.Length;
    }
}
