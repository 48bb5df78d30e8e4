using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Benchmarks;

/// <summary>Samples of known series → MemTable that has all 20,000 series already: one chunk's worth, 120 scrapes, an invocation.</summary>
/// <remarks>
/// Small: requests of 10 series. Typical: of 2,000, in order. Worst: of 2,000, every second scrape late. Baseline: a list of samples a series,
/// under one lock.
/// </remarks>
[MemoryDiagnoser]
public class AppendBenchmarks
{
    private const int Scrapes = MemTable.SamplesPerChunk;
    private const int Samples = Scrapes * Inputs.Series;

    private readonly Lock _lock = new();
    private Sample[][] _scrapes = [];
    private ResolvedSeries[][] _requests = [];
    private MemTable _memTable = Inputs.NewMemTable(1);
    private Dictionary<uint, List<Sample>> _lists = [];

    [ParamsAllValues]
    public Input Input { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        IEnumerable<int> order = Input == Input.Worst ? Inputs.EverySecondLate(Scrapes) : Enumerable.Range(0, Scrapes);
        _scrapes = [.. order.Select(static scrape => Inputs.Scrape(scrape + 1))];
        _requests = Inputs.ResolvedRequests(Input == Input.Small ? Inputs.SeriesPerSmallRequest : Inputs.SamplesPerRequest);
    }

    [IterationSetup(Target = nameof(MemTableAppend))]
    public void NewMemTable()
    {
        _memTable.Dispose();
        _memTable = Inputs.NewMemTable(1);
        Inputs.Fill(_memTable, 0);
    }

    [IterationSetup(Target = nameof(ListPerSeries))]
    public void NewLists() => _lists = Enumerable.Range(0, Inputs.Series).ToDictionary(static series => (uint)series, static _ => new List<Sample>());

    [Benchmark(OperationsPerInvoke = Samples)]
    public long MemTableAppend()
    {
        AppendCounts counts = default;
        ulong sequence = 1UL << 41;
        foreach (Sample[] scrape in _scrapes)
        {
            int first = 0;
            foreach (ResolvedSeries[] request in _requests)
            {
                _memTable.Append(request, scrape.AsSpan(first, request.Length), ++sequence, ref counts);
                first += request.Length;
            }
        }

        return counts.Stored == Samples ? counts.OutOfOrder : throw new InvalidOperationException($"{counts.Stored} samples stored");
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    public int ListPerSeries()
    {
        foreach (Sample[] scrape in _scrapes)
        {
            int first = 0;
            foreach (ResolvedSeries[] request in _requests)
            {
                AppendToLists(request, scrape.AsSpan(first, request.Length));
                first += request.Length;
            }
        }

        return _lists.Count;
    }

    [GlobalCleanup]
    public void Clean() => _memTable.Dispose();

    private void AppendToLists(ResolvedSeries[] request, ReadOnlySpan<Sample> samples)
    {
        lock (_lock)
        {
            foreach (ref readonly ResolvedSeries series in request.AsSpan())
            {
                ref List<Sample>? list = ref CollectionsMarshal.GetValueRefOrAddDefault(_lists, series.Ordinal, out _);
                (list ??= []).AddRange(samples.Slice(series.FirstSample, series.SampleCount));
            }
        }
    }
}
