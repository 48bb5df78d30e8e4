using System.Buffers.Binary;
using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Wal;

/// <summary>One replay of one segment: walks the frames, and at the first that does not verify decides what kind of damage it is.</summary>
/// <remarks>
/// The usual segment is read once. At the first bad frame everything behind it is scanned for what decides its class (reliability.md
/// §2.6): a durable_to frame that covers it, or a seal. Then the walk goes on, or ends there. Records are handed on as they are met: those
/// before a bad frame count in every class.
/// </remarks>
internal sealed class SegmentReplay : IDisposable
{
    private readonly IFile _file;
    private readonly Guid _directoryId;
    private readonly long _segment;
    private readonly SegmentReplayOptions _options;
    private readonly ILogRecordSink _sink;
    private readonly CancellationToken _cancel;
    private readonly LogWindow _window;
    private readonly FrameScanner _scanner;
    private readonly LogQuarantine _quarantine;
    private readonly List<SegmentFinding> _findings = [];

    // Everything before this was durable: the highest durable_to known so far. Once the rest was scanned, of the whole file.
    private long _durableTo;
    private bool _isSealed;
    private bool _restIsScanned;
    private bool _segmentIsCopied;
    private bool _hasTornTail;

    private SegmentSeal? _seal;
    private long _sealEnd;
    private long _recordFrames;
    private uint _chain;
    private bool _sealHolds;
    private long _end = WalFormat.HeaderBytes;
    private long _records;
    private long _recordBytes;
    private ulong _lastSequence;

    public SegmentReplay(
        IFileSystem fs,
        IFile file,
        Guid directoryId,
        long segment,
        SegmentReplayOptions options,
        ILogRecordSink sink,
        CancellationToken cancel)
    {
        _file = file;
        _directoryId = directoryId;
        _segment = segment;
        _options = options;
        _sink = sink;
        _cancel = cancel;
        _durableTo = options.AcceptedEnd ?? 0;
        _window = new LogWindow(file, Math.Min(file.Length, options.AcceptedEnd ?? long.MaxValue), Math.Max(options.ReadBytes, 64 << 10));
        _scanner = new FrameScanner(_window, WalFormat.Salt(directoryId, segment), segment);
        _quarantine = new LogQuarantine(fs, options.QuarantineDirectory, segment);
    }

    private bool MustBeSealed => _options.MustBeSealed && _options.AcceptedEnd is null;

    public SegmentReport Run()
    {
        if (!HeaderIsGood())
        {
            ScanRest(WalFormat.HeaderBytes);
            bool mayBeEmpty = !MustBeSealed && _options.AcceptedEnd is null;
            if (mayBeEmpty && !_scanner.FindFrom(WalFormat.HeaderBytes, out _)) return Report(SegmentOutcome.Empty);
            Damaged(0, Math.Min(WalFormat.HeaderBytes, _window.Limit), "the header does not verify");
        }

        long at = WalFormat.HeaderBytes;
        while (at < _window.Limit && Step(ref at)) _cancel.ThrowIfCancellationRequested();
        if (!_hasTornTail) CheckEnd();
        return Report(Outcome());
    }

    public void Dispose() => _window.Dispose();

    private bool HeaderIsGood()
    {
        if (!SegmentHeader.TryRead(_window.At(0, WalFormat.HeaderBytes), out SegmentHeader header)) return false;
        if (header.Version > WalFormat.Version) throw LogReader.NewerFormat(_file.Path, header);

        if (header.Segment != _segment || header.DirectoryId != _directoryId)
        {
            string found = string.Create(CultureInfo.InvariantCulture, $"segment {header.Segment} of directory {header.DirectoryId}");
            throw Refuse(LogRefusal.Foreign, 0, $"{found}, not segment {_segment} of {_directoryId}");
        }

        return true;
    }

    /// <summary>Takes what stands at <paramref name="at"/> and moves on.</summary>
    /// <returns>False at the end.</returns>
    private bool Step(ref long at)
    {
        FrameStatus status = _scanner.ReadAt(at, out PlacedFrame frame);
        if (status == FrameStatus.Valid)
        {
            Accept(frame);
            at = frame.End;
            return true;
        }

        if (status == FrameStatus.End && _window.FirstNonZero(at) == _window.Limit) return false;
        return StepOverBadFrame(ref at, status);
    }

    private bool StepOverBadFrame(ref long at, FrameStatus status)
    {
        ScanRest(at + FrameFormat.Alignment);
        string what = Describe(status);
        if (!_isSealed && !MustBeSealed && at >= _durableTo)
        {
            long tailEnd = EndOfBytes(at);
            _quarantine.CopyTail(_window, at, tailEnd);
            _findings.Add(new SegmentFinding(SegmentFindingKind.TornTail, at, tailEnd, what));
            _hasTornTail = true;
            return false;
        }

        bool goesOn = _scanner.FindFrom(at + FrameFormat.Alignment, out PlacedFrame next);
        long damageEnd = goesOn ? next.Offset : EndOfBytes(at);
        Damaged(at, damageEnd, what + ExplainByOneBit(at));
        at = damageEnd;
        return goesOn;
    }

    /// <summary>Looks at everything behind the first bad frame, once, for what decides the class of this and any later one.</summary>
    private void ScanRest(long from)
    {
        if (_restIsScanned) return;
        _restIsScanned = true;
        while (_scanner.FindFrom(from, out PlacedFrame frame))
        {
            _cancel.ThrowIfCancellationRequested();
            RefuseUnknown(frame);
            if (WalFormat.IsWellFormed(frame.Type, frame.Payload, _segment))
            {
                if (frame.Type == WalFormat.DurableTo) Promise(frame);
                _isSealed |= frame.Type == WalFormat.Seal;
            }

            from = frame.End;
        }
    }

    private void Accept(in PlacedFrame frame)
    {
        RefuseUnknown(frame);
        if (WalFormat.IsRecord(frame.Type)) _recordFrames++;
        if (!WalFormat.IsWellFormed(frame.Type, frame.Payload, _segment)) Undecodable(frame, "a verified frame without its type's form");
        else if (frame.Type == WalFormat.DurableTo) Promise(frame);
        else if (frame.Type == WalFormat.Seal) TakeSeal(frame);
        else if (WalFormat.IsRecord(frame.Type)) HandOn(frame);
        Span<byte> link = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(link, frame.Crc);
        _chain = Crc32C.Update(_chain, link);
        _end = Math.Min(frame.End, _window.Limit);
    }

    private void Promise(in PlacedFrame frame) => _durableTo = Math.Max(_durableTo, BinaryPrimitives.ReadInt64LittleEndian(frame.Payload));

    private void TakeSeal(in PlacedFrame frame)
    {
        SegmentSeal found = SegmentSeal.Read(frame.Payload);
        _isSealed = true;
        _seal = found;
        _sealEnd = Math.Min(frame.End, _window.Limit);
        _sealHolds = found == new SegmentSeal(_recordFrames, frame.Offset, _chain);
    }

    private void HandOn(in PlacedFrame frame)
    {
        ulong sequence = BinaryPrimitives.ReadUInt64LittleEndian(frame.Payload);
        if (_records > 0 && sequence <= _lastSequence)
        {
            Undecodable(frame, "a record whose sequence does not ascend");
            return;
        }

        long receiveTimeMs = BinaryPrimitives.ReadInt64LittleEndian(frame.Payload[sizeof(ulong)..]);
        ReadOnlySpan<byte> body = frame.Payload[WalFormat.RecordHeaderBytes..];
        _sink.Record((WalRecordKind)frame.Type, sequence, receiveTimeMs, body);
        _lastSequence = sequence;
        _records++;
        _recordBytes += body.Length;
    }

    private void Undecodable(in PlacedFrame frame, string what)
    {
        _findings.Add(new SegmentFinding(SegmentFindingKind.Undecodable, frame.Offset, frame.End, what));
        _quarantine.CopyRecord(_window, frame.Offset, Math.Min(frame.End, _window.Limit));
    }

    /// <summary>No bad frame is left to find; what remains are frames that are missing without one.</summary>
    private void CheckEnd()
    {
        if (_findings.Exists(static finding => finding.Kind == SegmentFindingKind.Damage)) return; // and therefore the seal cannot hold
        if (_options.AcceptedEnd is { } accepted && _end < accepted) Missing($"frames were accepted up to {accepted}");
        else if (_seal is { } seal && !_sealHolds) Missing($"the seal counts {seal.Records} records, here are {_recordFrames}");
        else if (_seal is not null && _end > _sealEnd) Missing("frames follow the seal");
        else if (_seal is null && MustBeSealed) Missing("the seal is missing");
    }

    private void Missing(string what) => Corrupt(new SegmentFinding(SegmentFindingKind.MissingFrames, _end, _end, what));

    private void Damaged(long from, long to, string what) => Corrupt(new SegmentFinding(SegmentFindingKind.Damage, from, to, what));

    private void Corrupt(SegmentFinding finding)
    {
        if (_options.OnCorruption == CorruptionPolicy.Refuse) throw Refuse(LogRefusal.Corruption, finding.From, finding.What);
        if (!_segmentIsCopied) _quarantine.CopySegment(_window, EndOfBytes(0));
        _segmentIsCopied = true;
        _findings.Add(finding);
    }

    /// <summary>Where the zeros of the reserved rest begin; a last frame keeps its padding.</summary>
    private long EndOfBytes(long from) =>
        Math.Min(_window.Limit, (_window.BehindLastNonZero(from) + FrameFormat.Alignment - 1) & ~(long)(FrameFormat.Alignment - 1));

    private void RefuseUnknown(in PlacedFrame frame)
    {
        if (WalFormat.IsKnown(frame.Type)) return;
        throw Refuse(LogRefusal.NewerFormat, frame.Offset, $"frame type {frame.Type} is not known to this build");
    }

    private LogRefusedException Refuse(LogRefusal reason, long offset, FormattableString what) =>
        Refuse(reason, offset, what.ToString(CultureInfo.InvariantCulture));

    private LogRefusedException Refuse(LogRefusal reason, long offset, string what) => new(reason, _file.Path, offset, what);

    private static string Describe(FrameStatus status) => status switch
    {
        FrameStatus.BadLength => "a frame's length exceeds what is allowed or left",
        FrameStatus.BadChecksum => "a frame's checksum differs",
        _ => "zeros, and bytes behind them",
    };

    private string ExplainByOneBit(long at)
    {
        ReadOnlySpan<byte> source = _window.At(at, FrameFormat.HeaderBytes + FlippedBit.MaxPayloadBytes);
        return FlippedBit.Find(source, WalFormat.Salt(_directoryId, _segment)) is { } bit
            ? string.Create(CultureInfo.InvariantCulture, $"; one flipped bit explains it: bit {bit % 8} of byte {at + (bit / 8)}")
            : string.Empty;
    }

    private SegmentOutcome Outcome()
    {
        if (_findings.Exists(static finding => finding.Kind != SegmentFindingKind.TornTail)) return SegmentOutcome.Corrupt;
        if (_hasTornTail) return SegmentOutcome.TornTail;
        return _isSealed ? SegmentOutcome.Sealed : SegmentOutcome.CleanEnd;
    }

    private SegmentReport Report(SegmentOutcome outcome) => new(
        _file.Path, _segment, outcome, _records, _recordBytes, _lastSequence, _end, _findings, _quarantine.Copies, _quarantine.Owed);
}
