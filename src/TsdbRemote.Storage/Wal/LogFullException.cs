using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>
/// The disk had no room for a record. Nothing was promised, nothing is broken: a retry is safe, and works once there is room.
/// </summary>
/// <remarks>The message is what a sender is told with 503.</remarks>
public sealed class LogFullException : IOException
{
    /// <summary>What a sender is told.</summary>
    internal const string Text = "storage is full: no room for the log; retry later";

    // Linux: the disk quota of the user is used up.
    private const int QuotaExceeded = 122;

    internal LogFullException(Exception cause)
        : base(Text, cause)
    {
    }

    /// <summary>This error means a full disk, and not a broken one.</summary>
    internal static bool IsMeantBy(DiskException error) => error.Errno is DiskException.NoSpace or QuotaExceeded;
}
