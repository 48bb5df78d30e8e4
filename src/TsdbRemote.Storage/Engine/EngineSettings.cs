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
                MaxExemplars = options.Exemplars.Memory.Bytes > 0 ? DecodeLimits.Default.MaxExemplars : 0,
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

    public static RotationPolicy Rotation(StorageOptions options, EngineModes modes) => new(
        options.Lsm.MemTableSize?.Bytes,
        options.Lsm.MemTableFlushThreshold,
        LogBytes(options, ReplayPace.AssumedBytesPerSecond * Environment.ProcessorCount),
        options.BlockDuration.Milliseconds,
        modes.ConvertsClosed ? options.Integration.LateDelay.Milliseconds : long.MaxValue,
        GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
    {
        BlockBytes = options.Integration.MaxBlockSize.Bytes,
        BlockSamples = options.Integration.MaxBlockRecords,
    };

    /// <summary>Most log that may wait for a flush, in bytes: what may be kept, and what can be replayed in the time there is.</summary>
    /// <param name="options">The options.</param>
    /// <param name="replayBytesPerSecond">Bytes of log that a replay handles in a second.</param>
    public static long LogBytes(StorageOptions options, long replayBytesPerSecond) =>
        (long)Math.Min(options.Wal.MaxSize.Bytes, replayBytesPerSecond * options.Wal.MaxReplayTime.ToTimeSpan().TotalSeconds);

    public static ConversionPicker Conversion(StorageOptions options) => new(
        options.BlockDuration.Milliseconds, options.Integration.BlockDelay.Milliseconds, options.Integration.LateDelay.Milliseconds);

    public static BlockCompactionPicker BlockCompaction(StorageOptions options) => new(
        options.BlockDuration.Milliseconds, options.Integration.BlockDelay.Milliseconds, options.Integration.LateDelay.Milliseconds,
        options.Retention.Time?.Milliseconds);

    public static CompactionSettings Compaction(StorageOptions options) => new(
        options.Lsm.CompactionStrategy, options.BlockDuration.Milliseconds, options.Lsm.SstableLevels, Fanout, options.Compaction.CompactionThreshold,
        options.Compaction.TargetFileSize.Bytes, options.Compaction.MaxFileSize.Bytes);

    /// <summary>Merges at one time: one processor is left to ingestion, where there is more than one.</summary>
    public static int CompactionWorkers(StorageOptions options, int processors) => Math.Min(options.Compaction.MaxConcurrent, Math.Max(1, processors - 1));

    public static Retention Retention(StorageOptions options) => new(options.Retention.Time?.Milliseconds, options.Retention.Size?.Bytes);
}
