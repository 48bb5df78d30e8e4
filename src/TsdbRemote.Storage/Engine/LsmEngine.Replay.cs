namespace TsdbRemote.Storage.Engine;

/// <content>How a replay ends: the engine is ready, or it says why not; and what the next start is told of it.</content>
public sealed partial class LsmEngine
{
    private void Replayer(Action work)
    {
        try
        {
            Noted(work);
            if (Interlocked.Decrement(ref _replayersLeft) == 0) BecomeReady();
        }
        catch (OperationCanceledException)
        {
            _parts.Ready.TrySetCanceled();
        }
        catch (Exception failure)
        {
            Log.ReplayFailed(_log, failure);
            _parts.Damages.Found.Enqueue(failure.Message);
            _parts.Failure.Set(failure);
            _parts.Ready.TrySetException(failure);
        }
    }

    private bool IsReplaying() => Volatile.Read(ref _replayersLeft) > 1 && !_parts.Failure.IsSet;

    /// <summary>A replay that was cut off, or refused, has said why: no record ended it. Anything else that does is a bug, and may do so at each start.</summary>
    private void Noted(Action work)
    {
        try
        {
            work();
        }
        catch (Exception told) when (told is OperationCanceledException or DataDirectoryException or IOException or OutOfMemoryException)
        {
            ClearReplayNote();
            throw;
        }
    }

    private void ClearReplayNote() => _parts.ReplayNote.Clear((path, failure) => Log.DeleteFailed(_log, path, failure));

    private void BecomeReady()
    {
        ClearReplayNote();

        // No reason not to start: an option that was needed once is easily left behind, and the record that it names is gone with its segment.
        foreach (ulong stale in _parts.ReplayNote.GivenUpInVain) Log.QuarantineRecordInVain(_log, stale);
        _openSeconds["ready"] = Elapsed();

        // One record at a time is not the pace of the next start.
        if (!_parts.ReplayNote.IsCareful && _parts.Pace.BytesPerSecond is { } pace) _parts.Background.HoldLogTo(EngineSettings.LogBytes(_options, pace));
        _parts.Ready.TrySetResult();
        Log.Ready(_log, Elapsed());
    }
}
