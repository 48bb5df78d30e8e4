using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>How one value stands against the last one, in XOR chunks and in every number of a float histogram alike.</summary>
/// <remarks>
/// <code>
/// xor with the last:  0 → same · 10 → bits in the open window · 11 + 5 leading + 6 significant (0 = 64) + bits
/// </code>
/// Source: Pelkonen et al. 2015, §4.1, in Prometheus' form (tsdb/chunkenc/xor.go).
/// </remarks>
internal static class XorCode
{
    /// <summary>Bits of the longest value.</summary>
    public const int MaxBits = XorWindow.FlagBits + XorWindow.OpenBits + 64;

    /// <summary>Writes a value into the open window if it fits, as Prometheus does it, otherwise into one of its own.</summary>
    /// <param name="start">The first byte of the stream.</param>
    /// <param name="position">In bits; moves on.</param>
    /// <param name="xor">The value against the last one.</param>
    /// <param name="window">The open window, or <see cref="XorWindow.None"/>; the one that is open then.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(ref byte start, ref int position, ulong xor, ref XorWindow window)
    {
        if (xor == 0) BitWriter.Put(ref start, ref position, 0, 1);
        else if (XorWindow.Of(xor) is var exact && exact.Leading >= window.Leading && exact.Trailing >= window.Trailing)
            PutInside(ref start, ref position, xor, window);
        else PutOpening(ref start, ref position, xor, window = exact);
    }

    /// <summary>Writes a changed value into the open window, which must hold it.</summary>
    public static void PutInside(ref byte start, ref int position, ulong xor, XorWindow window)
    {
        int bits = window.Significant;
        ulong value = xor >> window.Trailing;
        if (bits + XorWindow.FlagBits <= BitWriter.MaxBits)
        {
            BitWriter.Put(ref start, ref position, (0b10UL << bits) | value, bits + XorWindow.FlagBits);
            return;
        }

        BitWriter.Put(ref start, ref position, 0b10, XorWindow.FlagBits);
        BitWriter.PutWide(ref start, ref position, value, bits);
    }

    /// <summary>Opens a window, which must hold the changed value, and writes it.</summary>
    public static void PutOpening(ref byte start, ref int position, ulong xor, XorWindow window)
    {
        int bits = window.Significant;
        ulong head = (0b11UL << 11) | ((ulong)window.Leading << 6) | ((ulong)bits & 0x3F);
        BitWriter.Put(ref start, ref position, head, XorWindow.FlagBits + XorWindow.OpenBits);
        BitWriter.PutWide(ref start, ref position, xor >> window.Trailing, bits);
    }

    /// <summary>Reads a value.</summary>
    /// <param name="bits">The stream.</param>
    /// <param name="value">The last value; the new one then.</param>
    /// <param name="window">The open window; one of all 64 bits if none was opened, as in upstream's reader.</param>
    /// <returns>False for a window of more than 64 bits.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryRead(ref BitReader bits, ref ulong value, ref XorWindow window)
    {
        ulong next = bits.Peek();
        if ((long)next >= 0)
        {
            bits.Skip(1);
            return true;
        }

        if ((next & (1UL << 62)) == 0) bits.Skip(XorWindow.FlagBits);
        else if (!TryOpen(ref bits, next, ref window)) return false;
        value ^= bits.Read(window.Significant) << window.Trailing;
        return true;
    }

    private static bool TryOpen(ref BitReader bits, ulong next, ref XorWindow window)
    {
        bits.Skip(XorWindow.FlagBits + XorWindow.OpenBits);
        int leading = (int)(next >> 57) & 31;
        int significant = (int)(next >> 51) & 63;
        if (significant == 0) significant = 64;
        if (leading + significant > 64) return false;
        window = new XorWindow((byte)leading, (byte)(64 - leading - significant));
        return true;
    }
}
