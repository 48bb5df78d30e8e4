using Microsoft.Extensions.Logging;

namespace TsdbRemote.Storage.Wal;

/// <summary>What the log reports. Event ids 2100–2199.</summary>
internal static partial class WalLog
{
    [LoggerMessage(2100, LogLevel.Critical,
        "The log has stopped: {Operation} of {File} failed ({Errno}). {UnsyncedRecords} acknowledged records were not synced yet.")]
    public static partial void Failed(ILogger logger, string operation, string file, int errno, long unsyncedRecords, Exception cause);

    [LoggerMessage(2101, LogLevel.Error, "No room for {Bytes} bytes of log in {File}; {Records} requests were refused.")]
    public static partial void Full(ILogger logger, string file, long bytes, int records, Exception cause);

    [LoggerMessage(2102, LogLevel.Error, "A write to {File} broke off at {Offset} for lack of room; the log goes on in the next segment.")]
    public static partial void Torn(ILogger logger, string file, long offset, Exception cause);

    [LoggerMessage(2103, LogLevel.Information, "Log segment {File} sealed at {Bytes} bytes with {Records} records.")]
    public static partial void Sealed(ILogger logger, string file, long bytes, long records);
}
