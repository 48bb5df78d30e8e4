using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks log segments as a start would replay them, copying nothing: frames, salts, seals, accepted ends, and whether each record decodes.</summary>
internal sealed class LogCheck : IDisposable
{
    private const string Refused = "a start is refused (exit code 3): what the segment holds cannot be told";

    private readonly VerifyRun _run;
    private readonly ManifestState _manifest;
    private readonly long? _active;
    private readonly LogInventory _log;
    private readonly WriteBatch _batch = new();

    /// <summary>Lists the segments.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public LogCheck(VerifyRun run, ManifestState manifest)
    {
        _run = run;
        _manifest = manifest;
        _active = run.Live?.ActiveSegment; // before anything is looked at: what is at rest now is so for good, whatever later ones say of it is there
        _log = LogInventory.Of(run.Files, run.Paths, manifest);
    }

    /// <summary>Numbers of the segments that a start would replay.</summary>
    public IEnumerable<long> Numbers => _log.Found.Select(static segment => segment.Number);

    /// <summary>Bytes that <see cref="Check"/> will read, about.</summary>
    public long ExpectedBytes => Numbers.Where(IsAtRest).Sum(number => _run.Files.FileSize(_run.Paths.Segment(number)) ?? 0);

    /// <summary>Checks all of them.</summary>
    public void Check()
    {
        CheckPresence();
        foreach (InheritedSegment segment in LogInventory.Inherit(_run.Files, _run.Paths, _log.Found, Probe))
        {
            string path = _run.Paths.Segment(segment.Number);
            if (IsAtRest(segment.Number)) _run.Check(path, segment.Bytes, Refused, () => Replay(segment, path), () => IsNamed(segment.Number));
            else _run.Skip($"{_run.Relative(path)}: is being written");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _batch.Dispose();

    private bool IsAtRest(long number) => _active is not { } active || number < active;

    /// <summary>Online: a segment goes when its flush is committed, and a new one is named by no manifest yet.</summary>
    private bool IsNamed(long number) => _run.Live is not { } live || live.Manifest.Segments.Any(segment => segment.Number == number);

    private void CheckPresence()
    {
        foreach (long number in _log.Missing.Where(IsNamed))
        {
            _run.Error(
                _run.Paths.Segment(number), null, "is missing, but MANIFEST names it",
                "samples that were acknowledged are gone, and a start is refused: put the file back, or restore the whole directory from a backup");
        }

        if (_run.Live is not null) return;
        foreach (long number in _log.Flushed)
            _run.Note(_run.Paths.Segment(number), null, "is flushed: what it holds is in tables or blocks", "the next start removes it");
        long expected = _manifest.NextSegment;
        foreach (long number in Numbers.Where(number => number >= _manifest.NextSegment))
        {
            if (number > expected)
                _run.Warning(_run.Paths.Segment(expected), "is missing, and later ones are there", "it was never made, as on a full disk, or what it held is lost: nothing on disk can tell");
            expected = number + 1;
        }
    }

    private SegmentProbe Probe(long number)
    {
        try
        {
            return LogReader.Probe(_run.Files, _run.Paths.Segment(number), _manifest.DirectoryId, number);
        }
        catch (Exception unreadable) when (unreadable is LogRefusedException or DiskException)
        {
            return default; // it is told when the segment itself is read
        }
    }

    private void Replay(InheritedSegment segment, string path)
    {
        _run.Counts.Segments++;
        var sink = new Sink(this, path);
        try
        {
            SegmentReport report = LogReader.Replay(
                _run.Files, path, _manifest.DirectoryId, segment.Number, segment.ReplayOptions(quarantineDirectory: null, CorruptionPolicy.Salvage), sink, _run.Cancel);
            _run.Counts.Records += report.Records;
            foreach (SegmentFinding finding in report.Findings) Tell(path, finding);
        }
        catch (LogRefusedException refused) when (refused.Reason != LogRefusal.Unreadable)
        {
            _run.Error(path, refused.Offset, refused.Message, refused.Reason == LogRefusal.Foreign
                ? "a start is refused (exit code 3): the file is misplaced; put the right one back"
                : $"{VerifyRun.NewerMeaning} (exit code 3)");
        }
    }

    private void Tell(string path, SegmentFinding finding)
    {
        string bytes = string.Create(CultureInfo.InvariantCulture, $"{finding.To - finding.From} bytes, {finding.From} to {finding.To}");
        switch (finding.Kind)
        {
            case SegmentFindingKind.TornTail:
                _run.Note(path, finding.From, $"a torn tail of {bytes}: {finding.What}", "a crash leaves such: it was never acknowledged as durable, and everything before it is replayed");
                break;
            case SegmentFindingKind.Undecodable:
                _run.Error(path, finding.From, finding.What, "this record is not served, and put aside by the next start; all others are replayed");
                break;
            case SegmentFindingKind.MissingFrames:
                _run.Error(path, finding.From, finding.What, $"acknowledged samples are lost; {Salvaged}");
                break;
            default:
                _run.Error(path, finding.From, $"{bytes}: {finding.What}", $"acknowledged samples of these bytes are lost; {Salvaged}");
                break;
        }
    }

    private static string Salvaged => "every record that verifies is replayed, the segment is kept in quarantine/, and the start goes on (refused with wal.on_corruption: refuse)";

    /// <summary>Takes records and keeps nothing of them.</summary>
    private sealed class Sink(LogCheck check, string path) : ILogRecordSink
    {
        public void Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, ReadOnlySpan<byte> body)
        {
            check._batch.Reset();
            if (!WalRecord.TryDecode(kind, body, check._batch, out PooledBuffer? raw))
            {
                check._run.Error(path, null, $"record {sequence} verifies and does not decode", "this record is not served, and put aside by the next start; all others are replayed");
                return;
            }

            check._run.Counts.RecordSamples += check._batch.SampleCount + check._batch.HistogramCount;
            raw.Dispose();
        }
    }
}
