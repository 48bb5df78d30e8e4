using System.Numerics;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>The bits of a value's xor that an XOR chunk writes: all but some leading and some trailing ones, which are zero.</summary>
/// <param name="Leading">Bits left out on top, 0 to <see cref="MaxLeading"/>.</param>
/// <param name="Trailing">Bits left out at the bottom, 0 to 63; together with the leading ones at most 63.</param>
public readonly record struct XorWindow(byte Leading, byte Trailing)
{
    /// <summary>Most leading bits that the format can leave out: its field has 5 bits.</summary>
    public const int MaxLeading = 31;

    /// <summary>Bits of a value that opens a window beyond those of one that finds it open: 5 leading and 6 significant.</summary>
    public const int OpenBits = 11;

    /// <summary>Bits that say of a changed value whether it opens a window.</summary>
    public const int FlagBits = 2;

    /// <summary>No window yet: more leading bits than any value has, so that none fits.</summary>
    internal static XorWindow None => new(0xFF, 0);

    /// <summary>Bits that are written, 1 to 64.</summary>
    public int Significant => 64 - Leading - Trailing;

    /// <summary>The narrowest window of a xor.</summary>
    /// <param name="xor">Not 0.</param>
    public static XorWindow Of(ulong xor) =>
        new((byte)Math.Min(BitOperations.LeadingZeroCount(xor), MaxLeading), (byte)BitOperations.TrailingZeroCount(xor));

    /// <summary>True if no bit of the xor is lost.</summary>
    public bool Holds(ulong xor) => (xor << Leading >> Leading >> Trailing << Trailing) == xor;
}
