using BenchmarkDotNet.Attributes;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Benchmarks;

/// <summary>MemTable of 20,000 series × 120 samples → table on the real disk, verified and synced.</summary>
/// <remarks>
/// Small: all series are in the dictionary file. Typical: none is, as at the first flush, so their labels are written too. Worst: besides,
/// every second scrape came late, so every chunk is merged and encoded again. Baseline: the samples as they are, 16 bytes each, one sync.
/// </remarks>
[MemoryDiagnoser]
[CpuDiagnoser]
public class FlushBenchmarks
{
    private const int Scrapes = MemTable.SamplesPerChunk;
    private const int Samples = Scrapes * Inputs.Series;

    private MemTable _memTable = null!;
    private StoreInput _store = null!;
    private TableEntry? _written;

    [ParamsAllValues]
    public Input Input { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        _store = new StoreInput();
        _memTable = Inputs.NewMemTable(1, _store.Dictionary);
        Inputs.Fill(_memTable, Input == Input.Worst ? Inputs.EverySecondLate(Scrapes) : Enumerable.Range(0, Scrapes));
        if (Input == Input.Small) _store.MarkAllPersisted();
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    public long Flush()
    {
        _written = _store.Flush(_memTable);
        return _written.Samples == Samples ? _written.Size : throw new InvalidOperationException($"{_written.Samples} samples flushed");
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    public long PlainSamples()
    {
        using var stream = new FileStream(_store.PlainFile, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 1 << 20);
        using var writer = new BinaryWriter(stream);
        using var arena = new NativeArena();
        var chunks = new List<SeriesChunk>();
        var samples = new List<Sample>();
        foreach (uint ordinal in _memTable.OrdinalsSorted())
        {
            chunks.Clear();
            samples.Clear();
            _memTable.Collect(ordinal, TimeRange.All, rank: 1, arena, chunks);
            foreach (SeriesChunk chunk in chunks) ChunkMerge.Decode(chunk, samples);
            writer.Write(_store.Dictionary.IdOf(ordinal));
            writer.Write(samples.Count);
            foreach (Sample sample in samples)
            {
                writer.Write(sample.TimeMs);
                writer.Write(sample.ValueBits);
            }
        }

        writer.Flush();
        stream.Flush(flushToDisk: true);
        return stream.Length;
    }

    [IterationCleanup]
    public void DeleteTable()
    {
        if (_written is not null) _store.Delete(_written);
        _written = null;
    }

    [GlobalCleanup]
    public void Clean()
    {
        _memTable.Dispose();
        _store.Dispose();
    }
}
