using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Engine;

/// <summary>When background work on files may be tried again after a failure: 1 s, 2 s ... 5 min. Three failures in a row are one too many.</summary>
/// <remarks>
/// A full disk, too many open files and a file system that is mounted read-only are no failures of the kind that adds up: somebody can undo them while the
/// process runs, and none says anything about what is stored. They are tried again for as long as it takes. One thread works; any may hurry it.
/// </remarks>
/// <param name="time">The clock.</param>
/// <param name="firstDelay">What a full disk waits, and half of what a first failure does; null for a second.</param>
internal sealed class Backoff(TimeProvider time, TimeSpan? firstDelay = null)
{
    private const int FailuresAllowed = 3;

    private static readonly TimeSpan FirstDelay = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMinutes(5);

    private int _failuresInARow;
    private long _notBefore;
    private string? _noRoom;

    /// <summary>True while a failure is too fresh.</summary>
    public bool MustWait => time.GetTimestamp() < Volatile.Read(ref _notBefore);

    /// <summary>True if the last attempt failed.</summary>
    public bool HasFailed => _failuresInARow > 0;

    /// <summary>True once the failures are too many for the disk to be believed.</summary>
    public bool IsHopeless => _failuresInARow >= FailuresAllowed;

    /// <summary>Why the last attempt failed, if it was for want of room on the disk; null otherwise.</summary>
    public string? NoRoom => Volatile.Read(ref _noRoom);

    /// <summary>Notes a success.</summary>
    public void Succeeded()
    {
        _failuresInARow = 0;
        Volatile.Write(ref _noRoom, null);
        Volatile.Write(ref _notBefore, 0);
    }

    /// <summary>Notes a failure.</summary>
    /// <returns>Time until the next attempt.</returns>
    public TimeSpan Failed(Exception failure)
    {
        bool passes = failure is DiskException { Errno: Errno.NoSpace or Errno.Quota or Errno.TooManyFiles or Errno.TooManyFilesOfAll or Errno.ReadOnly };
        if (!passes) _failuresInARow++;
        Volatile.Write(ref _noRoom, failure is DiskException { Errno: Errno.NoSpace or Errno.Quota } ? failure.Message : null);
        TimeSpan delay = (firstDelay ?? FirstDelay) * Math.Pow(2, Math.Min(_failuresInARow, 10));
        if (delay > LongestDelay) delay = LongestDelay;
        Volatile.Write(ref _notBefore, time.GetTimestamp() + (long)(delay.TotalSeconds * time.TimestampFrequency));
        return delay;
    }

    /// <summary>Waits no longer.</summary>
    public void Hurry() => Volatile.Write(ref _notBefore, 0);
}
