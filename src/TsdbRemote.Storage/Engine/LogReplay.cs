using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Replays old log segments side by side, each into a MemTable of its own, while writes already go to a fresh one.</summary>
/// <remarks>
/// Memory: at most as many replayed MemTables exist at a time as MemTables may wait, because a worker takes a slot before it begins a segment and the
/// flush gives the slot back. Segments are begun in order, so the oldest, whose flush comes first, is never the one that waits. Conflicts between
/// segments are settled by sequence when they are read, so the workers need no order among themselves. Within a segment records are decoded side by side
/// by whoever is free, and appended in their order (<see cref="ReplayPipeline"/>).
/// </remarks>
internal sealed class LogReplay
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly Guid _directoryId;
    private readonly Ingest _ingest;
    private readonly Func<long, MemTable> _newMemTable;
    private readonly EngineCounters _counters;
    private readonly ILogger _log;
    private readonly InheritedSegment[] _segments;
    private readonly CorruptionPolicy _onCorruption;
    private readonly ConcurrentQueue<string> _damages;
    private readonly ReplayPace _pace;
    private readonly ReadHelpers? _helpers;
    private readonly ReplayNote _note;
    private int _next;
    private long _done;
    private long _bytesDone;

    public LogReplay(
        IFileSystem files, DataLayout paths, Guid directoryId, IEnumerable<InheritedSegment> segments, Ingest ingest, Func<long, MemTable> newMemTable,
        EngineCounters counters, CorruptionPolicy onCorruption, ConcurrentQueue<string> damages, ReplayPace pace, ReadHelpers? helpers, ReplayNote note, ILogger log)
    {
        _files = files;
        _paths = paths;
        _directoryId = directoryId;
        _ingest = ingest;
        _newMemTable = newMemTable;
        _counters = counters;
        _onCorruption = onCorruption;
        _damages = damages;
        _pace = pace;
        _helpers = helpers;
        _note = note;
        _log = log;
        _segments = [.. segments];
    }

    /// <summary>How far it is.</summary>
    public ReplayProgress Progress => _segments.Length == 0
        ? default
        : new ReplayProgress(_segments[0].Number, _segments[^1].Number, _segments[0].Number + Interlocked.Read(ref _done), Interlocked.Read(ref _bytesDone), TotalBytes);

    /// <summary>Bytes of all segments.</summary>
    public long TotalBytes => _segments.Sum(static segment => segment.Bytes);

    /// <summary>Replays the next segment nobody has begun.</summary>
    /// <param name="cancel">Stops between two frames.</param>
    /// <param name="memTable">Its samples; null if none was left to begin.</param>
    /// <param name="report">What was found in the file.</param>
    /// <returns>False if none was left.</returns>
    /// <exception cref="DataDirectoryException">The segment cannot be trusted and must not be skipped: another version, or a read error.</exception>
    public bool ReplayNext(CancellationToken cancel, out MemTable? memTable, out SegmentReport? report)
    {
        memTable = null;
        report = null;
        int index = Interlocked.Increment(ref _next) - 1;
        if (index >= _segments.Length) return false;
        InheritedSegment segment = _segments[index];
        _pace.Begun();
        memTable = _newMemTable(segment.Number);
        using var sink = new Sink(this, memTable);
        try
        {
            report = LogReader.Replay(_files, _paths.Segment(segment.Number), _directoryId, segment.Number, segment.ReplayOptions(_paths.Quarantine, _onCorruption), sink, cancel);
            sink.Complete();
        }
        catch (LogRefusedException refused)
        {
            memTable.Release();
            throw new DataDirectoryException(refused.Message, refused);
        }
        catch
        {
            memTable.Release();
            throw;
        }

        if (sink.OwesCopy) report = report with { Owed = [.. report.Owed, LogQuarantine.WholeOf(segment.Number, report.End)] };
        _pace.Ended(report.End);
        Interlocked.Increment(ref _done);
        Interlocked.Add(ref _bytesDone, segment.Bytes - sink.Bytes);
        Log.SegmentReplayed(_log, segment.Number, report.Records, memTable.SampleCount, memTable.SeriesCount);
        return true;
    }

    private sealed class Sink : ILogRecordSink, IDisposable
    {
        private readonly LogReplay _replay;
        private readonly MemTable _memTable;
        private readonly ReplayPipeline _pipeline;

        public Sink(LogReplay replay, MemTable memTable)
        {
            _replay = replay;
            _memTable = memTable;
            _pipeline = new ReplayPipeline(replay._helpers, memTable.Dictionary, Append, replay._note.IsCareful ? null : replay._note.Working);
        }

        public long Bytes { get; private set; }

        /// <summary>A record was not put aside for want of room.</summary>
        public bool OwesCopy { get; private set; }

        public void Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, ReadOnlySpan<byte> body)
        {
            if (_replay._note.IsGivenUp(sequence))
            {
                OwesCopy |= !_replay.TryPutAside(kind, sequence, body, "is left out, as storage.wal.quarantine_record asks");
                return;
            }

            if (_replay._note.IsCareful) _replay._note.At(sequence);
            _pipeline.Add(kind, sequence, body);
            if (!_replay._note.IsCareful) return;
            _pipeline.Complete();
            _replay._note.Passed();
        }

        public void Complete()
        {
            _pipeline.Complete();
            if (!_replay._note.IsCareful) _replay._note.Rested(_memTable.Segment);
        }

        public void Dispose() => _pipeline.Dispose();

        private void Append(ReplayedRecord record)
        {
            int bytes = record.Body.Length;
            long samples = record.IsDecoded ? _replay._ingest.Replay(record.Scratch, record.Sequence, _memTable) : -1;
            if (samples < 0)
            {
                OwesCopy |= !_replay.TryPutAside(record.Kind, record.Sequence, record.Body.Span, "does not decode");
                return;
            }

            EngineCounters.Add(ref _replay._counters.RecordsReplayed, 1);
            EngineCounters.Add(ref _replay._counters.SamplesReplayed, samples);
            Bytes += bytes;
            Interlocked.Add(ref _replay._bytesDone, bytes);
        }
    }

    /// <summary>A record whose checksum holds but that does not decode, or ends the process, is a bug or another version's: kept for people, and the rest goes on.</summary>
    /// <returns>False if there is no room for it: then its whole segment has to be kept.</returns>
    private bool TryPutAside(WalRecordKind kind, ulong sequence, ReadOnlySpan<byte> body, string why)
    {
        EngineCounters.Add(ref _counters.RecordsUndecodable, 1);
        string path = Path.Combine(_paths.Quarantine, $"wal-record-{sequence:D20}-{(byte)kind}");
        bool isKept = _files.FileSize(path) == body.Length || TryKeep(path, body.ToArray());
        if (!isKept) path = _paths.Segment(WalFormat.SegmentOf(sequence));
        Log.RecordUndecodable(_log, sequence, why, path);
        _damages.Enqueue($"record {sequence} {why}; kept in {path}");
        return isKept;
    }

    private bool TryKeep(string path, byte[] body)
    {
        try
        {
            LogQuarantine.Keep(_files, path, file => file.Write(0, body));
            return true;
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            return false;
        }
    }
}
