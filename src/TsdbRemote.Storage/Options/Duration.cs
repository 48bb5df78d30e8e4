using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace TsdbRemote.Storage.Options;

/// <summary>A length of time in whole milliseconds, written as Prometheus writes it: <c>2h</c>, <c>1h30m</c>, <c>15d</c>, <c>250ms</c>, <c>0</c>.</summary>
/// <remarks>
/// Units <c>y w d h m s ms</c>, each at most once and in this order; a year is 365 days, a day 24 hours (prometheus/common: model/time.go).
/// Never negative. At most what a <see cref="TimeSpan"/> holds.
/// </remarks>
[TypeConverter(typeof(DurationConverter))]
public readonly record struct Duration : IComparable<Duration>
{
    private const long MaxMilliseconds = long.MaxValue / TimeSpan.TicksPerMillisecond;

    // Longest first; "ms" and "m" are told apart by reading all letters of a unit at once.
    private static readonly (string Name, long Milliseconds)[] Units =
    [
        ("y", 365L * 24 * 3_600_000), ("w", 7L * 24 * 3_600_000), ("d", 24L * 3_600_000),
        ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
    ];

    /// <summary>Wraps a number of milliseconds.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Negative, or longer than a <see cref="TimeSpan"/> holds.</exception>
    public Duration(long milliseconds)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(milliseconds);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(milliseconds, MaxMilliseconds);
        Milliseconds = milliseconds;
    }

    /// <summary>The length in milliseconds.</summary>
    public long Milliseconds { get; }

    /// <summary>A number of seconds.</summary>
    public static Duration Seconds(long count) => new(checked(count * 1_000));

    /// <summary>A number of minutes.</summary>
    public static Duration Minutes(long count) => new(checked(count * 60_000));

    /// <summary>A number of hours.</summary>
    public static Duration Hours(long count) => new(checked(count * 3_600_000));

    /// <summary>The same length for the framework's timers.</summary>
    public TimeSpan ToTimeSpan() => TimeSpan.FromMilliseconds(Milliseconds);

    /// <summary>Reads a duration.</summary>
    /// <exception cref="FormatException">Not a duration; the message says what is allowed.</exception>
    public static Duration Parse(string text) => TryParse(text, out Duration duration)
        ? duration
        : throw new FormatException($"\"{text}\" is no duration; numbers with y, w, d, h, m, s or ms are, such as 1h30m");

    /// <summary>Reads a duration.</summary>
    /// <returns>False if the text is no duration or does not fit.</returns>
    public static bool TryParse([NotNullWhen(true)] string? text, out Duration duration)
    {
        duration = default;
        if (text is null) return false;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        if (rest.Equals("0", StringComparison.Ordinal)) return true;
        if (rest.IsEmpty) return false;
        long total = 0;
        int nextUnit = 0;
        while (!rest.IsEmpty)
        {
            if (!TryTake(ref rest, out long count, out int unit) || unit < nextUnit) return false;
            nextUnit = unit + 1;
            if (count > (MaxMilliseconds - total) / Units[unit].Milliseconds) return false;
            total += count * Units[unit].Milliseconds;
        }

        duration = new Duration(total);
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(Duration other) => Milliseconds.CompareTo(other.Milliseconds);

    /// <summary>The duration as <see cref="Parse"/> reads it. Years and weeks only where nothing smaller remains, as Prometheus prints them.</summary>
    public override string ToString()
    {
        if (Milliseconds == 0) return "0s";
        var text = new StringBuilder();
        long rest = Milliseconds;
        foreach ((string name, long size) in Units)
        {
            if (name is "y" or "w" && rest % size != 0) continue;
            if (rest >= size) text.Append(rest / size).Append(name);
            rest %= size;
        }

        return text.ToString();
    }

    /// <summary>True if the left duration is the shorter.</summary>
    public static bool operator <(Duration left, Duration right) => left.Milliseconds < right.Milliseconds;

    /// <summary>True if the left duration is the longer.</summary>
    public static bool operator >(Duration left, Duration right) => left.Milliseconds > right.Milliseconds;

    /// <summary>True if the left duration is not longer.</summary>
    public static bool operator <=(Duration left, Duration right) => left.Milliseconds <= right.Milliseconds;

    /// <summary>True if the left duration is not shorter.</summary>
    public static bool operator >=(Duration left, Duration right) => left.Milliseconds >= right.Milliseconds;

    private static bool TryTake(ref ReadOnlySpan<char> rest, out long count, out int unit)
    {
        unit = -1;
        int digits = rest.IndexOfAnyExceptInRange('0', '9');
        if (!long.TryParse(rest[..Math.Max(digits, 0)], NumberStyles.None, CultureInfo.InvariantCulture, out count)) return false;
        rest = rest[digits..];
        int letters = rest.IndexOfAnyInRange('0', '9');
        ReadOnlySpan<char> name = letters < 0 ? rest : rest[..letters];
        for (int i = 0; i < Units.Length; i++)
        {
            if (name.Equals(Units[i].Name, StringComparison.Ordinal)) unit = i;
        }

        rest = rest[name.Length..];
        return unit >= 0;
    }
}

/// <summary>Lets configuration binders read a <see cref="Duration"/>; they know no other way.</summary>
public sealed class DurationConverter : TypeConverter
{
    /// <inheritdoc/>
    public override bool CanConvertFrom(ITypeDescriptorContext? context, Type sourceType) =>
        sourceType == typeof(string) || base.CanConvertFrom(context, sourceType);

    /// <inheritdoc/>
    public override object? ConvertFrom(ITypeDescriptorContext? context, CultureInfo? culture, object value) =>
        value is string text ? Duration.Parse(text) : base.ConvertFrom(context, culture, value);
}
