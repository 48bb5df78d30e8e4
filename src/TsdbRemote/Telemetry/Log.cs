namespace TsdbRemote.Telemetry;

/// <summary>Everything the host logs; ids 3000-3099 start and stop, 3100-3199 requests, 3200-3299 access. Lower ones are the engine's.</summary>
internal static partial class Log
{
    [LoggerMessage(3000, LogLevel.Information, "TsdbRemote {Version} on {Runtime}, data in {DataDir}")]
    public static partial void Starting(ILogger logger, string version, string runtime, string dataDir);

    [LoggerMessage(3001, LogLevel.Warning, "Listening on {Address}, beyond this machine, without authentication or TLS: whoever reaches it may write and read")]
    public static partial void OpenToAll(ILogger logger, string address);

    [LoggerMessage(3002, LogLevel.Warning, "Listening on {Address}, beyond this machine, without TLS: passwords and tokens can be read on the way")]
    public static partial void OpenText(ILogger logger, string address);

    [LoggerMessage(3100, LogLevel.Error, "Write failed, id {Id}")]
    public static partial void WriteFailed(ILogger logger, string id, Exception failure);

    [LoggerMessage(3101, LogLevel.Error, "Read failed, id {Id}")]
    public static partial void ReadFailed(ILogger logger, string id, Exception failure);

    [LoggerMessage(3102, LogLevel.Error, "Read met a damaged file")]
    public static partial void ReadDamaged(ILogger logger, Exception failure);

    [LoggerMessage(3103, LogLevel.Error, "{Method} {Path} failed, id {Id}")]
    public static partial void RequestFailed(ILogger logger, string method, string path, string id, Exception failure);

    [LoggerMessage(3104, LogLevel.Information, "{What} asked for by {Address}")]
    public static partial void AdminAsked(ILogger logger, string what, string address);

    [LoggerMessage(3200, LogLevel.Information, "Took over {Path}, or certificates that it names, anew")]
    public static partial void WebConfigReloaded(ILogger logger, string path);

    [LoggerMessage(3201, LogLevel.Error, "The web config has changed and does not hold; the old one goes on: {Problems}")]
    public static partial void WebConfigRefused(ILogger logger, string problems);

    [LoggerMessage(3202, LogLevel.Warning, "Not let in: {Count} requests since this was last said, the last one from {Address}: {Reason}")]
    public static partial void NotLetIn(ILogger logger, long count, string address, string reason);
}
