namespace TsdbRemote.Blocks.Verification;

/// <summary>One number of a histogram through the samples of a chunk: a count, the zero count or a bucket.</summary>
internal struct HistogramNumber
{
    private XorValue _float;
    private ulong _integer;
    private ulong _before;
    private long _delta;
    private bool _isFloat;

    /// <summary>The current value: an integer, or the bits of a double.</summary>
    public readonly ulong Bits => _isFloat ? _float.Bits : _integer;

    /// <summary>An integer bucket's own count in the last sample that was examined; the bytes hold the difference to its neighbour.</summary>
    public long Absolute { get; set; }

    /// <summary>Reads it from sample 0.</summary>
    public void ReadFirst(ref BitCursor bits, bool isFloat, bool isSigned)
    {
        this = default;
        _isFloat = isFloat;
        if (isFloat) _float.ReadFirst(ref bits);
        else _integer = isSigned ? (ulong)bits.ReadVarbitInt() : bits.ReadVarbitUint();
    }

    /// <summary>Reads it from a later sample.</summary>
    /// <returns>False if its window is impossible.</returns>
    public bool TryReadNext(ref BitCursor bits, bool isFloat)
    {
        _before = Bits;
        if (isFloat) return _float.ReadNext(ref bits) != XorStep.Impossible;
        _delta += bits.ReadVarbitInt();
        _integer += (ulong)_delta;
        return true;
    }

    /// <summary>Whether it is lower than in the sample before. Not for integer buckets.</summary>
    public readonly bool Falls(bool isFloat) =>
        isFloat ? BitConverter.UInt64BitsToDouble(Bits) < BitConverter.UInt64BitsToDouble(_before) : Bits < _before;
}
