using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Benchmarks;

/// <summary>A data directory without an engine: the dictionary of <see cref="Inputs"/>, and tables flushed from MemTables.</summary>
internal sealed class StoreInput : IDisposable
{
    private readonly BenchmarkDirectory _directory = new();
    private readonly DataLayout _paths;
    private readonly MemTableFlush _flush;
    private long _nextTableId = 1;

    private readonly ManifestState _manifest = new()
    {
        Generation = 1,
        DirectoryId = Guid.NewGuid(),
        BlockDurationMs = Inputs.WindowMs,
        NextSeriesId = Inputs.Series + 1,
        NextTableId = 1,
        NextSegment = 1,
        ConversionCounter = 0,
    };

    public StoreInput()
    {
        _paths = new DataLayout(_directory.Path);
        _paths.MakeDirectories(Files);
        _flush = new MemTableFlush(Files, _paths, Dictionary, bloomBitsPerKey: 10);
    }

    public LocalFileSystem Files { get; } = new();

    public SeriesDictionary Dictionary { get; } = Inputs.NewDictionary();

    /// <summary>Marks all series as being in the dictionary file, so that flushes leave it alone.</summary>
    public void MarkAllPersisted() => Dictionary.MarkPersisted([.. Enumerable.Range(0, Inputs.Series).Select(static ordinal => (uint)ordinal)]);

    /// <summary>Writes one table, and the dictionary file if there are series that it lacks.</summary>
    public TableEntry Flush(MemTable memTable)
    {
        ulong lastSequence = ((ulong)memTable.Segment << 40) + (1UL << 39);
        FlushResult result = _flush.Write(memTable, lastSequence, _manifest, _nextTableId++, Inputs.WindowMs);
        return result.Table ?? throw new InvalidOperationException("an empty MemTable was flushed");
    }

    public LevelTable Open(TableEntry table) =>
        new(table, SSTableReader.Open(Files, _paths.Table(table), table.Id, table.Size, mmap: true, cacheMetadata: true, table.Crc));

    /// <summary>Merges tables with the default sizes.</summary>
    public CompactionResult Compact(CompactionJob job) =>
        new TableCompactor(Files, _paths, new CompactionOutput(_manifest.DirectoryId, BloomBitsPerKey: 10, TargetFileBytes: 64 << 20, MaxFileBytes: 256 << 20))
            .Write(job, () => _nextTableId++, static _ => { }, CancellationToken.None);

    public void Delete(TableEntry table) => Files.Unlink(_paths.Table(table));

    /// <summary>A file for whatever a baseline writes.</summary>
    public string PlainFile => _directory.File("plain");

    public void Dispose()
    {
        Dictionary.Dispose();
        _directory.Dispose();
    }
}
