using System.Collections.Immutable;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Running counts of the engine. Plain fields added to with interlocked operations once per request, never per sample.</summary>
internal sealed class EngineCounters
{
    public long WriteRequests;
    public long WriteRequestsFailed;
    public long SamplesStored;
    public long SamplesDuplicate;
    public long SamplesReplaced;
    public long SamplesOutOfOrder;
    public long HistogramsWritten;
    public long ExemplarsStored;
    public long ExemplarsDuplicate;
    public readonly long[] ExemplarsDropped = new long[Enum.GetValues<ExemplarDrop>().Length];
    public long SeriesCreated;
    public long Flushes;
    public long FlushErrors;
    public long FlushesToBlocks;
    public long FlushBlocks;
    public long FlushBytes;
    public long FlushSamples;
    public long FlushTicks;
    public long LastFlushMs;
    public long MergedDuplicates;
    public long MergedConflicts;
    public long Conversions;
    public long LateConversions;
    public long ConversionErrors;
    public long ConversionTicks;
    public long ConversionSleepTicks;
    public long ConversionSamples;
    public long ConversionBytes;
    public long BlockCompactions;
    public long BlockCompactionErrors;
    public long BlockCompactionTicks;
    public long BlockCompactionSleepTicks;
    public long BlocksMerged;
    public long BlockCompactionBytesRead;
    public long BlockCompactionBytesWritten;
    public long BlocksAdopted;
    public long BlocksQuarantined;
    public long BlocksDeleted;
    public long CompactionSleepTicks;
    public long Deletes;
    public long Collections;
    public long CollectionErrors;
    public long CollectionTicks;
    public long SeriesDropped;
    public long Reads;
    public long TornTails;
    public long TornTailBytes;
    public long Corruptions;
    public long CorruptBytes;
    public long RecordsReplayed;
    public long SamplesReplayed;
    public long RecordsUndecodable;
    public readonly LevelCounters[] Compactions = [.. Enumerable.Range(0, Options.LsmOptions.MaxLevels).Select(static _ => new LevelCounters())];
    public readonly long[] StallTicks = new long[Enum.GetValues<StallReason>().Length];
    public readonly long[] StallsRefused = new long[Enum.GetValues<StallReason>().Length];
    public readonly long[] Rejected = new long[Enum.GetValues<RejectionReason>().Length];
    public readonly long[] Rotations = new long[Enum.GetValues<MemTables.RotationReason>().Length];

    /// <summary>Refusals, by limit.</summary>
    public readonly long[] LimitsExceeded = new long[Enum.GetValues<Limit>().Length];

    /// <summary>Counts what a limit refused: a request, a series or a read.</summary>
    public void Count(Limit limit) => Interlocked.Increment(ref LimitsExceeded[(int)limit]);

    public static void Add(ref long counter, long value)
    {
        if (value != 0) Interlocked.Add(ref counter, value);
    }
}

/// <summary>Running counts of the merges into one level.</summary>
internal sealed class LevelCounters
{
    public long Count;
    public long Errors;
    public long Ticks;
    public long TablesMerged;
    public long TablesWritten;
    public long BytesRead;
    public long BytesWritten;
    public long Samples;
}

/// <summary>Merges into one level, since the start.</summary>
/// <param name="Level">The level.</param>
/// <param name="Count">Merges committed.</param>
/// <param name="Errors">Attempts that failed.</param>
/// <param name="Seconds">Time in merges that were committed, sleep included.</param>
/// <param name="TablesMerged">Tables that went into them.</param>
/// <param name="TablesWritten">Tables that came out of them.</param>
/// <param name="BytesRead">Bytes read.</param>
/// <param name="BytesWritten">Bytes of the tables that came out.</param>
/// <param name="Samples">Samples in them.</param>
public sealed record LevelCompactions(
    int Level, long Count, long Errors, double Seconds, long TablesMerged, long TablesWritten, long BytesRead, long BytesWritten, long Samples);

/// <summary>A level of a window, for people.</summary>
/// <param name="Level">The level.</param>
/// <param name="Runs">Sorted runs, each of one table or of several with disjoint series: what a read of one series looks into.</param>
/// <param name="Tables">Tables.</param>
/// <param name="Bytes">Bytes of the window in them.</param>
public sealed record WindowLevelStats(int Level, int Runs, int Tables, long Bytes);

/// <summary>The tables of a window, for people.</summary>
/// <param name="StartMs">Start of the window, ms.</param>
/// <param name="Levels">Its levels that hold something, ascending.</param>
public sealed record WindowStats(long StartMs, ImmutableArray<WindowLevelStats> Levels);

/// <summary>One MemTable, for people.</summary>
/// <param name="Segment">Its log segment.</param>
/// <param name="Active">True for the one that takes writes.</param>
/// <param name="Bytes">Chunk bytes and state.</param>
/// <param name="Series">Series in it.</param>
/// <param name="Samples">Samples in it.</param>
/// <param name="Histograms">Those of them that are native histograms.</param>
/// <param name="MinTimeMs">Oldest sample, ms; meaningless without samples.</param>
/// <param name="MaxTimeMs">Newest sample, ms; meaningless without samples.</param>
public sealed record MemTableStats(long Segment, bool Active, long Bytes, long Series, long Samples, long Histograms, long MinTimeMs, long MaxTimeMs);

/// <summary>One block, for people.</summary>
/// <param name="Ulid">Its name.</param>
/// <param name="Level">1 for one made of tables.</param>
/// <param name="Rank">How new its samples are; negative for foreign blocks.</param>
/// <param name="Adopted">True for a foreign one.</param>
/// <param name="MinTimeMs">No sample of it is before, ms.</param>
/// <param name="EndTimeMs">Every sample of it is before, ms.</param>
/// <param name="Series">Series in it.</param>
/// <param name="Chunks">Chunks in it.</param>
/// <param name="Samples">Samples in it.</param>
/// <param name="Bytes">Bytes on disk.</param>
/// <param name="MemoryBytes">Bytes that it takes in memory while it is open.</param>
public sealed record StoredBlockStats(
    string Ulid, int Level, long Rank, bool Adopted, long MinTimeMs, long EndTimeMs, long Series, long Chunks, long Samples, long Bytes, long MemoryBytes);

/// <summary>The engine's figures at one instant. Counters count from the start of the process.</summary>
public sealed record EngineStats
{
    /// <summary>What the engine is doing.</summary>
    public required EnginePhase Phase { get; init; }

    /// <summary>Why it is read-only; null if it is not.</summary>
    public required string? Failure { get; init; }

    /// <summary>True if it is read-only for a failed log, and everything acknowledged before is in tables: nothing is lost.</summary>
    public required bool IsRescued { get; init; }

    /// <summary>What was found damaged since the start: files, ranges, what was done. Not empty means degraded.</summary>
    public required ImmutableArray<string> Damages { get; init; }

    /// <summary>What MemTables become now.</summary>
    public required Options.WritePathChoice WritePath { get; init; }

    /// <summary>Where reads look besides MemTables.</summary>
    public required Options.ReadPathChoice ReadPath { get; init; }

    /// <summary>Write requests, all outcomes.</summary>
    public required long WriteRequests { get; init; }

    /// <summary>Write requests answered with 503.</summary>
    public required long WriteRequestsFailed { get; init; }

    /// <summary>Samples stored in MemTables.</summary>
    public required long SamplesStored { get; init; }

    /// <summary>Samples that were there already with the same value.</summary>
    public required long SamplesDuplicate { get; init; }

    /// <summary>Samples that replaced another value at the same time, as far as MemTables saw it.</summary>
    public required long SamplesReplaced { get; init; }

    /// <summary>Samples that came behind a newer one of their series.</summary>
    public required long SamplesOutOfOrder { get; init; }

    /// <summary>Native histograms among the samples that were stored, there already, or put in another's place.</summary>
    public required long HistogramsWritten { get; init; }

    /// <summary>Exemplars that were taken and were new.</summary>
    public required long ExemplarsStored { get; init; }

    /// <summary>Exemplars that were there already.</summary>
    public required long ExemplarsDuplicate { get; init; }

    /// <summary>Exemplars that were not taken, by reason.</summary>
    public required IReadOnlyDictionary<ExemplarDrop, long> ExemplarsDropped { get; init; }

    /// <summary>Exemplars that are kept.</summary>
    public required Exemplars.ExemplarStats Exemplars { get; init; }

    /// <summary>Refused samples by reason.</summary>
    public required IReadOnlyDictionary<RejectionReason, long> SamplesRejected { get; init; }

    /// <summary>Requests, series and reads refused, by the limit that refused them.</summary>
    public required IReadOnlyDictionary<Limit, long> LimitsExceeded { get; init; }

    /// <summary>Series created since the start.</summary>
    public required long SeriesCreated { get; init; }

    /// <summary>Series in the dictionary.</summary>
    public required long Series { get; init; }

    /// <summary>Bytes of the dictionary in memory.</summary>
    public required long DictionaryBytes { get; init; }

    /// <summary>Counts the dictionaries of this process, from 1: each collection makes the next.</summary>
    public required int DictionaryEpoch { get; init; }

    /// <summary>Committed bytes of the dictionary file.</summary>
    public required long DictionaryFileBytes { get; init; }

    /// <summary>Series in the dictionary file.</summary>
    public required long DictionaryFileSeries { get; init; }

    /// <summary>Why something that has to be written waits for room on the disk; null if nothing does.</summary>
    public string? NoRoom { get; init; }

    /// <summary>Deletes that are not carried out in all files yet.</summary>
    public required int Tombstones { get; init; }

    /// <summary>Selectors that were deleted.</summary>
    public required long Deletes { get; init; }

    /// <summary>Collections of the dictionary: series without data in MemTables and tables left memory and file.</summary>
    public required long DictionaryCollections { get; init; }

    /// <summary>Attempts of collections that failed.</summary>
    public required long DictionaryCollectionErrors { get; init; }

    /// <summary>Time spent in collections and in looking whether one is due, seconds.</summary>
    public required double DictionaryCollectionSeconds { get; init; }

    /// <summary>Series dropped by collections.</summary>
    public required long SeriesDropped { get; init; }

    /// <summary>MemTables, newest first.</summary>
    public required ImmutableArray<MemTableStats> MemTables { get; init; }

    /// <summary>Rotations by reason.</summary>
    public required IReadOnlyDictionary<MemTables.RotationReason, long> Rotations { get; init; }

    /// <summary>The log's own figures.</summary>
    public required Wal.WalStats Wal { get; init; }

    /// <summary>Active log segment.</summary>
    public required long WalSegment { get; init; }

    /// <summary>Log bytes that no table holds yet.</summary>
    public required long WalUnflushedBytes { get; init; }

    /// <summary>Committed flushes.</summary>
    public required long Flushes { get; init; }

    /// <summary>Failed flushes.</summary>
    public required long FlushErrors { get; init; }

    /// <summary>Of the committed flushes those straight into blocks.</summary>
    public required long FlushesToBlocks { get; init; }

    /// <summary>Blocks that these made.</summary>
    public required long FlushBlocks { get; init; }

    /// <summary>Bytes of flushed tables, and of chunks and indexes of flushed blocks.</summary>
    public required long FlushBytes { get; init; }

    /// <summary>Samples in flushed tables and blocks.</summary>
    public required long FlushSamples { get; init; }

    /// <summary>Time spent in flushes, seconds.</summary>
    public required double FlushSeconds { get; init; }

    /// <summary>When the last flush was committed, ms since the epoch; 0 if none was.</summary>
    public required long LastFlushMs { get; init; }

    /// <summary>Exact repetitions dropped by flushes.</summary>
    public required long MergedDuplicates { get; init; }

    /// <summary>Older versions of a sample dropped by flushes.</summary>
    public required long MergedConflicts { get; init; }

    /// <summary>Time that writers were held back, by reason, seconds.</summary>
    public required IReadOnlyDictionary<StallReason, double> StallSecondsBy { get; init; }

    /// <summary>Writers that waited too long and were told to come again, by reason.</summary>
    public required IReadOnlyDictionary<StallReason, long> StallsRefusedBy { get; init; }

    /// <summary>The signals that hold writers back, with their thresholds.</summary>
    public required ImmutableArray<StallSignal> StallSignals { get; init; }

    /// <summary>What held writers back: what does now, then the last ones, newest first.</summary>
    public required ImmutableArray<WriteStallEpisode> Stalls { get; init; }

    /// <summary>Time that writers were held back, seconds.</summary>
    public double StallSeconds => StallSecondsBy.Values.Sum();

    /// <summary>Writers that waited too long and were told to come again.</summary>
    public long StallsRefused => StallsRefusedBy.Values.Sum();

    /// <summary>Merges of tables by the level they go into, from level 1 on.</summary>
    public required ImmutableArray<LevelCompactions> Compactions { get; init; }

    /// <summary>Merges under way.</summary>
    public required ImmutableArray<RunningCompaction> CompactionsRunning { get; init; }

    /// <summary>Windows for which a merge is due, those under way counted.</summary>
    public required int CompactionsDue { get; init; }

    /// <summary>Bytes of the tables that those merges take.</summary>
    public required long CompactionDebtBytes { get; init; }

    /// <summary>Time that merges slept so that ingestion and reads go first, seconds.</summary>
    public required double CompactionSleepSeconds { get; init; }

    /// <summary>Part of its time that a merge, a conversion or a block compaction would work now, from 0.2 to 1.</summary>
    public required double CompactionDuty { get; init; }

    /// <summary>Windows for which a merge is due and none is under way.</summary>
    public int CompactionsWaiting => Math.Max(0, CompactionsDue - CompactionsRunning.Length);

    /// <summary>
    /// Bytes written by flushes, merges, conversions and block compactions for each byte that flushes wrote, of tables and blocks, not of log and dictionary;
    /// 0 before the first flush.
    /// </summary>
    public double WriteAmplification => FlushBytes == 0
        ? 0
        : (double)(FlushBytes + Compactions.Sum(static level => level.BytesWritten) + ConversionBytes + BlockCompactionBytesWritten) / FlushBytes;

    /// <summary>Snapshots taken by reads.</summary>
    public required long Reads { get; init; }

    /// <summary>Tables, newest first.</summary>
    public required ImmutableArray<TableEntry> Tables { get; init; }

    /// <summary>Blocks, the newest last.</summary>
    public required ImmutableArray<StoredBlockStats> Blocks { get; init; }

    /// <summary>Windows converted to blocks.</summary>
    public required long Conversions { get; init; }

    /// <summary>Of these, windows that a block had already: late data.</summary>
    public required long LateConversions { get; init; }

    /// <summary>Attempts of work on blocks that failed.</summary>
    public required long ConversionErrors { get; init; }

    /// <summary>Time spent in conversions, sleep included, seconds.</summary>
    public required double ConversionSeconds { get; init; }

    /// <summary>Time that conversions slept so that ingestion and reads go first, seconds.</summary>
    public required double ConversionSleepSeconds { get; init; }

    /// <summary>Samples in blocks made by conversions.</summary>
    public required long ConversionSamples { get; init; }

    /// <summary>Bytes of blocks made by conversions, chunks and index.</summary>
    public required long ConversionBytes { get; init; }

    /// <summary>Block compactions: several blocks became one.</summary>
    public required long BlockCompactions { get; init; }

    /// <summary>Attempts of block compaction that failed.</summary>
    public required long BlockCompactionErrors { get; init; }

    /// <summary>Time spent in block compactions, sleep included, seconds.</summary>
    public required double BlockCompactionSeconds { get; init; }

    /// <summary>Time that block compactions slept so that ingestion and reads go first, seconds.</summary>
    public required double BlockCompactionSleepSeconds { get; init; }

    /// <summary>The block compaction under way; null if there is none.</summary>
    public required RunningBlockCompaction? BlockCompactionRunning { get; init; }

    /// <summary>Blocks that went into others.</summary>
    public required long BlocksMerged { get; init; }

    /// <summary>Bytes of blocks that went into others.</summary>
    public required long BlockCompactionBytesRead { get; init; }

    /// <summary>Bytes of blocks made of others, chunks and index.</summary>
    public required long BlockCompactionBytesWritten { get; init; }

    /// <summary>Foreign blocks taken into service.</summary>
    public required long BlocksAdopted { get; init; }

    /// <summary>Foreign blocks that did not pass verification.</summary>
    public required long BlocksQuarantined { get; init; }

    /// <summary>Blocks deleted by retention.</summary>
    public required long BlocksDeleted { get; init; }

    /// <summary>Evaluated matchers of blocks that were still known.</summary>
    public required long MatcherCacheHits { get; init; }

    /// <summary>Evaluated matchers of blocks that had to be evaluated.</summary>
    public required long MatcherCacheMisses { get; init; }

    /// <summary>Bloom filters that said no, over all tables.</summary>
    public required long BloomHits { get; init; }

    /// <summary>Bloom filters that let a look-up pass, over all tables.</summary>
    public required long BloomMisses { get; init; }

    /// <summary>Generation of the manifest.</summary>
    public required long ManifestGeneration { get; init; }

    /// <summary>Torn ends of log segments cut at open.</summary>
    public required long TornTails { get; init; }

    /// <summary>Bytes of them.</summary>
    public required long TornTailBytes { get; init; }

    /// <summary>Damaged places in log segments found at open.</summary>
    public required long Corruptions { get; init; }

    /// <summary>Bytes of them.</summary>
    public required long CorruptBytes { get; init; }

    /// <summary>Log records replayed at open.</summary>
    public required long RecordsReplayed { get; init; }

    /// <summary>Samples replayed at open.</summary>
    public required long SamplesReplayed { get; init; }

    /// <summary>Log records that could not be decoded and were put aside.</summary>
    public required long RecordsUndecodable { get; init; }

    /// <summary>Log bytes replayed at open a second, as measured; null if there was too little to tell, and 64 MiB a processor are assumed.</summary>
    public required long? ReplayBytesPerSecond { get; init; }

    /// <summary>Seconds of each phase of the start.</summary>
    public required IReadOnlyDictionary<string, double> OpenSeconds { get; init; }

    /// <summary>Bytes of request bodies in flight.</summary>
    public required long InFlightBytes { get; init; }

    /// <summary>Metric families whose metadata is known.</summary>
    public required int MetadataFamilies { get; init; }
}
