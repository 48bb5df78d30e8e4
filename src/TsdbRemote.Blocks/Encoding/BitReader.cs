using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>Reads a bit stream, most significant bit of each byte first.</summary>
/// <remarks>
/// Any bytes and any calls are safe: beyond the end the stream goes on with zeros and <see cref="IsOverrun"/> says so. So a decoder checks
/// once for each item that it decoded instead of once for each field. The whole state is one position; a read is one unaligned load.
/// </remarks>
public ref struct BitReader
{
    /// <summary>Bits that one <see cref="Peek"/> is sure to show.</summary>
    public const int PeekBits = 57;

    private readonly ReadOnlySpan<byte> _source;
    private long _position;

    /// <summary>Starts at the first bit.</summary>
    public BitReader(ReadOnlySpan<byte> source) => _source = source;

    /// <summary>Goes on where another reader of the same bytes stood.</summary>
    /// <param name="source">The bytes.</param>
    /// <param name="position">Its <see cref="Position"/>.</param>
    internal BitReader(ReadOnlySpan<byte> source, long position)
    {
        _source = source;
        _position = position;
    }

    /// <summary>True once more bits were read than there are.</summary>
    public readonly bool IsOverrun => _position > (long)_source.Length * 8;

    /// <summary>Bits that are left; below 0 once more were read.</summary>
    public readonly long Remaining => (long)_source.Length * 8 - _position;

    /// <summary>Bits that were read.</summary>
    internal readonly long Position => _position;

    /// <summary>Last position from which <see cref="WordAt"/> may be asked; below 0 if there is none.</summary>
    internal readonly long LastWordPosition => _source.Length < sizeof(ulong) ? -1 : ((long)_source.Length - sizeof(ulong)) * 8 + 7;

    /// <summary>The next bits, first one on top; only the upper <see cref="PeekBits"/> are meant to be looked at.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly ulong Peek()
    {
        long at = _position >> 3;
        return at > _source.Length - sizeof(ulong) ? PeekTail(at) : WordAt(_position);
    }

    /// <summary>As <see cref="Peek"/>, anywhere up to <see cref="LastWordPosition"/>, which the caller has compared: nothing is checked here.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal readonly ulong WordAt(long position)
    {
        ulong word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref MemoryMarshal.GetReference(_source), (nint)(position >> 3)));
        if (BitConverter.IsLittleEndian) word = BinaryPrimitives.ReverseEndianness(word);
        return word << (int)(position & 7);
    }

    /// <summary>Steps over bits.</summary>
    /// <param name="bits">0 or more.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Skip(int bits) => _position += bits;

    /// <summary>Reads 1 to 64 bits as an unsigned number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Read(int bits)
    {
        if (bits > PeekBits) return (Read(bits - 32) << 32) | Read(32);
        ulong value = Peek() >> (64 - bits);
        _position += bits;
        return value;
    }

    /// <summary>Reads an unsigned LEB128 value whose bytes need not be aligned.</summary>
    /// <returns>False if the bits end early or the value exceeds 64 bits.</returns>
    public bool TryReadVarint(out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 70; shift += 7)
        {
            ulong b = Read(8);
            if (IsOverrun || (shift == 63 && b > 1)) return false;
            value |= (b & 0x7F) << shift;
            if (b < 0x80) return true;
        }

        return false;
    }

    private readonly ulong PeekTail(long at)
    {
        ulong word = 0;
        for (int i = 0; i < sizeof(ulong) && at + i < _source.Length; i++) word |= (ulong)_source[(int)at + i] << (56 - 8 * i);
        return word << (int)(_position & 7);
    }
}
