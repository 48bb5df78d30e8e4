namespace TsdbRemote.Blocks.Verification;

/// <summary>The text of a ULID, read strictly: 26 upper-case characters of Crockford's base 32, 128 bits.</summary>
internal static class UlidText
{
    private const string Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    private const int Length = 26;
    private const int TimeLength = 10;

    /// <summary>Reads a ULID.</summary>
    /// <param name="text">The text.</param>
    /// <param name="timestampMs">When it was made, ms since the epoch.</param>
    public static bool TryParse(string text, out long timestampMs)
    {
        timestampMs = 0;
        if (text.Length != Length || text[0] > '7') return false;
        for (int i = 0; i < Length; i++)
        {
            int digit = Alphabet.IndexOf(text[i], StringComparison.Ordinal);
            if (digit < 0) return false;
            if (i < TimeLength) timestampMs = (timestampMs << 5) | (uint)digit;
        }

        return true;
    }
}
