using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>
/// The log has stopped for good: a write or a sync failed, and what the kernel kept of it is unknowable. Only a restart helps.
/// </summary>
/// <remarks>The message is what a sender is told with 503.</remarks>
public sealed class LogFailedException : IOException
{
    private readonly string _reason;

    private LogFailedException(string operation, string path, string reason, int errno, Exception cause)
        : base($"storage is read-only: {operation} of {path} failed: {reason}; restart after checking the disk", cause)
    {
        _reason = reason;
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

    /// <summary>Words a failed sync of a file or a directory.</summary>
    internal static LogFailedException OfSync(DiskException cause) => Of("fsync", cause);

    /// <summary>Words any failure; one of a sync keeps its words.</summary>
    /// <param name="cause">What was thrown.</param>
    /// <param name="path">The file worked on, if the cause does not know it.</param>
    internal static LogFailedException Of(Exception cause, string path) => cause switch
    {
        LogFailedException failed => failed.Again(),
        DiskException disk => Of(disk.Operation is "pwrite" or "pwritev" ? "write" : disk.Operation, disk),
        _ => new LogFailedException("write", ShortPath(path), cause.GetType().Name, 0, cause),
    };

    /// <summary>The same failure for one more waiter: an exception that is thrown on two threads belongs to neither.</summary>
    internal LogFailedException Again() => new(Operation, Path, _reason, Errno, InnerException!);

    private static LogFailedException Of(string operation, DiskException disk) =>
        new(operation, ShortPath(disk.Path), NameOf(disk), disk.Errno, disk);

    private static string ShortPath(string path)
    {
        int name = path.LastIndexOf('/');
        int directory = name <= 0 ? -1 : path.LastIndexOf('/', name - 1);
        return path[(directory + 1)..];
    }

    private static string NameOf(DiskException disk) => disk.Errno switch
    {
        0 => disk.Message,
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
        _ => string.Create(CultureInfo.InvariantCulture, $"errno {disk.Errno}"),
    };
}
