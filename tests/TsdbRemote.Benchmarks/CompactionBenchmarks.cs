using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Benchmarks;

/// <summary>Tables of one window, 20,000 series × 480 samples together → one run on the real disk, verified and synced.</summary>
/// <remarks>
/// Small: eight flushes of 60 samples a series, whose chunks are joined by twos. Typical: four flushes of full chunks, which go over as they are. Worst:
/// four tables that each hold every fourth scrape, so that every chunk is merged and encoded again. Baseline: all samples decoded, sorted and encoded
/// again, which is what one would write first; nothing is stored.
/// </remarks>
[MemoryDiagnoser]
[CpuDiagnoser]
public class CompactionBenchmarks
{
    private const int Scrapes = 4 * MemTable.SamplesPerChunk;
    private const int Samples = Scrapes * Inputs.Series;

    private StoreInput _store = null!;
    private LevelTable[] _tables = [];
    private CompactionResult? _written;

    [ParamsAllValues]
    public Input Input { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        _store = new StoreInput();
        _store.MarkAllPersisted();
        int sources = Input == Input.Small ? 8 : 4;
        _tables = [.. Enumerable.Range(0, sources).Select(source => Flush(source, sources))];
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    public long Merge()
    {
        var window = new TimeRange(Inputs.StartMs, Inputs.StartMs + Inputs.WindowMs - 1);
        _written = _store.Compact(new CompactionJob(window, [.. _tables], OutputLevel: 1, CompactionReason.TooManyRuns));
        return _written.SamplesWritten == Samples ? _written.BytesWritten : throw new InvalidOperationException($"{_written.SamplesWritten} samples merged");
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    public long PlainSamples()
    {
        long bytes = 0;
        var chunks = new ChunkList();
        List<Sample> samples = [];
        List<SeriesChunk> encoded = [];
        foreach (ulong[] id in _tables[0].Reader.SeriesIdsOf(Inputs.StartMs).Chunk(1))
        {
            using var arena = new NativeArena(1 << 16);
            chunks.Found.Clear();
            samples.Clear();
            encoded.Clear();
            foreach (LevelTable table in _tables) table.Collect(id, TimeRange.All, arena, chunks);
            foreach (SeriesChunk chunk in chunks.Found) ChunkMerge.Decode(chunk, samples);
            samples.Sort(static (left, right) => left.TimeMs.CompareTo(right.TimeMs));
            ChunkMerge.Encode(CollectionsMarshal.AsSpan(samples), Inputs.WindowMs, rank: 1, arena, encoded);
            bytes += encoded.Sum(static chunk => (long)chunk.Data.Length);
        }

        return bytes;
    }

    [IterationCleanup]
    public void DeleteRun()
    {
        foreach (TableEntry table in _written?.Tables ?? []) _store.Delete(table);
        _written = null;
    }

    [GlobalCleanup]
    public void Clean()
    {
        foreach (LevelTable table in _tables) table.Reader.Dispose();
        _store.Dispose();
    }

    private LevelTable Flush(int source, int sources)
    {
        using MemTable memTable = Inputs.NewMemTable(source + 1);
        int each = Scrapes / sources;
        Inputs.Fill(memTable, Input == Input.Worst
            ? Enumerable.Range(0, each).Select(scrape => scrape * sources + source)
            : Enumerable.Range(source * each, each));
        return _store.Open(_store.Flush(memTable));
    }

    private sealed class ChunkList : ISeriesChunkSink
    {
        public List<SeriesChunk> Found { get; } = [];

        public void Add(int idIndex, in SeriesChunk chunk) => Found.Add(chunk);
    }
}
