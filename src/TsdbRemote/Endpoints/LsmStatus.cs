using System.Collections.Immutable;
using System.Text.Json;
using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>The page <c>/api/v1/status/lsm</c>: the engine's figures as an operator would ask for them. Pure.</summary>
internal static class LsmStatus
{
    /// <summary>Arranges the figures.</summary>
    public static object Of(EngineStats stats, ImmutableArray<WindowStats> windows, ReplayProgress replay) => new
    {
        Phase = Name(stats.Phase),
        stats.Failure,
        NothingLost = stats.Failure is null ? (bool?)null : stats.IsRescued,
        stats.Damages,
        Modes = new { WritePath = Name(stats.WritePath), ReadPath = Name(stats.ReadPath) },
        Series = new { stats.Series, Created = stats.SeriesCreated, Dropped = stats.SeriesDropped, stats.DictionaryBytes, stats.MetadataFamilies },
        stats.Exemplars,
        Dictionary = new
        {
            Epoch = stats.DictionaryEpoch,
            FileBytes = stats.DictionaryFileBytes,
            FileSeries = stats.DictionaryFileSeries,
            Collections = stats.DictionaryCollections,
            CollectionErrors = stats.DictionaryCollectionErrors,
            CollectionSeconds = stats.DictionaryCollectionSeconds,
        },
        stats.MemTables,
        Rotations = stats.Rotations.Where(static pair => pair.Key != Storage.MemTables.RotationReason.None)
            .ToDictionary(static pair => Name(pair.Key), static pair => pair.Value),
        Log = new
        {
            Segment = stats.WalSegment,
            UnflushedBytes = stats.WalUnflushedBytes,
            stats.Wal.Appends,
            stats.Wal.Bytes,
            Groups = stats.Wal.Groups,
            stats.Wal.Syncs,
            SyncSeconds = stats.Wal.SyncTime.TotalSeconds,
            stats.Wal.UnsyncedAcknowledgedRecords,
            stats.Wal.UnsyncedAcknowledgedBytes,
        },
        Replay = new
        {
            replay.BytesDone,
            replay.BytesTotal,
            BytesPerSecond = stats.ReplayBytesPerSecond,
            stats.RecordsReplayed,
            stats.SamplesReplayed,
            stats.RecordsUndecodable,
            stats.TornTails,
            stats.TornTailBytes,
            stats.Corruptions,
            stats.CorruptBytes,
            stats.OpenSeconds,
        },
        Flushes = new
        {
            Count = stats.Flushes,
            Errors = stats.FlushErrors,
            ToBlocks = stats.FlushesToBlocks,
            Blocks = stats.FlushBlocks,
            Bytes = stats.FlushBytes,
            Samples = stats.FlushSamples,
            Seconds = stats.FlushSeconds,
            LastTimeMs = stats.LastFlushMs,
            stats.MergedDuplicates,
            stats.MergedConflicts,
        },
        Levels = stats.Tables.GroupBy(static table => table.Level).OrderBy(static level => level.Key).Select(static level => new
        {
            Level = level.Key,
            Tables = level.Count(),
            Bytes = level.Sum(static table => table.Size),
            Samples = level.Sum(static table => table.Samples),
            Windows = level.SelectMany(static table => table.Windows).Distinct().Order(),
        }),
        Tables = stats.Tables.Select(static table => new
        {
            table.Id,
            table.Level,
            Windows = table.Windows.Length,
            table.Series,
            table.Chunks,
            table.Samples,
            table.MinTimeMs,
            table.MaxTimeMs,
            table.Size,
        }),
        Windows = Windows(stats, windows),
        stats.Blocks,
        Conversions = new
        {
            Count = stats.Conversions,
            Late = stats.LateConversions,
            Errors = stats.ConversionErrors,
            Bytes = stats.ConversionBytes,
            Samples = stats.ConversionSamples,
            Seconds = stats.ConversionSeconds,
            SleepSeconds = stats.ConversionSleepSeconds,
            stats.BlocksAdopted,
            stats.BlocksQuarantined,
            stats.BlocksDeleted,
        },
        BlockCompactions = new
        {
            Count = stats.BlockCompactions,
            Errors = stats.BlockCompactionErrors,
            Merged = stats.BlocksMerged,
            BytesRead = stats.BlockCompactionBytesRead,
            BytesWritten = stats.BlockCompactionBytesWritten,
            Seconds = stats.BlockCompactionSeconds,
            SleepSeconds = stats.BlockCompactionSleepSeconds,
            Running = stats.BlockCompactionRunning,
        },
        MatcherCache = new { Hits = stats.MatcherCacheHits, Misses = stats.MatcherCacheMisses },
        stats.ManifestGeneration,
        Bloom = new { Hits = stats.BloomHits, Misses = stats.BloomMisses },
        Compactions = new
        {
            Running = stats.CompactionsRunning.Select(static merge => new
            {
                merge.WindowStartMs,
                merge.OutputLevel,
                Reason = Name(merge.Reason),
                merge.Tables,
                merge.Bytes,
                merge.BytesRead,
                merge.Seconds,
            }),
            Waiting = stats.CompactionsWaiting,
            DebtBytes = stats.CompactionDebtBytes,
            Duty = stats.CompactionDuty,
            SleepSeconds = stats.CompactionSleepSeconds,
            Levels = stats.Compactions,
            stats.WriteAmplification,
        },
        Stalls = new
        {
            Seconds = stats.StallSeconds,
            Refused = stats.StallsRefused,
            SecondsByReason = stats.StallSecondsBy.ToDictionary(static pair => Name(pair.Key), static pair => pair.Value),
            Signals = stats.StallSignals.Select(static signal => new { Reason = Name(signal.Reason), signal.Value, signal.SlowAt, signal.StopAt }),
            Episodes = stats.Stalls.Select(static stall => new
            {
                Reason = Name(stall.Reason),
                stall.WindowStartMs,
                stall.BeganMs,
                stall.EndedMs,
                stall.Delayed,
                stall.Refused,
                stall.WaitedSeconds,
            }),
        },
        stats.InFlightBytes,
    };

    /// <summary>For each window of time that tables hold, which, and how they stand by level; and for each range that blocks hold, which. Oldest first.</summary>
    private static IEnumerable<object> Windows(EngineStats stats, ImmutableArray<WindowStats> windows)
    {
        Dictionary<long, ImmutableArray<WindowLevelStats>> levels = windows.ToDictionary(static window => window.StartMs, static window => window.Levels);
        var tables = stats.Tables.SelectMany(static table => table.Windows, static (table, window) => (window, table.Id)).ToLookup(static pair => pair.window, static pair => pair.Id);
        var blocks = stats.Blocks.ToLookup(static block => block.MinTimeMs, static block => block.Ulid);
        return tables.Select(static window => window.Key).Concat(blocks.Select(static block => block.Key)).Distinct().Order()
            .Select(start => new { StartMs = start, Tables = tables[start], Levels = levels.GetValueOrDefault(start, []), Blocks = blocks[start] });
    }

    private static string Name(Enum value) => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());
}
