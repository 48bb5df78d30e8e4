using System.Buffers.Binary;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>Reads a bit stream, most significant bit of each byte first, with bounds checked on every read.</summary>
public ref struct BitReader
{
    private readonly ReadOnlySpan<byte> _source;
    private int _nextByte;
    private ulong _buffer;
    private int _valid;

    /// <summary>Starts at the first bit.</summary>
    public BitReader(ReadOnlySpan<byte> source) => _source = source;

    /// <summary>Reads one bit.</summary>
    public bool TryReadBit(out bool bit)
    {
        if (_valid == 0 && !Refill())
        {
            bit = false;
            return false;
        }

        _valid--;
        bit = (long)_buffer < 0;
        _buffer <<= 1;
        return true;
    }

    /// <summary>Reads 1 to 64 bits as an unsigned number.</summary>
    public bool TryRead(int bits, out ulong value)
    {
        if (bits <= _valid)
        {
            value = _buffer >> (64 - bits);
            _buffer = bits == 64 ? 0 : _buffer << bits;
            _valid -= bits;
            return true;
        }

        int have = _valid;
        value = have == 0 ? 0 : _buffer >> (64 - have);
        int need = bits - have;
        if (!Refill() || _valid < need) return false;
        value = need == 64 ? _buffer : (value << need) | (_buffer >> (64 - need));
        _buffer = need == 64 ? 0 : _buffer << need;
        _valid -= need;
        return true;
    }

    /// <summary>Reads an unsigned LEB128 value whose bytes need not be aligned.</summary>
    public bool TryReadVarint(out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 70; shift += 7)
        {
            if (!TryRead(8, out ulong b) || (shift == 63 && b > 1)) return false;
            value |= (b & 0x7F) << shift;
            if (b < 0x80) return true;
        }

        return false;
    }

    private bool Refill()
    {
        int left = _source.Length - _nextByte;
        if (left >= 8)
        {
            _buffer = BinaryPrimitives.ReadUInt64BigEndian(_source[_nextByte..]);
            _valid = 64;
            _nextByte += 8;
            return true;
        }

        _buffer = 0;
        _valid = left * 8;
        for (int i = 0; i < left; i++) _buffer |= (ulong)_source[_nextByte + i] << (56 - 8 * i);
        _nextByte += left;
        return left > 0;
    }
}
