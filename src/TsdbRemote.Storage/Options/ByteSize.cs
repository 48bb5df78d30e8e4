using System.Buffers;
using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace TsdbRemote.Storage.Options;

/// <summary>A number of bytes, written as people write it: <c>64MB</c>, <c>1.5GB</c>, <c>512</c>.</summary>
/// <remarks>
/// As in Prometheus, <c>KB MB GB TB</c> are powers of 1024, and <c>KiB MiB GiB TiB</c> say the same; upper and lower case do not differ.
/// A fraction must come to whole bytes. Never negative.
/// </remarks>
[TypeConverter(typeof(ByteSizeConverter))]
public readonly record struct ByteSize : IComparable<ByteSize>
{
    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    private static readonly string[] Units = ["B", "KB", "MB", "GB", "TB"];

    /// <summary>Wraps a number of bytes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Negative.</exception>
    public ByteSize(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
    }

    /// <summary>The number of bytes.</summary>
    public long Bytes { get; }

    /// <summary>A number of KiB.</summary>
    public static ByteSize Kibibytes(long count) => new(checked(count << 10));

    /// <summary>A number of MiB.</summary>
    public static ByteSize Mebibytes(long count) => new(checked(count << 20));

    /// <summary>A number of GiB.</summary>
    public static ByteSize Gibibytes(long count) => new(checked(count << 30));

    /// <summary>Reads a size.</summary>
    /// <exception cref="FormatException">Not a size; the message says what is allowed.</exception>
    public static ByteSize Parse(string text) => TryParse(text, out ByteSize size)
        ? size
        : throw new FormatException($"\"{text}\" is no size; a number with B, KB, MB, GB or TB is, such as 64MB");

    /// <summary>Reads a size.</summary>
    /// <returns>False if the text is no size, is negative, or does not fit 63 bits.</returns>
    public static bool TryParse([NotNullWhen(true)] string? text, out ByteSize size)
    {
        size = default;
        if (text is null) return false;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        int digits = rest.IndexOfAnyExcept(NumberCharacters);
        ReadOnlySpan<char> number = digits < 0 ? rest : rest[..digits];
        if (!TryUnit(digits < 0 ? default : rest[digits..].TrimStart(), out int shift)) return false;
        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal count)) return false;
        if (count > long.MaxValue >> shift) return false;
        decimal bytes = count * (1L << shift);
        if (bytes != decimal.Truncate(bytes)) return false;
        size = new ByteSize((long)bytes);
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(ByteSize other) => Bytes.CompareTo(other.Bytes);

    /// <summary>The size in the largest unit that divides it, as <see cref="Parse"/> reads it.</summary>
    public override string ToString()
    {
        long count = Bytes;
        int unit = 0;
        while (count != 0 && (count & 1023) == 0 && unit < Units.Length - 1)
        {
            count >>= 10;
            unit++;
        }

        return string.Create(CultureInfo.InvariantCulture, $"{count}{Units[unit]}");
    }

    /// <summary>True if the left size is the smaller.</summary>
    public static bool operator <(ByteSize left, ByteSize right) => left.Bytes < right.Bytes;

    /// <summary>True if the left size is the larger.</summary>
    public static bool operator >(ByteSize left, ByteSize right) => left.Bytes > right.Bytes;

    /// <summary>True if the left size is not larger.</summary>
    public static bool operator <=(ByteSize left, ByteSize right) => left.Bytes <= right.Bytes;

    /// <summary>True if the left size is not smaller.</summary>
    public static bool operator >=(ByteSize left, ByteSize right) => left.Bytes >= right.Bytes;

    private static bool TryUnit(ReadOnlySpan<char> unit, out int shift)
    {
        shift = 0;
        if (unit.IsEmpty || unit.Equals("B", StringComparison.OrdinalIgnoreCase)) return true;
        ReadOnlySpan<char> suffix = unit[1..];
        if (!suffix.Equals("B", StringComparison.OrdinalIgnoreCase) && !suffix.Equals("iB", StringComparison.OrdinalIgnoreCase)) return false;
        shift = 10 * ("KMGT".IndexOf(char.ToUpperInvariant(unit[0]), StringComparison.Ordinal) + 1);
        return shift > 0;
    }
}

/// <summary>Lets configuration binders read a <see cref="ByteSize"/>; they know no other way.</summary>
public sealed class ByteSizeConverter : TypeConverter
{
    /// <inheritdoc/>
    public override bool CanConvertFrom(ITypeDescriptorContext? context, Type sourceType) =>
        sourceType == typeof(string) || base.CanConvertFrom(context, sourceType);

    /// <inheritdoc/>
    public override object? ConvertFrom(ITypeDescriptorContext? context, CultureInfo? culture, object value) =>
        value is string text ? ByteSize.Parse(text) : base.ConvertFrom(context, culture, value);
}
