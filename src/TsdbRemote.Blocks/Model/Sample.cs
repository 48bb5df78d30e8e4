namespace TsdbRemote.Blocks.Model;

/// <summary>One float sample. Equal by time and value bits, so that NaN payloads and -0.0 count.</summary>
/// <param name="TimeMs">Milliseconds since the epoch, any sign.</param>
/// <param name="ValueBits">The IEEE 754 bits of the value; never passed through arithmetic.</param>
public readonly record struct Sample(long TimeMs, ulong ValueBits)
{
    /// <summary>The value.</summary>
    public double Value => BitConverter.UInt64BitsToDouble(ValueBits);

    /// <summary>A sample of a number.</summary>
    public static Sample Of(long timeMs, double value) => new(timeMs, BitConverter.DoubleToUInt64Bits(value));
}

/// <summary>The NaN by which Prometheus marks the end of a series (prometheus: model/value/value.go).</summary>
public static class StaleMarker
{
    /// <summary>Bits of the stale marker: a signalling NaN that any arithmetic would turn quiet.</summary>
    public const ulong Bits = 0x7ff0000000000002;

    /// <summary>Bits of an ordinary scraped NaN.</summary>
    public const ulong NormalNaN = 0x7ff8000000000001;
}
