using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Walks the segments beside the index, both in ascending order, so that neither is kept: rules 15, 17, 18, 21 and 36.</summary>
/// <remarks>
/// Use: <see cref="Visit"/> for each reference of the index in its order, then <see cref="Finish"/>.
/// <para>
/// Invariant: records before the position have been walked; those that no reference met are in <see cref="_strays"/>, which a later
/// reference that steps back may still claim. A record whose checksum differs has no length that could be believed: the walk is then lost
/// and goes on at the next reference. Not thread-safe.
/// </para>
/// </remarks>
internal sealed class SegmentWalk : IDisposable
{
    private const int MaxStrays = 1 << 16;
    private const int SegmentShift = 32;

    private static readonly Func<string> Nobody = static () => "no series";

    private readonly VerifyContext _context;
    private readonly IReadOnlyList<Segment> _segments;
    private readonly ChunkRules _rules;
    private readonly SortedSet<ulong> _strays = [];
    private readonly SegmentCursor _ahead;
    private readonly SegmentCursor _behind;
    private bool _lost;

    /// <summary>Starts before the first segment.</summary>
    public SegmentWalk(VerifyContext context, IReadOnlyList<Segment> segments)
    {
        _context = context;
        _segments = segments;
        _rules = new ChunkRules(context.Findings);
        _ahead = new SegmentCursor(context, segments);
        _behind = new SegmentCursor(context, segments, pieceBytes: 4096);
    }

    private Findings Findings => _context.Findings;

    /// <summary>Checks the record that the index names.</summary>
    /// <param name="reference">Segment from 0 in the upper 32 bits, offset in the lower.</param>
    /// <param name="entryOffset">Where the index says so.</param>
    /// <param name="describe">Names the series.</param>
    /// <param name="values">Receives the samples; null if nobody wants them.</param>
    /// <returns>What the chunk holds; null if it cannot be decoded or is not there.</returns>
    public ChunkFacts? Visit(ulong reference, long entryOffset, Func<string> describe, ValueChecksumBuilder? values)
    {
        int segment = (int)Math.Min(reference >> SegmentShift, int.MaxValue);
        long offset = (uint)reference;
        bool exists = segment < _segments.Count && offset >= SegmentRules.HeaderBytes
            && offset + ChunkRecordScan.MinBytes <= _segments[segment].Size;
        if (!exists)
        {
            Findings.Error(36, "index", entryOffset, $"{describe()} names a chunk at {offset} of segment {segment + 1L}, where none can be");
            return null;
        }

        if (segment < _ahead.Index || (segment == _ahead.Index && offset < _ahead.File.Position))
            return VisitBehind(reference, segment, offset, entryOffset, describe, values);
        while (_ahead.Index < segment)
        {
            FinishSegment(indexRead: true);
            if (!OpenNext()) return null;
        }

        return WalkTo(offset, entryOffset, describe) ? VisitHere(describe, values) : null;
    }

    /// <summary>Walks what is left and reports the records that nobody named.</summary>
    /// <param name="indexRead">Whether all references of the index were visited; without, nobody can tell a stray record.</param>
    public void Finish(bool indexRead)
    {
        do FinishSegment(indexRead);
        while (OpenNext());
        if (!indexRead) return;
        foreach (ulong stray in _strays) ReportStray(stray);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ahead.Dispose();
        _behind.Dispose();
    }

    private bool OpenNext()
    {
        _lost = false;
        return _ahead.TryOpen(_ahead.Index + 1);
    }

    /// <summary>Walks records that nobody named up to an offset.</summary>
    /// <returns>False if the offset lies within a record.</returns>
    private bool WalkTo(long offset, long entryOffset, Func<string> describe)
    {
        SequentialFile file = _ahead.File;
        while (!_lost && file.Position < offset)
        {
            RecordKind kind = ChunkRecordScan.Read(file, out long size, out ReadOnlySpan<byte> body);
            if (kind is RecordKind.None or RecordKind.Damaged)
            {
                Findings.Error(17, _ahead.Name, file.Position, $"the {offset - file.Position} bytes before the chunk of {describe()} are no record");
                _lost = true;
            }
            else if (file.Position + size > offset)
            {
                Findings.Error(36, "index", entryOffset, $"{describe()} names {offset} of {_ahead.Name}, within the record at {file.Position}");
                return false;
            }
            else
            {
                PassStray(kind, size, body);
            }
        }

        file.MoveTo(offset);
        return true;
    }

    private ChunkFacts? VisitHere(Func<string> describe, ValueChecksumBuilder? values)
    {
        SequentialFile file = _ahead.File;
        ChunkPlace place = new(_ahead.Name, file.Position, describe);
        RecordKind kind = ChunkRecordScan.Read(file, out long size, out ReadOnlySpan<byte> body);
        ChunkFacts? facts = null;
        switch (kind)
        {
            case RecordKind.Whole:
                facts = _rules.Check(body[0], body[1..], place, values);
                break;
            case RecordKind.TooLong:
                ReportTooLong(place, size);
                break;
            case RecordKind.Damaged:
                Findings.Error(15, place.File, place.Offset, $"checksum of the chunk of {place.Series} differs");
                break;
            default:
                Findings.Error(17, place.File, place.Offset, $"the record of {place.Series} runs past the end of the segment");
                break;
        }

        _lost = kind is RecordKind.Damaged or RecordKind.None;
        file.Skip(_lost ? 1 : size);
        return facts;
    }

    /// <summary>A reference that is not above all before it: read apart, whether a record of its own or one named before.</summary>
    private ChunkFacts? VisitBehind(
        ulong reference, int segment, long offset, long entryOffset, Func<string> describe, ValueChecksumBuilder? values)
    {
        Findings.Error(36, "index", entryOffset, $"{describe()} names {offset} of {_segments[segment].Name}, which is not above the one before");
        bool isStray = _strays.Remove(reference);
        if (!_behind.TryOpen(segment)) return null;
        _behind.File.MoveTo(offset);
        RecordKind kind = ChunkRecordScan.Read(_behind.File, out _, out ReadOnlySpan<byte> body);
        ChunkPlace place = new(_behind.Name, offset, describe);
        if (kind != RecordKind.Whole) return null;
        if (!isStray) Findings.Error(18, place.File, offset, $"the record is named a second time, by {place.Series}");
        return _rules.Check(body[0], body[1..], place, values);
    }

    private void FinishSegment(bool indexRead)
    {
        if (_ahead.Index < 0) return;
        SequentialFile file = _ahead.File;
        while (!_lost && file.Remaining > 0)
        {
            RecordKind kind = ChunkRecordScan.Read(file, out long size, out ReadOnlySpan<byte> body);
            bool isRecord = kind is RecordKind.Whole or RecordKind.TooLong;
            if (kind == RecordKind.Damaged && !indexRead)
            {
                Findings.Error(15, _ahead.Name, file.Position, $"checksum of a chunk differs");
                file.Skip(size);
            }
            else if (isRecord)
            {
                PassStray(kind, size, body);
            }
            else
            {
                Findings.Error(17, _ahead.Name, file.Position, $"the last {file.Remaining} bytes are no record");
                return;
            }
        }
    }

    private void PassStray(RecordKind kind, long size, ReadOnlySpan<byte> body)
    {
        ulong reference = ((ulong)_ahead.Index << SegmentShift) | (ulong)_ahead.File.Position;
        ChunkPlace place = new(_ahead.Name, _ahead.File.Position, Nobody);
        if (kind == RecordKind.TooLong) ReportTooLong(place, size);
        else _rules.Check(body[0], body[1..], place, values: null);
        if (_strays.Count < MaxStrays) _strays.Add(reference);
        else ReportStray(reference);
        _ahead.File.Skip(size);
    }

    private void ReportTooLong(in ChunkPlace place, long size) =>
        Findings.Error(21, place.File, place.Offset, $"the record of {place.Series} has {size} bytes; no chunk of 65,535 samples is so long");

    private void ReportStray(ulong reference) =>
        Findings.Error(18, _segments[(int)(reference >> SegmentShift)].Name, (uint)reference, $"no series names this record");

    /// <summary>One open segment.</summary>
    private sealed class SegmentCursor(VerifyContext context, IReadOnlyList<Segment> segments, int pieceBytes = 1 << 20) : IDisposable
    {
        private FileSource? _source;
        private SequentialFile? _file;

        public int Index { get; private set; } = -1;

        public string Name => segments[Index].Name;

        public SequentialFile File => _file ?? throw new InvalidOperationException("no segment is open");

        /// <summary>Opens a segment behind its header.</summary>
        /// <returns>False if there is none.</returns>
        public bool TryOpen(int index)
        {
            if (index == Index) return true;
            if (index >= segments.Count) return false;
            Dispose();
            Index = index;
            _source = context.TryOpen(segments[index].Name)
                ?? throw new CorruptFileException(context.PathOf(segments[index].Name), 0, "the segment has gone");
            long end = Math.Min(_source.Length, segments[index].Size);
            _file = new SequentialFile(_source, Math.Min(SegmentRules.HeaderBytes, end), end, context.Cancel, pieceBytes);
            return true;
        }

        public void Dispose()
        {
            _file?.Dispose();
            _source?.Dispose();
            _file = null;
            _source = null;
        }
    }
}
