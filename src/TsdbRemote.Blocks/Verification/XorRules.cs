using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Walks an XOR chunk bit by bit: rules 19, 20 and 22.</summary>
internal static class XorRules
{
    /// <summary>Checks a chunk.</summary>
    /// <param name="data">Its bytes, count included.</param>
    /// <param name="count">Samples that it says it holds, 1 or more.</param>
    /// <param name="place">Where it is.</param>
    /// <param name="findings">Where findings go.</param>
    /// <param name="values">Receives the samples; null if nobody wants them.</param>
    /// <returns>Null if it cannot be decoded.</returns>
    public static ChunkFacts? Check(
        ReadOnlySpan<byte> data, int count, in ChunkPlace place, Findings findings, ValueChecksumBuilder? values)
    {
        BitCursor bits = new(data[sizeof(ushort)..]);
        XorValue value = default;
        long firstMs = Varint.UnZigZag(bits.ReadUvarint());
        value.ReadFirst(ref bits);
        long timeMs = firstMs;
        ulong delta = 0;
        bool ascends = true;
        for (int i = 0; i < count; i++)
        {
            if (i > 0)
            {
                delta = i == 1 ? bits.ReadUvarint() : delta + (ulong)ReadDeltaOfDelta(ref bits);
                long next = (long)((ulong)timeMs + delta);
                ascends &= next > timeMs;
                timeMs = next;
                if (!TryReadValue(ref bits, ref value, i, place, findings)) return null;
            }

            if (bits.IsOverrun)
            {
                findings.Error(19, place.File, place.Offset, $"the chunk of {place.Series} ends within sample {i} of {count}");
                return null;
            }

            values?.Add(timeMs, value.Bits);
        }

        if (!ascends) findings.Error(20, place.File, place.Offset, $"timestamps in the chunk of {place.Series} do not ascend");
        ChunkEnd.Check(ref bits, place, findings);
        return new ChunkFacts(IsHistogram: false, count, firstMs, timeMs);
    }

    private static long ReadDeltaOfDelta(ref BitCursor bits) => bits.ReadOnes(4) switch
    {
        0 => 0,
        1 => bits.ReadSigned(14),
        2 => bits.ReadSigned(17),
        3 => bits.ReadSigned(20),
        _ => bits.ReadSigned(64),
    };

    private static bool TryReadValue(ref BitCursor bits, ref XorValue value, int sample, in ChunkPlace place, Findings findings)
    {
        bool hadWindow = value.HasWindow;
        XorStep step = value.ReadNext(ref bits);
        if (step == XorStep.Window && !hadWindow)
        {
            findings.Error(
                22, place.File, place.Offset, $"sample {sample} in the chunk of {place.Series} uses a window before any was opened");
        }

        if (step != XorStep.Impossible) return true;
        findings.Error(
            22, place.File, place.Offset, $"sample {sample} in the chunk of {place.Series} opens a window of more than 64 bits");
        return false;
    }
}

/// <summary>What one value code was.</summary>
internal enum XorStep
{
    /// <summary>The value stays.</summary>
    Same,

    /// <summary>Bits in the window that is open.</summary>
    Window,

    /// <summary>A window of its own.</summary>
    Opened,

    /// <summary>A window that reaches beyond the 64 bits.</summary>
    Impossible,
}

/// <summary>One stream of XOR-coded values: the value of an XOR chunk, or one number of a histogram chunk.</summary>
internal struct XorValue
{
    private int _leading;
    private int _trailing;

    /// <summary>The current value.</summary>
    public ulong Bits { readonly get; private set; }

    /// <summary>Whether a window has been opened.</summary>
    public bool HasWindow { readonly get; private set; }

    /// <summary>Reads the raw first value.</summary>
    public void ReadFirst(ref BitCursor bits)
    {
        this = default;
        Bits = bits.Read(64);
    }

    /// <summary>Reads a later value. As in upstream's reader a window that nobody opened is all 64 bits.</summary>
    public XorStep ReadNext(ref BitCursor bits)
    {
        if (bits.Read(1) == 0) return XorStep.Same;
        XorStep step = XorStep.Window;
        if (bits.Read(1) == 1)
        {
            int leading = (int)bits.Read(5);
            int significant = (int)bits.Read(6);
            if (significant == 0) significant = 64;
            if (leading + significant > 64) return XorStep.Impossible;
            _leading = leading;
            _trailing = 64 - leading - significant;
            HasWindow = true;
            step = XorStep.Opened;
        }

        Bits ^= bits.Read(64 - _leading - _trailing) << _trailing;
        return step;
    }
}
