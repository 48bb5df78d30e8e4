using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Decodes a histogram or float histogram chunk: rules 19, 20 and 23 to 26. Keeps scratch memory between chunks.</summary>
/// <remarks>
/// The layout is drawn at <see cref="HistogramChunkFormat"/>. It is read here by code of its own, bit by bit, so that a fault of the reader that serves queries
/// shows against this one; limits and names are shared.
/// </remarks>
internal sealed class HistogramRules(Findings findings)
{
    private const int Count = 0;
    private const int Zero = 1;
    private const int FirstBucket = 2;

    private readonly HistogramLayout _layout = new(findings);
    private readonly HistogramText _text = new();
    private HistogramNumber[] _numbers = [];
    private XorValue _sum;
    private bool _isFloat;

    /// <summary>Checks a chunk.</summary>
    /// <param name="data">Its bytes, count included.</param>
    /// <param name="count">Samples that it says it holds, 1 or more.</param>
    /// <param name="isFloat">True for encoding 3.</param>
    /// <param name="place">Where it is.</param>
    /// <param name="values">Receives the samples; null if nobody wants them.</param>
    /// <returns>Null if it cannot be decoded.</returns>
    public ChunkFacts? Check(ReadOnlySpan<byte> data, int count, bool isFloat, in ChunkPlace place, ValueChecksumBuilder? values)
    {
        if (data.Length < HistogramChunkFormat.HeaderBytes)
        {
            findings.Error(19, place.File, place.Offset, $"the histogram chunk of {place.Series} has no flags");
            return null;
        }

        byte flags = data[HistogramChunkFormat.FlagsAt];
        if ((flags & ~HistogramChunkFormat.FlagsMask) != 0) findings.Error(26, place.File, place.Offset, $"flags of {place.Series} are {flags:x2}; the low six bits must be 0");
        BitCursor bits = new(data[HistogramChunkFormat.HeaderBytes..]);
        if (!_layout.TryRead(ref bits, isFloat ? 64 : 1, place)) return null;
        _isFloat = isFloat;
        if (_numbers.Length < FirstBucket + _layout.BucketCount) _numbers = new HistogramNumber[FirstBucket + _layout.BucketCount];
        return Samples(ref bits, count, isGauge: (flags & HistogramChunkFormat.FlagsMask) == (byte)HistogramChunkFlags.Gauge, place, values);
    }

    private ChunkFacts? Samples(ref BitCursor bits, int count, bool isGauge, in ChunkPlace place, ValueChecksumBuilder? values)
    {
        SampleFaults faults = default;
        long firstMs = 0;
        long timeMs = 0;
        long delta = 0;
        bool wasStale = false;
        for (int i = 0; i < count; i++)
        {
            long previousMs = timeMs;
            bool decoded;
            if (i == 0)
            {
                firstMs = timeMs = bits.ReadVarbitInt();
                decoded = ReadFirst(ref bits);
            }
            else
            {
                delta += bits.ReadVarbitInt();
                timeMs += delta;
                faults.Backwards |= timeMs <= previousMs;
                decoded = TryReadNext(ref bits);
            }

            if (!decoded || bits.IsOverrun)
            {
                findings.Error(19, place.File, place.Offset, $"the histogram chunk of {place.Series} ends within sample {i} of {count}");
                return null;
            }

            bool isStale = _sum.Bits == StaleMarker.Bits;
            faults.LiveAfterStale |= wasStale && !isStale;
            if (!isStale) Examine(i > 0 && !wasStale && !isGauge, ref faults);
            wasStale = isStale;
            if (values is not null) _text.Write(values, timeMs, isStale, _isFloat, _layout, _sum.Bits, Numbers);
        }

        faults.Report(findings, place);
        ChunkEnd.Check(ref bits, place, findings);
        return new ChunkFacts(IsHistogram: true, count, firstMs, timeMs);
    }

    private Span<HistogramNumber> Numbers => _numbers.AsSpan(0, FirstBucket + _layout.BucketCount);

    /// <summary>Reads sample 0 behind its time; buckets always follow, for a stale sample 0 has an empty layout.</summary>
    private bool ReadFirst(ref BitCursor bits)
    {
        Span<HistogramNumber> numbers = Numbers;
        for (int i = 0; i < FirstBucket; i++) numbers[i].ReadFirst(ref bits, _isFloat, isSigned: false);
        _sum.ReadFirst(ref bits);
        for (int i = FirstBucket; i < numbers.Length && !bits.IsOverrun; i++) numbers[i].ReadFirst(ref bits, _isFloat, isSigned: true);
        return true;
    }

    /// <summary>Reads a later sample behind its time.</summary>
    /// <returns>False if a window is impossible.</returns>
    private bool TryReadNext(ref BitCursor bits)
    {
        Span<HistogramNumber> numbers = Numbers;
        for (int i = 0; i < FirstBucket; i++)
        {
            if (!numbers[i].TryReadNext(ref bits, _isFloat)) return false;
        }

        if (_sum.ReadNext(ref bits) == XorStep.Impossible) return false;
        if (_sum.Bits == StaleMarker.Bits) return true;
        for (int i = FirstBucket; i < numbers.Length && !bits.IsOverrun; i++)
        {
            if (!numbers[i].TryReadNext(ref bits, _isFloat)) return false;
        }

        return true;
    }

    /// <summary>Rules 24 and 25 over the current sample.</summary>
    private void Examine(bool mustNotFall, ref SampleFaults faults)
    {
        Span<HistogramNumber> numbers = Numbers;
        if (mustNotFall) faults.Falls |= numbers[Count].Falls(_isFloat) || numbers[Zero].Falls(_isFloat);
        Int128 total = numbers[Zero].Bits;
        long absolute = 0;
        for (int i = FirstBucket; i < numbers.Length; i++)
        {
            ref HistogramNumber bucket = ref numbers[i];
            if (_isFloat)
            {
                faults.Falls |= mustNotFall && bucket.Falls(isFloat: true);
                continue;
            }

            if (i == FirstBucket + _layout.PositiveCount) absolute = 0; // the negative side counts from its own left end
            absolute += (long)bucket.Bits;
            faults.Negative |= absolute < 0;
            faults.Falls |= mustNotFall && absolute < bucket.Absolute;
            bucket.Absolute = absolute;
            total += absolute;
        }

        if (_isFloat) return;
        Int128 count = numbers[Count].Bits;
        bool sumIsNaN = double.IsNaN(BitConverter.UInt64BitsToDouble(_sum.Bits));
        faults.Unequal |= sumIsNaN ? total > count : total != count;
    }

    /// <summary>What was wrong in a chunk; each kind is reported once for all its samples.</summary>
    private struct SampleFaults
    {
        public bool Backwards;
        public bool LiveAfterStale;
        public bool Negative;
        public bool Unequal;
        public bool Falls;

        public readonly void Report(Findings findings, in ChunkPlace place)
        {
            if (Backwards) findings.Error(20, place.File, place.Offset, $"timestamps in the histogram chunk of {place.Series} do not ascend");
            if (Negative) findings.Error(24, place.File, place.Offset, $"a bucket of {place.Series} holds fewer than 0");
            if (Unequal) findings.Error(24, place.File, place.Offset, $"the buckets of {place.Series} do not add up to its count");
            if (Falls) findings.Error(25, place.File, place.Offset, $"a count of {place.Series} falls within a chunk that is no gauge");
            if (LiveAfterStale) findings.Error(26, place.File, place.Offset, $"a sample of {place.Series} follows a stale one in its chunk");
        }
    }
}
