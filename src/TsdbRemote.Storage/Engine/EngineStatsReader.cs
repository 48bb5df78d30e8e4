using System.Collections.Immutable;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Sums the counters of all parts into one <see cref="EngineStats"/>, on demand.</summary>
internal static class EngineStatsReader
{
    public static EngineStats Read(
        EngineCounters counters, EnginePhase phase, EngineFailure failure, ImmutableArray<string> damages,
        CurrentState current, WriteAheadLog wal, long unflushedLogBytes, IReadOnlyDictionary<string, double> openSeconds, long inFlightBytes,
        int metadataFamilies, ExemplarStats exemplars, CompactionWork compaction, RunningBlockCompaction? blockCompaction, PaceSignals pace, WriteStall stall, EngineModes modes, int levels, ReplayPace replayed,
        bool isRescued)
    {
        CompactionPressure pressure = compaction.Measure();
        EngineState state = current.Acquire();
        try
        {
            return new EngineStats
            {
                Phase = phase,
                Failure = failure.Cause?.Message,
                IsRescued = isRescued,
                Damages = damages,
                WritePath = modes.WritePath,
                ReadPath = modes.ReadPath,
                WriteRequests = Interlocked.Read(ref counters.WriteRequests),
                WriteRequestsFailed = Interlocked.Read(ref counters.WriteRequestsFailed),
                SamplesStored = Interlocked.Read(ref counters.SamplesStored),
                SamplesDuplicate = Interlocked.Read(ref counters.SamplesDuplicate),
                SamplesReplaced = Interlocked.Read(ref counters.SamplesReplaced),
                SamplesOutOfOrder = Interlocked.Read(ref counters.SamplesOutOfOrder),
                HistogramsWritten = Interlocked.Read(ref counters.HistogramsWritten),
                ExemplarsStored = Interlocked.Read(ref counters.ExemplarsStored),
                ExemplarsDuplicate = Interlocked.Read(ref counters.ExemplarsDuplicate),
                ExemplarsDropped = ByKey<ExemplarDrop>(counters.ExemplarsDropped),
                Exemplars = exemplars,
                SamplesRejected = ByKey<RejectionReason>(counters.Rejected),
                LimitsExceeded = ByKey<Limit>(counters.LimitsExceeded),
                SeriesCreated = Interlocked.Read(ref counters.SeriesCreated),
                Series = state.Dictionary.Count,
                DictionaryBytes = state.Dictionary.MemoryBytes,
                DictionaryEpoch = state.Dictionary.Epoch,
                DictionaryFileBytes = state.Manifest.Dictionaries.Sum(static file => file.Length),
                DictionaryFileSeries = state.Manifest.Dictionaries.Sum(static file => file.Entries),
                Tombstones = state.Manifest.Tombstones.Length,
                Deletes = Interlocked.Read(ref counters.Deletes),
                DictionaryCollections = Interlocked.Read(ref counters.Collections),
                DictionaryCollectionErrors = Interlocked.Read(ref counters.CollectionErrors),
                DictionaryCollectionSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.CollectionTicks)).TotalSeconds,
                SeriesDropped = Interlocked.Read(ref counters.SeriesDropped),
                MemTables = [.. state.MemTables.NewestFirst.Select(memTable => Of(memTable, memTable == state.MemTables.Active))],
                Rotations = ByKey<RotationReason>(counters.Rotations),
                Wal = wal.Stats,
                WalSegment = wal.Segment,
                WalUnflushedBytes = unflushedLogBytes,
                Flushes = Interlocked.Read(ref counters.Flushes),
                FlushErrors = Interlocked.Read(ref counters.FlushErrors),
                FlushesToBlocks = Interlocked.Read(ref counters.FlushesToBlocks),
                FlushBlocks = Interlocked.Read(ref counters.FlushBlocks),
                FlushBytes = Interlocked.Read(ref counters.FlushBytes),
                FlushSamples = Interlocked.Read(ref counters.FlushSamples),
                FlushSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.FlushTicks)).TotalSeconds,
                LastFlushMs = Interlocked.Read(ref counters.LastFlushMs),
                MergedDuplicates = Interlocked.Read(ref counters.MergedDuplicates),
                MergedConflicts = Interlocked.Read(ref counters.MergedConflicts),
                StallSecondsBy = ByKey<StallReason>(counters.StallTicks).ToDictionary(static pair => pair.Key, static pair => TimeSpan.FromTicks(pair.Value).TotalSeconds),
                StallsRefusedBy = ByKey<StallReason>(counters.StallsRefused),
                StallSignals = stall.Signals(pressure),
                Stalls = stall.Episodes,
                Compactions = [.. Enumerable.Range(1, Math.Max(levels - 1, state.Levels.Levels.LastOrDefault())).Select(level => Of(level, counters.Compactions[level]))],
                CompactionsRunning = compaction.Running,
                CompactionsDue = pressure.Jobs,
                CompactionDebtBytes = pressure.DebtBytes,
                CompactionSleepSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.CompactionSleepTicks)).TotalSeconds,
                CompactionDuty = CompactionPace.DutyOf(pace),
                Reads = Interlocked.Read(ref counters.Reads),
                Tables = [.. state.Levels.Tables.Select(static table => table.Entry)],
                Blocks = [.. state.Blocks.Blocks.Select(Of)],
                Conversions = Interlocked.Read(ref counters.Conversions),
                LateConversions = Interlocked.Read(ref counters.LateConversions),
                ConversionErrors = Interlocked.Read(ref counters.ConversionErrors),
                ConversionSleepSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.ConversionSleepTicks)).TotalSeconds,
                ConversionSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.ConversionTicks)).TotalSeconds,
                ConversionSamples = Interlocked.Read(ref counters.ConversionSamples),
                ConversionBytes = Interlocked.Read(ref counters.ConversionBytes),
                BlockCompactions = Interlocked.Read(ref counters.BlockCompactions),
                BlockCompactionErrors = Interlocked.Read(ref counters.BlockCompactionErrors),
                BlockCompactionSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.BlockCompactionTicks)).TotalSeconds,
                BlockCompactionSleepSeconds = TimeSpan.FromTicks(Interlocked.Read(ref counters.BlockCompactionSleepTicks)).TotalSeconds,
                BlockCompactionRunning = blockCompaction,
                BlocksMerged = Interlocked.Read(ref counters.BlocksMerged),
                BlockCompactionBytesRead = Interlocked.Read(ref counters.BlockCompactionBytesRead),
                BlockCompactionBytesWritten = Interlocked.Read(ref counters.BlockCompactionBytesWritten),
                BlocksAdopted = Interlocked.Read(ref counters.BlocksAdopted),
                BlocksQuarantined = Interlocked.Read(ref counters.BlocksQuarantined),
                BlocksDeleted = Interlocked.Read(ref counters.BlocksDeleted),
                MatcherCacheHits = state.Blocks.Blocks.Sum(static block => block.Reader.Postings?.Hits ?? 0),
                MatcherCacheMisses = state.Blocks.Blocks.Sum(static block => block.Reader.Postings?.Misses ?? 0),
                BloomHits = state.Levels.Tables.Sum(static table => table.Reader.BloomHits),
                BloomMisses = state.Levels.Tables.Sum(static table => table.Reader.BloomMisses),
                ManifestGeneration = state.Manifest.Generation,
                TornTails = Interlocked.Read(ref counters.TornTails),
                TornTailBytes = Interlocked.Read(ref counters.TornTailBytes),
                Corruptions = Interlocked.Read(ref counters.Corruptions),
                CorruptBytes = Interlocked.Read(ref counters.CorruptBytes),
                RecordsReplayed = Interlocked.Read(ref counters.RecordsReplayed),
                SamplesReplayed = Interlocked.Read(ref counters.SamplesReplayed),
                RecordsUndecodable = Interlocked.Read(ref counters.RecordsUndecodable),
                ReplayBytesPerSecond = replayed.BytesPerSecond,
                OpenSeconds = openSeconds,
                InFlightBytes = inFlightBytes,
                MetadataFamilies = metadataFamilies,
            };
        }
        finally
        {
            state.Release();
        }
    }

    /// <summary>The tables of each window by level, oldest window first.</summary>
    public static ImmutableArray<WindowStats> Windows(LevelSet levels) =>
        [.. levels.Windows.Select(start => new WindowStats(start, [.. levels.Runs(start).GroupBy(static run => run.Level).OrderBy(static level => level.Key).Select(level =>
            new WindowLevelStats(level.Key, level.Count(), level.Sum(static run => run.Tables.Length), level.Sum(run => run.BytesIn(start))))]))];

    private static MemTableStats Of(MemTable memTable, bool active) => new(
        memTable.Segment, active, memTable.Bytes, memTable.SeriesCount, memTable.SampleCount, memTable.HistogramCount, memTable.MinTimeMs, memTable.MaxTimeMs);

    private static LevelCompactions Of(int level, LevelCounters counters) => new(
        level, Interlocked.Read(ref counters.Count), Interlocked.Read(ref counters.Errors), TimeSpan.FromTicks(Interlocked.Read(ref counters.Ticks)).TotalSeconds,
        Interlocked.Read(ref counters.TablesMerged), Interlocked.Read(ref counters.TablesWritten), Interlocked.Read(ref counters.BytesRead),
        Interlocked.Read(ref counters.BytesWritten), Interlocked.Read(ref counters.Samples));

    private static StoredBlockStats Of(StoredBlock block)
    {
        BlockMeta meta = block.Reader.Meta;
        return new StoredBlockStats(
            block.Entry.Ulid, meta.Compaction.Level, block.Rank, block.Entry.Adopted, meta.MinTimeMs, meta.EndTimeMs, meta.Stats.Series, meta.Stats.Chunks,
            meta.Stats.Samples, block.Reader.Bytes, block.Reader.MemoryBytes);
    }

    private static Dictionary<T, long> ByKey<T>(long[] counts)
        where T : struct, Enum => Enum.GetValues<T>().ToDictionary(static key => key, key => Interlocked.Read(ref counts[Convert.ToInt32(key, null)]));
}
