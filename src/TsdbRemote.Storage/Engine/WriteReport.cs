namespace TsdbRemote.Storage.Engine;

/// <summary>How a write request ended.</summary>
public enum WriteStatus
{
    /// <summary>Everything is stored, durable as configured.</summary>
    Written,

    /// <summary>Something was refused for good; what was valid is stored. The message names what and why.</summary>
    Rejected,

    /// <summary>The decompressed body is not the protobuf message; nothing is stored.</summary>
    Malformed,

    /// <summary>The body is not a snappy block, or lies about its length; nothing is stored.</summary>
    BadCompression,

    /// <summary>The request as a whole exceeds a limit; nothing is stored.</summary>
    TooLarge,

    /// <summary>Not now: promises nothing, and a retry is safe.</summary>
    Unavailable,
}

/// <summary>What became of a write request.</summary>
/// <param name="Status">How it ended.</param>
/// <param name="Samples">Float samples accepted, exact repetitions included.</param>
/// <param name="Histograms">Histogram samples accepted.</param>
/// <param name="Exemplars">Exemplars accepted.</param>
/// <param name="Message">For people: what was refused and why; null if everything was written.</param>
/// <param name="RetryAfterSeconds">For <see cref="WriteStatus.Unavailable"/>: when to come again.</param>
public sealed record WriteReport(WriteStatus Status, long Samples, long Histograms, long Exemplars, string? Message, int RetryAfterSeconds)
{
    /// <summary>A request of which nothing was stored.</summary>
    public static WriteReport Nothing(WriteStatus status, string message, int retryAfterSeconds = 0) =>
        new(status, 0, 0, 0, message, retryAfterSeconds);
}

/// <summary>What the engine is doing.</summary>
public enum EnginePhase
{
    /// <summary>Takes writes; old log segments are being replayed, and reads wait for them.</summary>
    Replaying,

    /// <summary>Takes writes and reads.</summary>
    Ready,

    /// <summary>A disk operation failed in a way that nothing can be promised after: reads only, until a restart.</summary>
    Failed,

    /// <summary>Takes nothing more; what is in memory goes to disk.</summary>
    Stopping,
}

/// <summary>The engine cannot serve this now; the message says why.</summary>
public sealed class EngineUnavailableException(string message) : Exception(message)
{
    /// <summary>What a call is told that races with the end.</summary>
    public const string StoppingMessage = "the server is stopping";

    /// <summary>The engine is about to be gone.</summary>
    public static EngineUnavailableException Stopping() => new(StoppingMessage);
}

/// <summary>The data directory cannot be opened as it stands; the message says what is wrong and what can be done.</summary>
public sealed class DataDirectoryException : Exception
{
    /// <summary>Says what is wrong.</summary>
    public DataDirectoryException(string message) : base(message)
    {
    }

    /// <summary>Says what is wrong, and what it came from.</summary>
    public DataDirectoryException(string message, Exception cause) : base(message, cause)
    {
    }
}

/// <summary>How far the replay of old log segments is, as <c>/api/v1/status/walreplay</c> answers it.</summary>
/// <param name="Min">First segment.</param>
/// <param name="Max">Last segment.</param>
/// <param name="Current">Segments replayed, counted from the first.</param>
/// <param name="BytesDone">Log bytes replayed.</param>
/// <param name="BytesTotal">Log bytes there are.</param>
public readonly record struct ReplayProgress(long Min, long Max, long Current, long BytesDone, long BytesTotal);
