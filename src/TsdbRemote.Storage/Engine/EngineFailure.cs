using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Remembers the first disk failure after which nothing more can be promised. Once set it stays until the process restarts.</summary>
/// <remarks>
/// After a failed sync the kernel has marked the pages clean: a second sync succeeds and proves nothing (Rebello et al., USENIX ATC 2020). So nothing is
/// retried: writes answer 503, reads go on. Thread-safe.
/// </remarks>
public sealed class EngineFailure
{
    private Exception? _cause;
    private volatile bool _forbidsCommits;

    /// <summary>The first failure; null while all is well.</summary>
    public Exception? Cause => Volatile.Read(ref _cause);

    /// <summary>True once failed.</summary>
    public bool IsSet => Cause is not null;

    /// <summary>
    /// True once nothing more may be named or deleted. After a failed log alone it may: flushes bring what the log may not hold into new files.
    /// </summary>
    public bool ForbidsCommits => _forbidsCommits;

    /// <summary>What a refused writer is told.</summary>
    public string Message => Cause is LogFailedException log ? log.Message : $"storage is read-only: {Cause?.Message}; restart after checking the disk";

    /// <summary>Notes a failure.</summary>
    /// <returns>True for the first one, which the caller then logs.</returns>
    public bool Set(Exception cause)
    {
        if (cause is not LogFailedException) _forbidsCommits = true;
        return Interlocked.CompareExchange(ref _cause, cause, null) is null;
    }
}

/// <summary>A job had begun before the storage became read-only: its result is not committed, and what it would have replaced stays.</summary>
public sealed class CommitRefusedException(string message) : IOException(message);
