using System.Globalization;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Endpoints;

/// <summary>Numbers as Prometheus' API writes them (prometheus: util/jsonutil/marshal.go). Stateless.</summary>
internal static class ApiNumber
{
    /// <summary>A value, which stands in quotes.</summary>
    public static string Value(double value) => GoNumber.Answered(value);

    /// <summary>A time in ms as seconds, with three decimals or none.</summary>
    public static string Seconds(long timeMs)
    {
        UInt128 size = (UInt128)Int128.Abs(timeMs);
        string sign = timeMs < 0 ? "-" : "";
        (UInt128 seconds, UInt128 rest) = (size / 1000, size % 1000);
        string fraction = rest == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $".{rest:000}");
        return string.Create(CultureInfo.InvariantCulture, $"{sign}{seconds}{fraction}");
    }
}
