using System.Collections.Concurrent;
using BenchmarkDotNet.Attributes;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Benchmarks;

/// <summary>Label run → ordinal, hash included: what a warm write does for each series. 20,000 look-ups an invocation.</summary>
/// <remarks>
/// Small: 1,000 series, again and again. Typical: each of 20,000, in the order in which they were added, as senders keep it.
/// Worst: 20,000 at random of 200,000, so that nothing is in the processor's caches.
/// Baseline: the concurrent dictionary of the framework, keyed by byte arrays with the same hash.
/// </remarks>
[MemoryDiagnoser]
public class DictionaryBenchmarks
{
    private const int LookUps = Inputs.Series;
    private const int ManySeries = 200_000;
    private const int FewSeries = 1_000;

    private readonly ConcurrentDictionary<byte[], uint> _framework = new(new RunComparer());
    private SeriesDictionary _series = new();
    private Run[] _canonical = [];
    private Run[] _aliases = [];
    private byte[] _bytes = [];

    [ParamsAllValues]
    public Input Input { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        int count = Input switch { Input.Small => FewSeries, Input.Typical => Inputs.Series, _ => ManySeries };
        _series = Inputs.NewDictionary(count);
        int[] asked = [.. Enumerable.Range(0, Math.Max(count, LookUps)).Select(i => i % count)];
        if (Input == Input.Worst) new Random(1).Shuffle(asked);
        asked = asked[..LookUps];

        // One behind the other, as in a body.
        using var bytes = new MemoryStream();
        _canonical = [.. asked.Select(series => Put(bytes, ScrapeLoad.LabelsOf(series), series))];
        _aliases = [.. asked.Select(series => Put(bytes, FirstLabelLast(ScrapeLoad.LabelsOf(series)), series))];
        _bytes = bytes.ToArray();
        foreach (Run alias in _aliases) Learn(alias);
        for (int series = 0; series < count; series++) _framework.TryAdd(ScrapeLoad.LabelsOf(series), (uint)series);
    }

    [Benchmark(OperationsPerInvoke = LookUps)]
    public uint TryFind() => FindAll(_canonical);

    /// <summary>The same series in a spelling that is not canonical, once learned.</summary>
    [Benchmark(OperationsPerInvoke = LookUps)]
    public uint TryFindAlias() => FindAll(_aliases);

    [Benchmark(Baseline = true, OperationsPerInvoke = LookUps)]
    public uint ConcurrentDictionary()
    {
        uint sum = 0;
        ConcurrentDictionary<byte[], uint>.AlternateLookup<ReadOnlySpan<byte>> found = _framework.GetAlternateLookup<ReadOnlySpan<byte>>();
        foreach (ref readonly Run run in _canonical.AsSpan())
        {
            if (!found.TryGetValue(BytesOf(run), out uint ordinal) || ordinal != run.Ordinal) Fail();
            sum += ordinal;
        }

        return sum;
    }

    [GlobalCleanup]
    public void Clean() => _series.Dispose();

    private static Run Put(MemoryStream bytes, byte[] run, int series)
    {
        int offset = (int)bytes.Length;
        bytes.Write(run);
        return new Run(offset, run.Length, (uint)series);
    }

    private static byte[] FirstLabelLast(byte[] run)
    {
        var labels = new LabelRunReader(run);
        labels.MoveNext();
        return [.. run[labels.BytesRead..], .. run[..labels.BytesRead]];
    }

    private void Learn(in Run alias)
    {
        ReadOnlySpan<byte> bytes = BytesOf(alias);
        ulong hash = Labels.Hash(bytes);
        if (!_series.TryFind(bytes, hash, out _)) _series.AddAlias(bytes, hash, alias.Ordinal);
    }

    private static void Fail() => throw new InvalidOperationException("a known series was not found");

    private uint FindAll(Run[] runs)
    {
        uint sum = 0;
        foreach (ref readonly Run run in runs.AsSpan())
        {
            ReadOnlySpan<byte> bytes = BytesOf(run);
            if (!_series.TryFind(bytes, Labels.Hash(bytes), out uint ordinal) || ordinal != run.Ordinal) Fail();
            sum += ordinal;
        }

        return sum;
    }

    private ReadOnlySpan<byte> BytesOf(in Run run) => _bytes.AsSpan(run.Offset, run.Length);

    private readonly record struct Run(int Offset, int Length, uint Ordinal);

    private sealed class RunComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public int GetHashCode(byte[] obj) => GetHashCode((ReadOnlySpan<byte>)obj);

        public int GetHashCode(ReadOnlySpan<byte> alternate) => (int)Labels.Hash(alternate);

        public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
    }
}
