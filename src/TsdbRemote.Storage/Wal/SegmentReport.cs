using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Wal;

/// <summary>What the reader of a segment is told about it.</summary>
/// <param name="QuarantineDirectory">Where doubtful bytes are copied to; created if absent. Null: nowhere, for who only looks.</param>
public sealed record SegmentReplayOptions(string? QuarantineDirectory)
{
    /// <summary>
    /// A later segment holds frames, so this one was sealed and synced: damage is never a torn tail. Overridden by
    /// <see cref="AcceptedEnd"/>.
    /// </summary>
    public bool MustBeSealed { get; init; }

    /// <summary>
    /// The end that an earlier recovery, or the segment behind, has settled: what lies beyond is ignored, and what lies before counts as
    /// durable.
    /// </summary>
    public long? AcceptedEnd { get; init; }

    /// <summary>What to do about damage to acknowledged records.</summary>
    public CorruptionPolicy OnCorruption { get; init; }

    /// <summary>Bytes read at a time; 64 KiB or more. The window grows beyond only for a record that is longer.</summary>
    public int ReadBytes { get; init; } = 4 << 20;
}

/// <summary>How a segment ended, the worst that was found.</summary>
public enum SegmentOutcome
{
    /// <summary>Header bad or missing and no frame: a crash while it was created. It may be deleted.</summary>
    Empty,

    /// <summary>Sealed, and all that the seal states holds.</summary>
    Sealed,

    /// <summary>Unsealed, zeros behind the last frame: the clean end of a crash. Also an accepted end that was reached.</summary>
    CleanEnd,

    /// <summary>Unsealed, and what lies behind the last frame was never acknowledged as durable.</summary>
    TornTail,

    /// <summary>Damage to what was acknowledged: see the findings.</summary>
    Corrupt,
}

/// <summary>Kinds of findings.</summary>
public enum SegmentFindingKind
{
    /// <summary>Bytes behind the last good frame that were never acknowledged as durable.</summary>
    TornTail,

    /// <summary>Bytes that must hold frames and do not verify.</summary>
    Damage,

    /// <summary>All frames verify, but they are not those that the seal counted, or the seal is missing.</summary>
    MissingFrames,

    /// <summary>A frame that verifies and makes no sense: a bug, or a record at two places. Skipped.</summary>
    Undecodable,
}

/// <summary>One thing found in a segment.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="From">First byte.</param>
/// <param name="To">Behind the last byte.</param>
/// <param name="What">In words, for the log line and the status page.</param>
public readonly record struct SegmentFinding(SegmentFindingKind Kind, long From, long To, string What);

/// <summary>What became of one segment.</summary>
/// <param name="Path">The file.</param>
/// <param name="Segment">Its number.</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Records">Records handed to the sink.</param>
/// <param name="RecordBytes">Bytes of their bodies.</param>
/// <param name="LastSequence">Sequence of the last record handed on; 0 if there was none.</param>
/// <param name="End">Behind the last frame accepted: the accepted end to note, if the segment is not sealed.</param>
/// <param name="Findings">What was wrong, in order of place.</param>
/// <param name="Quarantined">Copies made, or found made by an earlier start.</param>
/// <param name="Owed">Copies for which there was no room: the file must stay until they are made.</param>
public sealed record SegmentReport(
    string Path,
    long Segment,
    SegmentOutcome Outcome,
    long Records,
    long RecordBytes,
    ulong LastSequence,
    long End,
    IReadOnlyList<SegmentFinding> Findings,
    IReadOnlyList<string> Quarantined,
    IReadOnlyList<OwedCopy> Owed)
{
    /// <summary>Bytes of damage: acknowledged data that may be lost.</summary>
    public long LostBytes => BytesOf(SegmentFindingKind.Damage);

    /// <summary>Bytes of the torn tail.</summary>
    public long TornBytes => BytesOf(SegmentFindingKind.TornTail);

    private long BytesOf(SegmentFindingKind kind) =>
        Findings.Where(finding => finding.Kind == kind).Sum(finding => finding.To - finding.From);
}

/// <summary>What the beginning of a segment tells before it is replayed.</summary>
/// <param name="HasFrames">Its first frame verifies, so the segment before it was finished: sealed, or left with an end.</param>
/// <param name="PreviousEnd">The segment that was left without a seal just before this one, and its end; usually null.</param>
public readonly record struct SegmentProbe(bool HasFrames, SegmentEnd? PreviousEnd);

/// <summary>Takes the records of a log, in order. Called from one thread.</summary>
public interface ILogRecordSink
{
    /// <summary>One record.</summary>
    /// <param name="kind">What the body is.</param>
    /// <param name="sequence">Its place in the order of all records; ascending.</param>
    /// <param name="receiveTimeMs">When the request came, in Unix milliseconds.</param>
    /// <param name="body">The bytes; valid during the call only.</param>
    void Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, ReadOnlySpan<byte> body);
}

/// <summary>Why a segment was not replayed.</summary>
public enum LogRefusal
{
    /// <summary>A later build wrote it: skipping what we do not know would lose acknowledged data.</summary>
    NewerFormat,

    /// <summary>The header verifies and is that of another segment or data directory.</summary>
    Foreign,

    /// <summary>The disk could not read it. That is no corruption: the bytes may be fine.</summary>
    Unreadable,

    /// <summary>Acknowledged data is damaged, and the policy is <see cref="CorruptionPolicy.Refuse"/>.</summary>
    Corruption,
}

/// <summary>A segment must not be replayed: the start must stop. No file was changed; at most a copy was made in quarantine.</summary>
public sealed class LogRefusedException : Exception
{
    internal LogRefusedException(LogRefusal reason, string path, long offset, string what, Exception? cause = null)
        : base(new CorruptFileException(path, offset, what).Message, cause)
    {
        Reason = reason;
        Path = path;
        Offset = offset;
    }

    /// <summary>Why.</summary>
    public LogRefusal Reason { get; }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Where in the file, in bytes.</summary>
    public long Offset { get; }
}
