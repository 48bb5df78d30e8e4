namespace TsdbRemote.Telemetry;

/// <summary>Everything the host logs; ids 2000-2099 start and stop, 2100-2199 requests. The engine's are 1000-1999.</summary>
internal static partial class Log
{
    [LoggerMessage(2000, LogLevel.Information, "TsdbRemote {Version} on {Runtime}, data in {DataDir}")]
    public static partial void Starting(ILogger logger, string version, string runtime, string dataDir);

    [LoggerMessage(2001, LogLevel.Warning, "Listening on {Address}, beyond this machine, without authentication or TLS: whoever reaches it may write and read")]
    public static partial void OpenToAll(ILogger logger, string address);

    [LoggerMessage(2100, LogLevel.Error, "Write failed, id {Id}")]
    public static partial void WriteFailed(ILogger logger, string id, Exception failure);

    [LoggerMessage(2101, LogLevel.Error, "Read failed, id {Id}")]
    public static partial void ReadFailed(ILogger logger, string id, Exception failure);

    [LoggerMessage(2102, LogLevel.Error, "Read met a damaged file")]
    public static partial void ReadDamaged(ILogger logger, Exception failure);

    [LoggerMessage(2103, LogLevel.Error, "{Method} {Path} failed, id {Id}")]
    public static partial void RequestFailed(ILogger logger, string method, string path, string id, Exception failure);

    [LoggerMessage(2104, LogLevel.Information, "Flush asked for by {Address}")]
    public static partial void FlushAsked(ILogger logger, string address);
}
