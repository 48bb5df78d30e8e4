using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.MemTables;
using TsdbRemote.Tests.Wal;
using TsdbRemote.Tests.Wire;
using TsdbRemote.TestSupport;
using Labels = TsdbRemote.Blocks.Model.Labels;

namespace TsdbRemote.Tests.Engine;

/// <summary>Single records of the log, replayed.</summary>
public sealed class HistogramReplayTests : IDisposable
{
    private readonly SeriesDictionary _dictionary = new();
    private readonly MemTable _memTable;
    private readonly ReplayedRecord _record = new();
    private readonly Ingest _ingest;

    public HistogramReplayTests()
    {
        _memTable = new MemTable(new MemTableOptions(1, MemTableReader.WindowMs, 4, false), _dictionary);
        var limits = new LabelLimits(30, 100, 100, 1000);
        _ingest = new Ingest(new IngestSettings(limits, 1000, DecodeLimits.Default, 600_000, null, false), new TsdbRemote.Storage.Series.MetricMetadata(), new ExemplarRing(0), new EngineCounters());
    }

    public void Dispose()
    {
        _record.Dispose();
        _memTable.Dispose();
    }

    [Fact]
    public void A_record_with_a_histogram_that_fits_no_chunk_gives_the_rest_and_is_reported()
    {
        TimeSeries series = Requests.SeriesOf("__name__=h", (1, 1));
        series.Histograms.Add([HistogramMessages.Of(HistogramMessages.Wrong(), 2), SentHistograms.Exponential(3)]);
        Assert.Equal(-1, Replay(WalRecordKind.WriteV1, Requests.V1(series)));
        Assert.Equal([1, 3], Read("h").Select(static sample => sample.TimeMs));
        series.Histograms.RemoveAt(0);
        Assert.Equal(2, Replay(WalRecordKind.WriteV1, Requests.V1(series)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_record_gives_its_histograms(bool isV2)
    {
        IMessage request = SentHistograms.Request(isV2, ("a", [SentHistograms.Exponential(1), SentHistograms.OfFloats(2)]), ("b", [SentHistograms.Custom(3)]));
        Assert.Equal(3, Replay(isV2 ? WalRecordKind.WriteV2 : WalRecordKind.WriteV1, request));
        Assert.Equal([1, 2], Read("a").Select(static sample => sample.TimeMs));
        Assert.True(HistogramMessages.From(SentHistograms.Custom(3)).SaysTheSameAs(Assert.Single(Read("b")).Histogram!));
    }

    [Fact]
    public void A_winner_is_a_record_of_its_own_that_gives_the_histogram()
    {
        IMessage request = SentHistograms.Request(isV2: true, "h", SentHistograms.Exponential(1), SentHistograms.OfFloats(2));
        using var batch = new WriteBatch();
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV2.Decode(request.ToByteArray(), batch, DecodeLimits.Default, out _));
        byte[] labels = Labels.Encode(("__name__", "h"));
        Assert.True(_dictionary.TryAdd(labels, Labels.Hash(labels), 10, out uint ordinal, out _));

        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        var winners = new WinnerLog(_dictionary, log, 77, batch);
        ulong sequence = winners.LogWinner(ordinal, 1);
        Assert.False(winners.WithRecords(Task.CompletedTask).IsCompleted);
        log.DrainAll();
        Assert.True(winners.WithRecords(Task.CompletedTask).IsCompletedSuccessfully);

        disk.Replay(out RecordList records);
        LoggedRecord record = Assert.Single(records);
        Assert.Equal((sequence, 77), (record.Sequence, record.ReceiveTimeMs));
        Assert.Equal(1, Replay(record.Kind, record.Sequence, record.Body));
        LaneSample read = Assert.Single(Read("h"));
        Assert.True(new LaneSample(2, HistogramMessages.From(SentHistograms.OfFloats(2))).IsSame(read));
    }

    private long Replay(WalRecordKind kind, IMessage request)
    {
        using PooledBuffer body = SnappyBlock.Compress(request.ToByteArray());
        return Replay(kind, sequence: 1, body.Span);
    }

    private long Replay(WalRecordKind kind, ulong sequence, ReadOnlySpan<byte> body)
    {
        _record.Take(kind, sequence, body);
        _record.Decode(_memTable.Dictionary);
        long samples = _record.IsDecoded ? _ingest.Replay(_record.Scratch, sequence, _memTable) : -1;
        _record.Forget();
        return samples;
    }

    private List<LaneSample> Read(string name)
    {
        byte[] labels = Labels.Encode(("__name__", name));
        Assert.True(_dictionary.TryFind(labels, Labels.Hash(labels), out uint ordinal));
        return _memTable.ReadMixed(ordinal);
    }
}
