using System.IO.Pipelines;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Benchmarks;

/// <summary>Where the samples of a read are.</summary>
public enum ReadFrom
{
    /// <summary>Three MemTables.</summary>
    MemTables,

    /// <summary>Three tables, mapped.</summary>
    Tables,
}

/// <summary>Matchers → answer of remote read in both forms: 2,000 of 20,000 series × 300 samples, from three sources.</summary>
/// <remarks>
/// Small: 2,000 queries of one series. Typical: one query of 2,000 series, each source holds a third of the time. Worst: the same query, each
/// source holds every third scrape, so every chunk is merged and encoded again. Baselines: the generated messages, filled from the same cursor.
/// Bytes go nowhere.
/// </remarks>
[MemoryDiagnoser]
[GroupBenchmarksBy(BenchmarkLogicalGroupRule.ByParams, BenchmarkLogicalGroupRule.ByCategory)]
[CategoriesColumn]
public class ReadBenchmarks
{
    private const int Sources = 3;
    private const int Scrapes = 300;
    private const int SeriesRead = 2_000;
    private const int Samples = SeriesRead * Scrapes;
    private const long Memory = 256L << 20;
    private const long MaxSamples = 50_000_000;

    private readonly DiscardingWriter _nowhere = new();
    private readonly PipeWriter _pipe = PipeWriter.Create(Stream.Null);
    private StoreInput _store = null!;
    private MemTable[] _memTables = [];
    private LevelTable[] _tables = [];
    private Matcher[][] _queries = [];

    [ParamsAllValues]
    public Input Input { get; set; }

    [ParamsAllValues]
    public ReadFrom From { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        _store = new StoreInput();
        _store.MarkAllPersisted();
        _memTables = [.. Enumerable.Range(0, Sources).Select(source => Inputs.NewMemTable(source + 1, _store.Dictionary))];
        for (int source = 0; source < Sources; source++) Inputs.Fill(_memTables[source], ScrapesOf(source));
        if (From == ReadFrom.Tables) FlushAll();
        _queries = Input == Input.Small ? [.. Enumerable.Range(0, SeriesRead).Select(OneSeries)] : [ATenthOfAll()];
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    [BenchmarkCategory("streamed")]
    public long Streamed()
    {
        long before = _nowhere.Written;
        int series = 0;
        using ReadSnapshot snapshot = Snapshot();
        for (int i = 0; i < _queries.Length; i++)
        {
            using SeriesMerge cursor = snapshot.Select(_queries[i], TimeRange.All, CancellationToken.None);
            for (; cursor.MoveNext(); series++) ReadStream.WriteSeries(_nowhere, cursor.Labels, cursor.Chunks, i);
        }

        CheckSeries(series);
        return _nowhere.Written - before;
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    [BenchmarkCategory("streamed")]
    public long StreamedGenerated()
    {
        long before = _nowhere.Written;
        int series = 0;
        using ReadSnapshot snapshot = Snapshot();
        for (int i = 0; i < _queries.Length; i++)
        {
            using SeriesMerge cursor = snapshot.Select(_queries[i], TimeRange.All, CancellationToken.None);
            for (; cursor.MoveNext(); series++) GeneratedAnswers.WriteFrame(_nowhere, cursor.Labels, cursor.Chunks, i);
        }

        CheckSeries(series);
        return _nowhere.Written - before;
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    [BenchmarkCategory("samples")]
    public async Task<long> SamplesAnswer()
    {
        int series = 0;
        using ReadSnapshot snapshot = Snapshot();
        using var answer = new ReadSamples(Memory, MaxSamples);
        foreach (Matcher[] query in _queries)
        {
            answer.BeginQuery();
            using SeriesMerge cursor = snapshot.Select(query, TimeRange.All, CancellationToken.None);
            for (; cursor.MoveNext(); series++) answer.AddSeries(cursor.Labels, cursor.Chunks);
            answer.EndQuery();
        }

        CheckSeries(series);
        await answer.CopyToAsync(_pipe, CancellationToken.None);
        return answer.Length;
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    [BenchmarkCategory("samples")]
    public async Task<long> SamplesGenerated()
    {
        using ReadSnapshot snapshot = Snapshot();
        byte[] answer = GeneratedAnswers.Samples(snapshot, _queries, out int series);
        CheckSeries(series);
        await _pipe.WriteAsync(answer);
        return answer.Length;
    }

    [GlobalCleanup]
    public void Clean()
    {
        foreach (MemTable memTable in _memTables) memTable.Dispose();
        foreach (LevelTable table in _tables) table.Reader.Dispose();
        _store.Dispose();
    }

    private static Matcher[] OneSeries(int series) =>
    [
        Matcher.Create(MatcherType.Equal, "__name__", $"node_network_receive_bytes_total_{series % 200:D3}"),
        Matcher.Create(MatcherType.Equal, "instance", $"10.0.{series / 200}.0:9100"),
    ];

    private static Matcher[] ATenthOfAll() =>
    [
        Matcher.Create(MatcherType.Equal, "job", "kubernetes-nodes"),
        Matcher.Create(MatcherType.Regex, "namespace", "team-0[01]"),
    ];

    private static void CheckSeries(int series)
    {
        if (series != SeriesRead) throw new InvalidOperationException($"{series} series read");
    }

    private IEnumerable<int> ScrapesOf(int source) => Enumerable.Range(0, Scrapes / Sources)
        .Select(scrape => Input == Input.Worst ? scrape * Sources + source : source * (Scrapes / Sources) + scrape);

    private void FlushAll()
    {
        _tables = [.. _memTables.Select(memTable => _store.Open(_store.Flush(memTable)))];
        foreach (MemTable memTable in _memTables) memTable.Dispose();
        _memTables = [];
    }

    private ReadSnapshot Snapshot() => new(new ReadSources(_memTables, _tables, []), _store.Dictionary, Memory, static () => { });
}
