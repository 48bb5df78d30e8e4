using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>The life of one write request: admission, decompression, decoding, decision and append under the gate, commit, answer.</summary>
/// <remarks>
/// Order of refusals: stopping or failed, full MemTables or log or merges far behind, bytes in flight; only then is memory taken, and a crowded window found. Once the log has the body nothing cancels.
/// Everything between entering and leaving the gate is synchronous. Thread-safe.
/// </remarks>
internal sealed class WritePath
{
    private readonly StorageOptions _options;
    private readonly Ingest _ingest;
    private readonly CurrentState _state;
    private readonly WriteAheadLog _wal;
    private readonly ReaderWriterLockSlim _gate;
    private readonly BackgroundWork _background;
    private readonly WriteStall _stall;
    private readonly CommitLag _lag;
    private readonly EngineFailure _failure;
    private readonly EngineCounters _counters;
    private readonly WriteScratchPool _scratches;
    private readonly TimeProvider _time;
    private readonly CancellationToken _stopping;
    private readonly ILogger _log;
    private int _inFlight;

    public WritePath(
        StorageOptions options, Ingest ingest, CurrentState state, WriteAheadLog wal, ReaderWriterLockSlim gate, BackgroundWork background,
        WriteStall stall, CommitLag lag, EngineFailure failure, EngineCounters counters, WriteScratchPool scratches, TimeProvider time,
        ILogger log, CancellationToken stopping)
    {
        _options = options;
        _ingest = ingest;
        _state = state;
        _wal = wal;
        _gate = gate;
        _background = background;
        _stall = stall;
        _lag = lag;
        _failure = failure;
        _counters = counters;
        _scratches = scratches;
        _time = time;
        _stopping = stopping;
        _log = log;
        Budget = new ByteBudget(options.Lsm.WriteBufferSize.Bytes, maxWaiting: 256, time);
    }

    /// <summary>Budget of decompressed request bytes in flight.</summary>
    public ByteBudget Budget { get; }

    /// <summary>Requests that are not answered yet.</summary>
    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>Stores one request; takes the body over.</summary>
    public async Task<WriteReport> WriteAsync(WriteProtocol protocol, PooledBuffer body, Compression compression)
    {
        Interlocked.Increment(ref _inFlight);
        EngineCounters.Add(ref _counters.WriteRequests, 1);
        try
        {
            WriteReport report = await WriteAdmittedAsync(protocol, body, compression).ConfigureAwait(false);
            if (report.Status == WriteStatus.Unavailable) EngineCounters.Add(ref _counters.WriteRequestsFailed, 1);
            return report;
        }
        finally
        {
            Interlocked.Decrement(ref _inFlight);
        }
    }

    private async ValueTask<WriteReport> WriteAdmittedAsync(WriteProtocol protocol, PooledBuffer body, Compression compression)
    {
        if (Refusal() is { } refusal || (refusal = await RefusalAfterWaitAsync().ConfigureAwait(false)) is not null)
        {
            body.Dispose();
            return refusal;
        }

        // Before anything is reserved: a false claim must not take the room of others.
        CompressionStatus status = PackedBody.CheckLength(compression, body.Span, (int)_options.Limits.WriteDecoded.Bytes, out int declared);
        if (status != CompressionStatus.Ok)
        {
            body.Dispose();
            if (status == CompressionStatus.TooLarge) _counters.Count(Limit.WriteDecoded);
            return WriteReport.Nothing(WriteStatus.BadCompression, Explain(compression, status));
        }

        for (bool mayBeHeld = true; ; mayBeHeld = false)
        {
            long reserved = await Budget.TryAcquireAsync(declared, WriteStall.Patience, CancellationToken.None).ConfigureAwait(false);
            if (reserved < 0)
            {
                body.Dispose();
                _counters.Count(Limit.WriteBufferSize);
                return WriteReport.Nothing(WriteStatus.Unavailable, "too many request bytes in flight (storage.lsm.write_buffer_size)", 5);
            }

            PendingWrite pending;
            CrowdedWindow? crowd;
            try
            {
                crowd = Apply(protocol, body, compression, mayBeHeld, out pending);
            }
            catch (Exception failed) when (failed is LogFailedException or LogFullException)
            {
                return LogFailed(failed);
            }
            catch (EngineUnavailableException closed)
            {
                body.Dispose();
                return WriteReport.Nothing(WriteStatus.Unavailable, closed.Message, 5);
            }
            finally
            {
                Budget.Release(reserved);
            }

            if (crowd is null) return await CommittedAsync(pending).ConfigureAwait(false);

            // Only what the sender's connection holds is kept meanwhile; decoded once more, it costs this writer, and not those who wait for nothing.
            if (await _stall.WaitForAsync(crowd, body.Length).ConfigureAwait(false) is not { } inTheWay) continue;
            body.Dispose();
            return WriteReport.Nothing(WriteStatus.Unavailable, inTheWay, 2);
        }
    }

    private async ValueTask<WriteReport> CommittedAsync(PendingWrite pending)
    {
        long queued = _time.GetTimestamp();
        try
        {
            if (!_options.Wal.Async)
            {
                while (!pending.Committed.IsCompleted) _wal.DrainOnce();
            }

            await pending.Committed.ConfigureAwait(false);
            _lag.Note(queued);
        }
        catch (Exception failed) when (failed is LogFailedException or LogFullException)
        {
            return LogFailed(failed);
        }

        if (_background.RotationIsDue)
        {
            _background.Wake();
            _stall.Refresh(); // what is due may be late already
        }

        return pending.Report;
    }

    /// <summary>Decodes, decides, logs and appends.</summary>
    /// <param name="protocol">Which message the body is.</param>
    /// <param name="body">Taken over, unless a window is returned.</param>
    /// <param name="compression">How it is packed.</param>
    /// <param name="mayBeHeld">False once it has waited.</param>
    /// <param name="pending">Its answer, once the log has committed.</param>
    /// <returns>Null, or a window to wait for: nothing has been done then.</returns>
    private CrowdedWindow? Apply(WriteProtocol protocol, PooledBuffer body, Compression compression, bool mayBeHeld, out PendingWrite pending)
    {
        bool isTaken = false;
        try
        {
            return Apply(protocol, body, compression, mayBeHeld, ref isTaken, out pending);
        }
        catch when (!isTaken)
        {
            // Whatever it was, such as no memory to unpack it: nobody else will give the body back. Once it is taken the log may be writing it.
            body.Dispose();
            throw;
        }
    }

    private CrowdedWindow? Apply(WriteProtocol protocol, PooledBuffer body, Compression compression, bool mayBeHeld, ref bool isTaken, out PendingWrite pending)
    {
        CompressionStatus status = PackedBody.TryUnpack(compression, body.Span, (int)_options.Limits.WriteDecoded.Bytes, out PooledBuffer? raw);
        if (status != CompressionStatus.Ok || raw is null)
        {
            body.Dispose();
            pending = new PendingWrite(WriteReport.Nothing(WriteStatus.BadCompression, Explain(compression, status)), Task.CompletedTask);
            return null;
        }

        WriteScratch scratch = _scratches.Rent();
        try
        {
            using (raw)
            {
                if (Decode(scratch, protocol, raw) is { } refused)
                {
                    body.Dispose();
                    pending = new PendingWrite(refused, Task.CompletedTask);
                    return null;
                }

                WriteBatch batch = scratch.Batch;
                if (mayBeHeld && _stall.CrowdOf(batch.MinTimeMs, batch.MaxTimeMs, batch.Samples, batch.Histograms) is { } crowd)
                {
                    pending = default;
                    return crowd;
                }

                _gate.EnterReadLock();
                EngineState? state = null;
                try
                {
                    // Held, because a decision may look into MemTables that a flush lets go meanwhile.
                    state = _state.Acquire();
                    WalRecordKind kind = WalRecord.KindOf(protocol, compression);
                    isTaken = true;
                    pending = _ingest.Write(scratch, kind, body, _time.GetUtcNow().ToUnixTimeMilliseconds(), state.MemTables, _wal);
                    return null;
                }
                finally
                {
                    state?.Release();
                    _gate.ExitReadLock();
                }
            }
        }
        finally
        {
            _scratches.Return(scratch);
        }
    }

    private WriteReport? Decode(WriteScratch scratch, WriteProtocol protocol, PooledBuffer raw)
    {
        EngineState state = _state.Acquire();
        try
        {
            return _ingest.Decode(scratch, protocol, raw, state.MemTables.Active.Dictionary);
        }
        finally
        {
            state.Release();
        }
    }

    private WriteReport? Refusal()
    {
        // A sync by the timer may have failed with nobody waiting for it.
        if (_wal.Failure is { } failure && _failure.Set(failure)) Log.Failed(_log, failure);
        if (_stopping.IsCancellationRequested) return WriteReport.Nothing(WriteStatus.Unavailable, EngineUnavailableException.StoppingMessage, 5);
        if (_failure.IsSet) return WriteReport.Nothing(WriteStatus.Unavailable, _failure.Message, 60);

        // The log would refuse it too, but only once it is decoded and, where samples are appended first, remembered: a full disk may stay so for days.
        return _wal.NeedsSegment ? LogFull(LogFullException.Text) : null;
    }

    private async ValueTask<WriteReport?> RefusalAfterWaitAsync()
    {
        string? inTheWay = await _stall.WaitAsync().ConfigureAwait(false);
        return inTheWay is null ? null : WriteReport.Nothing(WriteStatus.Unavailable, inTheWay, 2);
    }

    private WriteReport LogFailed(Exception failed)
    {
        if (failed is LogFullException) return LogFull(failed.Message);
        if (_failure.Set(failed)) Log.Failed(_log, failed);
        return WriteReport.Nothing(WriteStatus.Unavailable, _failure.Message, 60);
    }

    /// <summary>A full disk heals: the next switch of segments helps, so it is asked for.</summary>
    private WriteReport LogFull(string message)
    {
        _background.Wake();
        return WriteReport.Nothing(WriteStatus.Unavailable, message, 30);
    }

    private string Explain(Compression compression, CompressionStatus status) => status switch
    {
        CompressionStatus.Empty => $"the body is empty, which is no {(compression == Compression.Zstd ? "zstd frame" : "snappy block")}",
        CompressionStatus.Framed => "the body is a snappy stream; remote write sends a snappy block",
        CompressionStatus.TooLarge => $"decoded size exceeds the {_options.Limits.WriteDecoded.Bytes} bytes limit (storage.limits.write_decoded)",
        _ => compression == Compression.Zstd ? "zstd: corrupt input" : "snappy: corrupt input",
    };
}
