using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Tests.Mutations;

/// <summary>A log segment is replayed, under options that the bytes decide.</summary>
internal sealed class LogParser : FuzzParser, ILogRecordSink
{
    public const long Segment = 7;

    private readonly FuzzFiles _files = new("/fuzz/wal/00000007.log");
    private long _records;
    private long _bytes;
    private ulong _last;
    private uint _hash;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        return Replay(64 << 10) is not null && _records > 0;
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        (long records, long bytes, uint hash) = (_records, _bytes, _hash);
        SegmentReport report = Replay(128 << 10)!;
        Assert.Equal((records, bytes, hash), (_records, _bytes, _hash));
        Assert.Equal((records, bytes, _last), (report.Records, report.RecordBytes, report.LastSequence));
        Assert.InRange(bytes, 0, input.Length);
        Assert.InRange(report.End, WalFormat.HeaderBytes, input.Length);
        long behind = 0;
        foreach (SegmentFinding finding in report.Findings.Where(static finding => finding.Kind == SegmentFindingKind.Damage))
        {
            Assert.InRange(finding.From, behind, finding.To);
            behind = finding.To;
        }

        Assert.InRange(behind, 0, input.Length);
    }

    public void Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, ReadOnlySpan<byte> body)
    {
        if (_records++ > 0 && sequence <= _last) throw new InvalidOperationException($"record {sequence} comes behind {_last}");
        Assert.Equal(Segment, WalFormat.SegmentOf(sequence));
        _last = sequence;
        _bytes += body.Length;
        _hash = _hash * 31 + Crc32C.Of(body) + (uint)kind + (uint)receiveTimeMs;
    }

    private SegmentReport? Replay(int readBytes)
    {
        _records = _bytes = 0;
        _last = 0;
        _hash = 0;
        uint variant = _files.Variant;
        var options = new SegmentReplayOptions((variant & 1) == 0 ? "/fuzz/quarantine" : null)
        {
            MustBeSealed = (variant & 6) == 2,
            AcceptedEnd = (variant & 0x38) == 8 ? variant >> 6 & 0x3FF : null,
            OnCorruption = (variant & 0xC0) == 0x40 ? CorruptionPolicy.Refuse : CorruptionPolicy.Salvage,
            ReadBytes = readBytes,
        };
        try
        {
            LogReader.Probe(_files, _files.Path, Seals.DirectoryId, Segment);
            return LogReader.Replay(_files, _files.Path, Seals.DirectoryId, Segment, options, this, CancellationToken.None);
        }
        catch (LogRefusedException)
        {
            return null;
        }
    }
}

/// <summary>A dictionary file is loaded, whole or up to a length before its end.</summary>
internal sealed class DictionaryParser : FuzzParser
{
    public const long Number = 3;

    private readonly FuzzFiles _files = new("/fuzz/series/00000003.dict");
    private readonly SeriesVisitor _visitor;
    private long _entries;
    private uint _hash;

    public DictionaryParser() => _visitor = Visit;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        return Load(input) is not null && _entries > 0;
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        (long entries, uint hash) = (_entries, _hash);
        SeriesFileReport report = Load(input)!;
        Assert.Equal((entries, hash), (_entries, _hash));
        Assert.Equal(entries, report.Entries);
        long behind = 0;
        foreach (SeriesFileDamage damage in report.Damage)
        {
            Assert.InRange(damage.Offset, behind, input.Length);
            behind = damage.Offset + damage.Length;
        }

        Assert.InRange(behind, 0, input.Length);
    }

    private SeriesFileReport? Load(ReadOnlySpan<byte> input)
    {
        _entries = 0;
        _hash = 0;
        int committed = (_files.Variant & 7) == 0 ? (int)(_files.Variant >> 3) % (input.Length + 2) : input.Length;
        uint crc = (_files.Variant & 7) == 1 ? 0 : Crc32C.Of(input[..Math.Min(committed, input.Length)]);
        try
        {
            return SeriesFile.Load(_files, _files.Path, Seals.DirectoryId, Number, committed, crc, _visitor);
        }
        catch (Exception declared) when (declared is CorruptFileException or NotSupportedException)
        {
            return null;
        }
    }

    private void Visit(ulong id, ReadOnlySpan<byte> run)
    {
        if (id == 0 || run.IsEmpty) throw new InvalidOperationException("an entry without an id or without labels is handed out");
        _entries++;
        var labels = new LabelRunReader(run);
        while (labels.MoveNext()) _hash = _hash * 31 + Crc32C.Of(labels.Name) + Crc32C.Of(labels.Value);
        if (labels.IsMalformed) throw new InvalidOperationException($"labels of series {id} cannot be read");
        _hash += (uint)id;
    }
}

/// <summary>A manifest is read; what is taken is written and read again.</summary>
internal sealed class ManifestParser : FuzzParser
{
    private readonly FuzzFiles _files = new("/fuzz/MANIFEST");
    private ManifestState? _state;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        try
        {
            return Manifest.Read(_files, _files.Path, out _state) is null;
        }
        catch (ManifestException)
        {
            return false;
        }
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        byte[] text = ManifestText.Write(_state!);
        _files.Put(text);
        Assert.Null(Manifest.Read(_files, _files.Path, out ManifestState? again));
        Assert.Equal(text, ManifestText.Write(again!));
    }
}

/// <summary>The files beside the manifest.</summary>
internal sealed class SideFileParser(bool isMetadata) : FuzzParser
{
    public const int HeaderBytes = 16;

    private readonly FuzzFiles _files = new("/fuzz/" + KindOf(isMetadata).Name);
    private string _found = "";

    public static SideFileKind KindOf(bool isMetadata) => isMetadata ? MetadataFile.Kind : ExemplarFile.Kind;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        return Load() is { } found && (_found = found).Length > 0;
    }

    public override void Check(ReadOnlySpan<byte> input) => Assert.Equal(_found, Load());

    private string? Load()
    {
        try
        {
            if (isMetadata)
            {
                var metadata = new MetricMetadata(maxFamilies: 100, maxBytes: 1 << 16);
                MetadataFile.Load(_files, _files.Path, Seals.DirectoryId, metadata);
                return string.Join('\n', metadata.List());
            }

            var ring = new ExemplarRing(1 << 16);
            ExemplarFile.Load(_files, _files.Path, Seals.DirectoryId, ring);
            return string.Join('\n', ring.All(out _).Select(static one => $"{Labels.Print(one.Series)} {one.Exemplar.At}"));
        }
        catch (Exception declared) when (declared is CorruptFileException or NotSupportedException)
        {
            return null;
        }
    }
}
