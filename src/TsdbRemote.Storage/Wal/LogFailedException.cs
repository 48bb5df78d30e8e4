using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>The log has stopped for good: a write or a sync failed, and what the kernel kept of it is unknowable. Only a restart helps.</summary>
/// <remarks>The message is what a sender is told with 503.</remarks>
public sealed class LogFailedException : IOException
{
    private LogFailedException(string operation, string path, string reason, int errno, Exception cause)
        : base($"storage is read-only: {operation} of {path} failed: {reason}; restart after checking the disk", cause)
    {
        Operation = operation;
        Path = path;
        Errno = errno;
    }

    /// <summary>What failed: <c>fsync</c>, <c>write</c>, or the name of another operation.</summary>
    public string Operation { get; }

    /// <summary>The file, from the log's directory on: <c>wal/00000042.log</c>.</summary>
    public string Path { get; }

    /// <summary>The Linux error number; 0 if it was not the disk.</summary>
    public int Errno { get; }

    /// <summary>Words the failure that stopped the log.</summary>
    /// <param name="cause">What was thrown.</param>
    /// <param name="path">The file worked on, if the cause does not know it.</param>
    internal static LogFailedException Of(Exception cause, string path) => cause switch
    {
        LogFailedException failed => new LogFailedException(failed.Operation, failed.Path, NameOf(failed.Errno, failed), failed.Errno, failed.InnerException!),
        DiskException disk => new LogFailedException(OperationOf(disk), ShortPath(disk.Path), NameOf(disk.Errno, disk), disk.Errno, disk),
        _ => new LogFailedException("write", ShortPath(path), cause.GetType().Name, 0, cause),
    };

    private static string OperationOf(DiskException disk) => disk.Operation switch
    {
        "fdatasync" or "fsync" => "fsync",
        "pwrite" or "pwritev" => "write",
        _ => disk.Operation,
    };

    private static string ShortPath(string path)
    {
        int name = path.LastIndexOf('/');
        int directory = name <= 0 ? -1 : path.LastIndexOf('/', name - 1);
        return path[(directory + 1)..];
    }

    private static string NameOf(int errno, Exception cause) => errno switch
    {
        0 => cause.Message,
        5 => "EIO",
        9 => "EBADF",
        12 => "ENOMEM",
        13 => "EACCES",
        22 => "EINVAL",
        24 => "EMFILE",
        27 => "EFBIG",
        28 => "ENOSPC",
        30 => "EROFS",
        122 => "EDQUOT",
        _ => string.Create(CultureInfo.InvariantCulture, $"errno {errno}"),
    };
}
