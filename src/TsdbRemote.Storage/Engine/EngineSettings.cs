using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>What each part of the engine takes of the options: the parts know their own settings, not the tree.</summary>
internal static class EngineSettings
{
    // What replay is assumed to handle a second and processor: 0.25 µs a sample of some 17 logged bytes. Not measured on the machine it runs on.
    private const long ReplayBytesPerSecond = 64L << 20;

    /// <summary>What evaluated matchers of all blocks may take together, in bytes.</summary>
    public const long MatcherCacheBytes = 32 << 20;

    // Runs that make a level of a window full. With fewer every byte is written more often, with more every read looks into more tables.
    private const int Fanout = 4;

    private const int SmallestPreallocation = 64 << 10;

    public static IngestSettings Ingest(StorageOptions options)
    {
        LimitsOptions limits = options.Limits;
        return new IngestSettings(
            new LabelLimits(limits.Labels, (int)limits.LabelName.Bytes, (int)limits.LabelValue.Bytes, (int)limits.LabelsSize.Bytes),
            (int)Math.Min(limits.Series, int.MaxValue),
            DecodeLimits.Default with
            {
                MaxSeries = limits.SeriesPerRequest,
                MaxSamples = limits.SamplesPerRequest,
                MaxLabelBytes = 4 * limits.WriteDecoded.Bytes,
            },
            options.MaxFuture.Milliseconds,
            options.OutOfOrderWindow?.Milliseconds,
            options.Conflicts == ConflictPolicy.Reject);
    }

    public static WalSettings Wal(StorageOptions options)
    {
        // Space reserved ahead should not dwarf the segment: a MemTable's log is about a tenth of its size.
        long eighth = (options.Lsm.MemTableSize?.Bytes ?? long.MaxValue) / 8;
        int preallocate = (int)Math.Clamp(eighth, SmallestPreallocation, WalSettings.DefaultPreallocateBytes);
        return new WalSettings(options.Wal.Durability, options.Wal.SyncInterval.ToTimeSpan(), options.Wal.WriteBatchSize, options.Wal.Async, preallocate);
    }

    public static FlushSettings Flush(StorageOptions options) => new(
        options.BlockDuration.Milliseconds, options.Lsm.BloomFilterBits, options.Read.Mmap, options.Read.CacheSstableMetadata,
        (int)options.Read.ReadBufferSize.Bytes);

    public static RotationPolicy Rotation(StorageOptions options, EngineModes modes)
    {
        double replayable = ReplayBytesPerSecond * options.Wal.MaxReplayTime.ToTimeSpan().TotalSeconds * Environment.ProcessorCount;
        return new RotationPolicy(
            options.Lsm.MemTableSize?.Bytes,
            options.Lsm.MemTableFlushThreshold,
            (long)Math.Min(options.Wal.MaxSize.Bytes, replayable),
            options.BlockDuration.Milliseconds,
            modes.ConvertsClosed ? options.Integration.LateDelay.Milliseconds : long.MaxValue,
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
        {
            BlockBytes = options.Integration.MaxBlockSize.Bytes,
            BlockSamples = options.Integration.MaxBlockRecords,
        };
    }

    public static ConversionPicker Conversion(StorageOptions options) => new(
        options.BlockDuration.Milliseconds, options.Integration.BlockDelay.Milliseconds, options.Integration.LateDelay.Milliseconds);

    public static BlockCompactionPicker BlockCompaction(StorageOptions options) => new(
        options.BlockDuration.Milliseconds, options.Integration.BlockDelay.Milliseconds, options.Retention.Time?.Milliseconds);

    public static CompactionSettings Compaction(StorageOptions options) => new(
        options.Lsm.CompactionStrategy, options.BlockDuration.Milliseconds, options.Lsm.SstableLevels, Fanout, options.Compaction.CompactionThreshold,
        options.Compaction.TargetFileSize.Bytes, options.Compaction.MaxFileSize.Bytes);

    /// <summary>Merges at one time: one processor is left to ingestion, where there is more than one.</summary>
    public static int CompactionWorkers(StorageOptions options, int processors) => Math.Min(options.Compaction.MaxConcurrent, Math.Max(1, processors - 1));

    public static Retention Retention(StorageOptions options) => new(options.Retention.Time?.Milliseconds, options.Retention.Size?.Bytes);
}
