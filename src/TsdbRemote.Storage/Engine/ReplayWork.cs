using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Brings replayed segments into the engine's state, and holds replay back while flushes have to make room.</summary>
/// <remarks>
/// Use: some threads run <see cref="All"/>; the flush asks <see cref="Below"/> whose turn has come, and tells <see cref="Flushed"/>. Thread-safe.
/// Memory: a slot is taken before a segment is begun and given back when its MemTable is flushed, so no more of them exist than may wait.
/// </remarks>
internal sealed class ReplayWork : IDisposable
{
    private readonly LogReplay _replay;
    private readonly IFileSystem _files;
    private readonly CurrentState _state;
    private readonly SegmentLedger _ledger;
    private readonly EngineCounters _counters;
    private readonly ConcurrentQueue<string> _damages;
    private readonly ILogger _log;
    private readonly SemaphoreSlim _slots;
    private readonly SortedSet<long> _unreplayed = [];
    private readonly long _firstLiveSegment;

    public ReplayWork(
        LogReplay replay, IEnumerable<InheritedSegment> segments, long firstLiveSegment, int maxWaiting, IFileSystem files, CurrentState state,
        SegmentLedger ledger, EngineCounters counters, ConcurrentQueue<string> damages, ILogger log)
    {
        _replay = replay;
        _files = files;
        _state = state;
        _ledger = ledger;
        _counters = counters;
        _damages = damages;
        _log = log;
        _firstLiveSegment = firstLiveSegment;
        _slots = new SemaphoreSlim(Math.Max(1, maxWaiting));
        foreach (InheritedSegment segment in segments) _unreplayed.Add(segment.Number);
    }

    /// <summary>How far it is.</summary>
    public ReplayProgress Progress => _replay.Progress;

    /// <summary>Segments that are not replayed yet.</summary>
    public int Left
    {
        get
        {
            lock (_unreplayed) return _unreplayed.Count;
        }
    }

    /// <summary>Segments below this number are replayed: their MemTables are whole, and flushing them in order keeps sequences in order.</summary>
    public long Below
    {
        get
        {
            lock (_unreplayed) return _unreplayed.Count == 0 ? long.MaxValue : _unreplayed.Min;
        }
    }

    /// <summary>Replays segments until none is left to begin.</summary>
    /// <param name="replayed">Called after each segment: its MemTable may be flushed.</param>
    /// <param name="cancel">Stops between two frames.</param>
    /// <exception cref="DataDirectoryException">A segment cannot be trusted and must not be skipped.</exception>
    public void All(Action replayed, CancellationToken cancel)
    {
        while (true)
        {
            _slots.Wait(cancel);
            if (!_replay.ReplayNext(cancel, out MemTable? memTable, out SegmentReport? report))
            {
                _slots.Release();
                return;
            }

            Take(memTable!, report!);
            replayed();
        }
    }

    /// <summary>A MemTable is flushed: if it was a replayed one, there is room for the next.</summary>
    public void Flushed(long segment)
    {
        if (segment < _firstLiveSegment) _slots.Release();
    }

    /// <inheritdoc/>
    public void Dispose() => _slots.Dispose();

    private void Take(MemTable memTable, SegmentReport report)
    {
        Note(memTable.Segment, report);
        bool isSealed = report.Outcome == SegmentOutcome.Sealed;
        if (!isSealed) SyncAccepted(report.Path);
        ulong first = (ulong)memTable.Segment << SourceRank.IndexBits;
        LedgerSegment known = _ledger[memTable.Segment];
        _ledger.Set(known with
        {
            LastSequence = Math.Max(first, report.LastSequence),
            AcceptedEnd = isSealed ? null : AcceptedEnd(known, report),
            Owed = report.Owed,
        });
        _state.Change(state => state.With(memTables: state.MemTables.WithReplayed(memTable)));
        lock (_unreplayed) _unreplayed.Remove(memTable.Segment);
    }

    /// <summary>An end in the manifest hides what lies behind it from the next start, which has to find it again while a copy of it is owed.</summary>
    private static long? AcceptedEnd(LedgerSegment known, SegmentReport report) => report.Owed.Count > 0 ? known.AcceptedEnd : report.End;

    /// <summary>
    /// What was read may have come from the page cache of a process that was killed. Its end goes into the manifest as accepted, so it has to be durable
    /// first: else a power cut would make it look like damage.
    /// </summary>
    private void SyncAccepted(string path)
    {
        using IFile file = _files.OpenAppendable(path);
        file.SyncAll();
    }

    private void Note(long segment, SegmentReport report)
    {
        if (report.Owed.Count > 0) Log.QuarantineFull(_log, segment, report.Owed.Sum(static copy => copy.End - copy.From));
        foreach (SegmentFinding finding in report.Findings)
        {
            long bytes = finding.To - finding.From;
            if (finding.Kind == SegmentFindingKind.TornTail)
            {
                EngineCounters.Add(ref _counters.TornTails, 1);
                EngineCounters.Add(ref _counters.TornTailBytes, bytes);
                Log.TornTail(_log, segment, finding.From, bytes);
                continue;
            }

            EngineCounters.Add(ref _counters.Corruptions, 1);
            EngineCounters.Add(ref _counters.CorruptBytes, bytes);
            string what = $"{report.Path} from {finding.From} to {finding.To}: {finding.What}";
            _damages.Enqueue(what);
            Log.SegmentDamaged(_log, segment, what);
        }
    }
}
