using System.Buffers.Binary;
using System.Security.Cryptography;

namespace TsdbRemote.Blocks.Format;

/// <summary>Name of a block: 48 bits of creation time and 80 random bits, printed as 26 characters of Crockford's base 32.</summary>
/// <remarks>
/// <code>
/// 01M87K85AJ TSJCZBCX46AVGB98       alphabet 0-9 A-H J K M N P-T V-Z, most significant first; the first is at most '7'
/// ms, 48 bits│random, 80 bits
/// </code>
/// The time is when the block was made, never that of its samples: Thanos and Cortex take it for the block's age. Parsing takes exactly
/// what <see cref="ToString"/> gives, so that a directory has one name only; lower case, which some decoders let pass, is refused.
/// Ordered by value, which is also the order of the texts. Source: github.com/ulid/spec.
/// </remarks>
public readonly record struct Ulid : IComparable<Ulid>
{
    /// <summary>Characters of the text form.</summary>
    public const int TextLength = 26;

    /// <summary>Bytes of randomness in one.</summary>
    public const int RandomBytes = 10;

    /// <summary>Last instant that one can carry, ms: in the year 10889.</summary>
    public const long MaxTimestampMs = (1L << 48) - 1;

    private const string Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    private const int BitsPerDigit = 5;
    private const int RandomBits = RandomBytes * 8;

    private readonly UInt128 _value;

    private Ulid(UInt128 value) => _value = value;

    /// <summary>When it was made, ms since the epoch.</summary>
    public long TimestampMs => (long)(_value >> RandomBits);

    /// <summary>Orders by time, then by the random bits.</summary>
    public static bool operator <(Ulid left, Ulid right) => left._value < right._value;

    /// <summary>Orders by time, then by the random bits.</summary>
    public static bool operator >(Ulid left, Ulid right) => left._value > right._value;

    /// <summary>Orders by time, then by the random bits.</summary>
    public static bool operator <=(Ulid left, Ulid right) => left._value <= right._value;

    /// <summary>Orders by time, then by the random bits.</summary>
    public static bool operator >=(Ulid left, Ulid right) => left._value >= right._value;

    /// <summary>A new one, with randomness of the operating system.</summary>
    /// <param name="nowMs">Now, ms since the epoch, 0 to <see cref="MaxTimestampMs"/>.</param>
    public static Ulid Create(long nowMs)
    {
        Span<byte> random = stackalloc byte[RandomBytes];
        RandomNumberGenerator.Fill(random);
        return Create(nowMs, random);
    }

    /// <summary>A new one, with the randomness of a caller who wants it repeatable.</summary>
    /// <param name="nowMs">Now, ms since the epoch, 0 to <see cref="MaxTimestampMs"/>.</param>
    /// <param name="random">Where the other bits come from.</param>
    public static Ulid Create(long nowMs, Random random)
    {
        ArgumentNullException.ThrowIfNull(random);
        Span<byte> bytes = stackalloc byte[RandomBytes];
        random.NextBytes(bytes);
        return Create(nowMs, bytes);
    }

    /// <summary>One made of its parts.</summary>
    /// <param name="nowMs">Milliseconds since the epoch, 0 to <see cref="MaxTimestampMs"/>.</param>
    /// <param name="random">Exactly <see cref="RandomBytes"/> bytes.</param>
    public static Ulid Create(long nowMs, ReadOnlySpan<byte> random)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(nowMs);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(nowMs, MaxTimestampMs);
        ArgumentOutOfRangeException.ThrowIfNotEqual(random.Length, RandomBytes);
        UInt128 high = BinaryPrimitives.ReadUInt16BigEndian(random);
        UInt128 low = BinaryPrimitives.ReadUInt64BigEndian(random[sizeof(ushort)..]);
        return new Ulid(((UInt128)(ulong)nowMs << RandomBits) | (high << 64) | low);
    }

    /// <summary>Reads the text form.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    public static Ulid Parse(ReadOnlySpan<char> text) =>
        TryParse(text, out Ulid ulid) ? ulid : throw new FormatException("not a ULID: 26 characters of 0-9 and A-Z without I, L, O, U are expected");

    /// <summary>Reads the text form.</summary>
    /// <returns>False, with a value of zeros, if it is none.</returns>
    public static bool TryParse(ReadOnlySpan<char> text, out Ulid ulid)
    {
        ulid = default;
        if (text.Length != TextLength || text[0] > '7') return false;
        UInt128 value = 0;
        foreach (char c in text)
        {
            int digit = Alphabet.IndexOf(c, StringComparison.Ordinal);
            if (digit < 0) return false;
            value = (value << BitsPerDigit) | (uint)digit;
        }

        ulid = new Ulid(value);
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(Ulid other) => _value.CompareTo(other._value);

    /// <summary>The text form.</summary>
    public override string ToString() => string.Create(TextLength, _value, static (text, value) =>
    {
        for (int i = text.Length - 1; i >= 0; i--)
        {
            text[i] = Alphabet[(int)((uint)value & 31)];
            value >>= BitsPerDigit;
        }
    });
}
