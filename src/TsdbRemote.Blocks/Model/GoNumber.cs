using System.Globalization;

namespace TsdbRemote.Blocks.Model;

/// <summary>Numbers as Go prints them, for texts that must equal Prometheus' own.</summary>
public static class GoNumber
{
    // Where %v changes from plain digits to an exponent.
    private const int MinPlainExponent = -4;
    private const int MaxPlainExponent = 20;

    // Where encoding/json does.
    private const int MinJsonExponent = -6;

    /// <summary>As %f: six digits behind the point.</summary>
    public static string Fixed(double value) => double.IsFinite(value) ? value.ToString("F6", CultureInfo.InvariantCulture) : NotFinite(value);

    /// <summary>As %v: the shortest digits that give the number back.</summary>
    public static string Shortest(double value) => Print(value, MinPlainExponent, MaxPlainExponent);

    /// <summary>The shortest digits that give the number back, never with an exponent: how Prometheus prints bounds and quantiles.</summary>
    public static string Plain(double value) => Print(value, int.MinValue, int.MaxValue);

    /// <summary>As Prometheus' JSON answers have values: as %v, but down to a millionth without an exponent.</summary>
    public static string Answered(double value) => Print(value, MinJsonExponent, MaxPlainExponent);

    /// <summary>As encoding/json: the same, and exponents without a leading zero if they are negative.</summary>
    /// <param name="value">A finite number; others print as <see cref="Shortest"/> does.</param>
    public static string Json(double value) => Answered(value).Replace("e-0", "e-", StringComparison.Ordinal);

    private static string Print(double value, int minPlainExponent, int maxPlainExponent)
    {
        if (!double.IsFinite(value)) return NotFinite(value);
        string sign = double.IsNegative(value) ? "-" : "";
        string text = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture);
        int e = text.IndexOf('E', StringComparison.Ordinal);
        int exponent = e < 0 ? 0 : int.Parse(text.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        string mantissa = e < 0 ? text : text[..e];
        int point = mantissa.IndexOf('.', StringComparison.Ordinal);
        string digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        string significant = digits.TrimStart('0');
        exponent += (point < 0 ? mantissa.Length : point) - (digits.Length - significant.Length) - 1;
        significant = significant.TrimEnd('0');
        return sign + (significant.Length == 0 ? "0" : Place(significant, exponent, minPlainExponent, maxPlainExponent));
    }

    private static string Place(string digits, int exponent, int minPlainExponent, int maxPlainExponent)
    {
        if (exponent < minPlainExponent || exponent > maxPlainExponent)
        {
            string fraction = digits.Length > 1 ? "." + digits[1..] : "";
            return string.Create(CultureInfo.InvariantCulture, $"{digits[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
        }

        if (exponent < 0) return "0." + new string('0', -exponent - 1) + digits;
        int whole = exponent + 1;
        return digits.Length <= whole ? digits.PadRight(whole, '0') : digits[..whole] + "." + digits[whole..];
    }

    private static string NotFinite(double value) => double.IsNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}
