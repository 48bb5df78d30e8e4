namespace TsdbRemote.Blocks.Verification;

/// <summary>Walks the bits of a chunk, most significant bit of each byte first.</summary>
/// <remarks>
/// Written apart from <c>Encoding/BitReader.cs</c>, byte by byte and obvious, so that a fault of the one shows against the other.
/// Any calls are safe: beyond the end it reads zeros and <see cref="IsOverrun"/> says so.
/// </remarks>
internal ref struct BitCursor
{
    private static readonly byte[] VarbitPayload = [0, 3, 6, 9, 12, 18, 25, 56, 64];

    private readonly ReadOnlySpan<byte> _source;
    private long _position;

    /// <summary>Starts at the first bit.</summary>
    public BitCursor(ReadOnlySpan<byte> source) => _source = source;

    /// <summary>Bits that are left.</summary>
    public readonly long Remaining => _source.Length * 8L - _position;

    /// <summary>True once more bits were asked for than there are.</summary>
    public bool IsOverrun { readonly get; private set; }

    /// <summary>Reads 0 to 64 bits as an unsigned number.</summary>
    public ulong Read(int bits)
    {
        if (bits > Remaining)
        {
            _position = _source.Length * 8L;
            IsOverrun = true;
            return 0;
        }

        ulong value = 0;
        while (bits > 0)
        {
            int free = 8 - (int)(_position & 7);
            int take = Math.Min(free, bits);
            int piece = (_source[(int)(_position >> 3)] >> (free - take)) & ((1 << take) - 1);
            value = (value << take) | (uint)piece;
            _position += take;
            bits -= take;
        }

        return value;
    }

    /// <summary>Reads ones up to a zero, which is passed, or up to a number of them.</summary>
    public int ReadOnes(int atMost)
    {
        int ones = 0;
        while (ones < atMost && Read(1) == 1) ones++;
        return ones;
    }

    /// <summary>Reads a number of n bits of which those above 2^(n-1) stand for negative ones.</summary>
    public long ReadSigned(int bits)
    {
        ulong raw = Read(bits);
        if (bits == 64 || bits == 0) return (long)raw;
        return raw > 1UL << (bits - 1) ? (long)raw - (1L << bits) : (long)raw;
    }

    /// <summary>Reads a uvarint whose bytes need not be aligned; one that exceeds 64 bits overruns.</summary>
    public ulong ReadUvarint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 70; shift += 7)
        {
            ulong octet = Read(8);
            if (shift == 63 && octet > 1) break;
            value |= (octet & 0x7F) << shift;
            if (octet < 0x80) return value;
        }

        IsOverrun = true;
        return 0;
    }

    /// <summary>Reads a varbit_uint of a histogram chunk.</summary>
    public ulong ReadVarbitUint() => Read(VarbitPayload[ReadOnes(8)]);

    /// <summary>Reads a varbit_int of a histogram chunk.</summary>
    public long ReadVarbitInt() => ReadSigned(VarbitPayload[ReadOnes(8)]);
}
