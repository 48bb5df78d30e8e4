using System.Globalization;

namespace TsdbRemote.Storage.Wire;

/// <summary>Which budget an answer exceeded.</summary>
public enum ReadLimitKind
{
    /// <summary>Samples of one query: the query asks for too much (400).</summary>
    Samples,

    /// <summary>Series of one read (422).</summary>
    Series,

    /// <summary>Memory of one read, or the longest message that protobuf allows (422).</summary>
    Memory,
}

/// <summary>An answer that may not grow further. Nothing of it was sent.</summary>
public sealed class ReadLimitException : Exception
{
    private ReadLimitException(ReadLimitKind kind, string message)
        : base(message) => Kind = kind;

    /// <summary>Which budget it was.</summary>
    public ReadLimitKind Kind { get; }

    internal static ReadLimitException OfSamples(long limit) =>
        new(ReadLimitKind.Samples, string.Create(CultureInfo.InvariantCulture, $"exceeded sample limit ({limit}), set by storage.read.max_samples"));

    /// <summary>More series than one read may return.</summary>
    /// <param name="limit">How many it may.</param>
    public static ReadLimitException OfSeries(long limit) => new(
        ReadLimitKind.Series, string.Create(CultureInfo.InvariantCulture, $"exceeded series limit ({limit}), set by storage.read.max_series"));

    internal static ReadLimitException OfMemory(long bytes) => new(ReadLimitKind.Memory, string.Create(
        CultureInfo.InvariantCulture,
        $"answer exceeds the memory of one read (storage.read.memory = {bytes} bytes); ask for less, or for streamed chunks"));

    internal static ReadLimitException OfMessage(long bytes) => new(ReadLimitKind.Memory, string.Create(
        CultureInfo.InvariantCulture,
        $"answer exceeds the longest message ({bytes} bytes); ask for less, or for streamed chunks"));
}
