using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>Writes a bit stream, most significant bit of each byte first, a word at a time.</summary>
/// <remarks>
/// The caller owns the bytes and the position, and sees to the room: a call may touch <see cref="SlackBytes"/> beyond the bits that it writes.
/// Nothing is checked here, so that one check a sample can serve all its fields. The bits behind the position are zero after each call.
/// </remarks>
internal static class BitWriter
{
    /// <summary>What one <see cref="Put"/> takes at most: a word less the up to 7 bits that its first byte holds already.</summary>
    public const int MaxBits = 57;

    /// <summary>Bytes behind the last one written that a call may set to zero.</summary>
    public const int SlackBytes = sizeof(ulong);

    /// <summary>
    /// Writes up to <see cref="MaxBits"/> bits: one read-modify-write of the 8 bytes at the current byte, the rest of which becomes zero.
    /// </summary>
    /// <param name="start">The first byte of the stream.</param>
    /// <param name="position">In bits; moves on.</param>
    /// <param name="value">The bits, last one lowest; none above <paramref name="bits"/>.</param>
    /// <param name="bits">1 to <see cref="MaxBits"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(ref byte start, ref int position, ulong value, int bits)
    {
        ref byte at = ref Unsafe.Add(ref start, position >> 3);
        int used = position & 7;
        ulong head = used == 0 ? 0 : (ulong)(at & (0xFF << (8 - used))) << 56;
        Unsafe.WriteUnaligned(ref at, BinaryPrimitives.ReverseEndianness(head | (value << (64 - used - bits))));
        position += bits;
    }

    /// <summary>Writes up to 64 bits.</summary>
    public static void PutWide(ref byte start, ref int position, ulong value, int bits)
    {
        if (bits > MaxBits)
        {
            Put(ref start, ref position, value >> 32, bits - 32);
            Put(ref start, ref position, value & 0xFFFFFFFF, 32);
        }
        else
        {
            Put(ref start, ref position, value, bits);
        }
    }
}
