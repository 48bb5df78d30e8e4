using System.Text.Json;
using Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Telemetry;

/// <summary>The engine's figures under their public names, read when somebody scrapes. <c>docs/metrics.md</c> lists them.</summary>
/// <remarks>Not here: what HTTP counts (<see cref="HttpMetrics"/>), process and runtime (prometheus-net's own).</remarks>
internal sealed class Metrics
{
    private readonly MetricFactory _factory;
    private readonly List<Action<EngineStats>> _updates = [];

    /// <summary>Registers the metrics.</summary>
    /// <param name="registry">Where they are scraped.</param>
    /// <param name="read">The figures; null while there is no engine.</param>
    public Metrics(CollectorRegistry registry, Func<EngineStats?> read)
    {
        _factory = Prometheus.Metrics.WithCustomRegistry(registry);
        AddWrites();
        AddLog();
        AddMemTables();
        AddFlushes();
        AddStalls();
        AddCompactions();
        AddBlocks();
        AddReads();
        AddOpening();
        registry.AddBeforeCollectCallback(() =>
        {
            if (read() is not { } stats) return;
            foreach (Action<EngineStats> update in _updates) update(stats);
        });
    }

    private void AddWrites()
    {
        Count("tsdb_remote_samples_written_total", "Samples accepted: stored, there already with the same value, or in place of another value.",
            static stats => stats.SamplesStored + stats.SamplesDuplicate + stats.SamplesReplaced);
        Count("tsdb_remote_samples_duplicate_total", "Samples that were there already with the same value.", static stats => stats.SamplesDuplicate);
        Count("tsdb_remote_samples_replaced_total", "Samples that replaced another value at the same time.", static stats => stats.SamplesReplaced);
        Count("tsdb_remote_samples_out_of_order_total", "Samples that came behind a newer one of their series.", static stats => stats.SamplesOutOfOrder);
        Count("tsdb_remote_histograms_written_total", "Of the samples written, native histograms.", static stats => stats.HistogramsWritten);
        Count("tsdb_remote_exemplars_written_total", "Exemplars accepted: new, or there already.", static stats => stats.ExemplarsStored + stats.ExemplarsDuplicate);
        CountEach("tsdb_remote_exemplars_dropped_total", "Exemplars that were not taken, by reason.", "reason", static stats => stats.ExemplarsDropped);
        Count("tsdb_remote_exemplars_evicted_total", "Exemplars that made way for newer ones.", static stats => stats.Exemplars.Evicted);
        Show("tsdb_remote_exemplars", "Exemplars that are kept.", static stats => stats.Exemplars.Count);
        Show("tsdb_remote_exemplar_series", "Series that have exemplars.", static stats => stats.Exemplars.Series);
        Show("tsdb_remote_exemplar_bytes", "Memory of exemplars.", static stats => stats.Exemplars.Bytes);
        CountEach("tsdb_remote_samples_rejected_total", "Samples refused, by reason.", "reason", static stats => stats.SamplesRejected);
        Counter limits = _factory.CreateCounter("tsdb_remote_limit_exceeded_total", "Requests, series and reads refused, by the option whose limit they exceed.", "limit");
        _updates.Add(stats =>
        {
            foreach ((Limit limit, long count) in stats.LimitsExceeded) limits.WithLabels(limit.Path()).IncTo(count);
        });
        Count("tsdb_remote_write_requests_unavailable_total", "Write requests told to come again.", static stats => stats.WriteRequestsFailed);
        Show("tsdb_remote_write_inflight_bytes", "Decompressed request bytes in flight.", static stats => stats.InFlightBytes);
        Show("tsdb_remote_series", "Series in the dictionary.", static stats => stats.Series);
        Count("tsdb_remote_series_created_total", "Series created.", static stats => stats.SeriesCreated);
        Show("tsdb_remote_dictionary_bytes", "Memory of the series dictionary and its postings.", static stats => stats.DictionaryBytes);
        Show("tsdb_remote_dictionary_epoch", "Dictionaries of this process so far: each collection makes the next.", static stats => stats.DictionaryEpoch);
        Show("tsdb_remote_dictionary_file_bytes", "Committed bytes of the dictionary file.", static stats => stats.DictionaryFileBytes);
        Show("tsdb_remote_dictionary_file_series", "Series in the dictionary file.", static stats => stats.DictionaryFileSeries);
        Count("tsdb_remote_dictionary_collections_total", "Collections of the dictionary.", static stats => stats.DictionaryCollections);
        Count("tsdb_remote_dictionary_collection_errors_total", "Collections of the dictionary that failed.", static stats => stats.DictionaryCollectionErrors);
        Count("tsdb_remote_dictionary_collection_seconds_total", "Time spent in collections and in looking whether one is due.",
            static stats => stats.DictionaryCollectionSeconds);
        Count("tsdb_remote_series_dropped_total", "Series that left the dictionary: their data is all in blocks.", static stats => stats.SeriesDropped);
        Count("tsdb_remote_deletes_total", "Selectors deleted.", static stats => stats.Deletes);
        Show("tsdb_remote_tombstones", "Deletes that are not carried out in all files yet.", static stats => stats.Tombstones);
        Show("tsdb_remote_metadata_families", "Metric families whose metadata is known.", static stats => stats.MetadataFamilies);
    }

    private void AddLog()
    {
        Count("tsdb_remote_wal_appends_total", "Records written to the log.", static stats => stats.Wal.Appends);
        Count("tsdb_remote_wal_bytes_total", "Bytes written to the log, framing included.", static stats => stats.Wal.Bytes);
        Count("tsdb_remote_wal_batches_total", "Group commits. Appends divided by these is the mean batch.", static stats => stats.Wal.Groups);
        CountBatches();
        Count("tsdb_remote_wal_syncs_total", "Syncs of the log.", static stats => stats.Wal.Syncs);
        Count("tsdb_remote_wal_sync_seconds_total", "Time spent in syncs of the log.", static stats => stats.Wal.SyncTime.TotalSeconds);
        Show("tsdb_remote_wal_unsynced_acknowledged_records", "Records acknowledged and not synced: what a power cut would take now.",
            static stats => stats.Wal.UnsyncedAcknowledgedRecords);
        Show("tsdb_remote_wal_unflushed_bytes", "Log bytes that no table holds yet.", static stats => stats.WalUnflushedBytes);
        Show("tsdb_remote_wal_segment", "Number of the active log segment.", static stats => stats.WalSegment);
    }

    private void AddMemTables()
    {
        Show("tsdb_remote_disk_full", "1 while something that has to be written waits for room on the disk: log, flush, merge or block.", static stats => stats.NoRoom is null ? 0 : 1);
        Show("tsdb_remote_memtables", "MemTables: the active one and those that wait for their flush.", static stats => stats.MemTables.Length);
        Show("tsdb_remote_memtable_bytes", "Bytes of all MemTables.", static stats => stats.MemTables.Sum(static memTable => memTable.Bytes));
        Show("tsdb_remote_memtable_series", "Series in the active MemTable.", static stats => stats.MemTables.FirstOrDefault()?.Series ?? 0);
        Show("tsdb_remote_memtable_samples", "Samples in all MemTables.", static stats => stats.MemTables.Sum(static memTable => memTable.Samples));
        Show("tsdb_remote_memtable_histograms", "Of these, native histograms.", static stats => stats.MemTables.Sum(static memTable => memTable.Histograms));
        Show("tsdb_remote_block_only_mode", "1 while MemTables become blocks at once (write_path blocks).", static stats => stats.WritePath == WritePathChoice.Blocks ? 1 : 0);
        CountEach("tsdb_remote_memtable_rotations_total", "Switches of the active MemTable, by reason.", "reason",
            static stats => stats.Rotations.Where(static pair => pair.Key != RotationReason.None));
    }

    private void AddFlushes()
    {
        Count("tsdb_remote_flushes_total", "Flushes committed.", static stats => stats.Flushes);
        Count("tsdb_remote_flush_errors_total", "Flushes failed.", static stats => stats.FlushErrors);
        Count("tsdb_remote_flush_seconds_total", "Time spent in flushes.", static stats => stats.FlushSeconds);
        Count("tsdb_remote_flushes_to_blocks_total", "Of these, flushes straight into blocks, in block-only mode.", static stats => stats.FlushesToBlocks);
        Count("tsdb_remote_flush_blocks_total", "Blocks made by them.", static stats => stats.FlushBlocks);
        Count("tsdb_remote_flush_bytes_total", "Bytes of tables, and of chunks and indexes of blocks, written by flushes.", static stats => stats.FlushBytes);
        Count("tsdb_remote_flush_samples_total", "Samples in tables and blocks written by flushes.", static stats => stats.FlushSamples);
        Show("tsdb_remote_flush_last_timestamp_seconds", "When the last flush was committed; 0 if none was.", static stats => stats.LastFlushMs / 1000.0);
        Count("tsdb_remote_merged_duplicates_total", "Exact repetitions dropped by flushes, merges and conversions.", static stats => stats.MergedDuplicates);
        Count("tsdb_remote_merged_conflicts_total", "Older versions of a sample dropped by flushes, merges and conversions.", static stats => stats.MergedConflicts);
        Gauge tables = _factory.CreateGauge("tsdb_remote_tables", "Tables, by level.", "level");
        Gauge bytes = _factory.CreateGauge("tsdb_remote_table_bytes", "Bytes of tables, by level.", "level");
        _updates.Add(stats =>
        {
            ILookup<int, Storage.Levels.TableEntry> levels = stats.Tables.ToLookup(static table => table.Level);
            for (int level = 0; level <= stats.Compactions.Length; level++)
            {
                // Also those that are empty again: a gauge keeps its last value.
                string name = level.ToString(System.Globalization.CultureInfo.InvariantCulture);
                tables.WithLabels(name).Set(levels[level].Count());
                bytes.WithLabels(name).Set(levels[level].Sum(static table => table.Size));
            }
        });
    }

    private void AddStalls()
    {
        Counter seconds = _factory.CreateCounter("tsdb_remote_write_stall_seconds_total", "Time that writers were held back, by reason.", "reason");
        _updates.Add(stats =>
        {
            foreach ((StallReason reason, double value) in stats.StallSecondsBy) seconds.WithLabels(Name(reason)).IncTo(value);
        });
        CountEach("tsdb_remote_write_stalls_refused_total", "Writers that were held back too long and told to come again, by reason.", "reason",
            static stats => stats.StallsRefusedBy);
        Gauge signals = _factory.CreateGauge("tsdb_remote_write_stall_signal", "What may hold writers back: MemTables, bytes, or tables of a window.", "reason");
        Gauge thresholds = _factory.CreateGauge(
            "tsdb_remote_write_stall_threshold", "Where a signal delays writers (at=\"slow\") and where it stops them (at=\"stop\").", "reason", "at");
        _updates.Add(stats =>
        {
            foreach (StallSignal signal in stats.StallSignals)
            {
                string reason = Name(signal.Reason);
                signals.WithLabels(reason).Set(signal.Value);
                thresholds.WithLabels(reason, "slow").Set(signal.SlowAt);
                thresholds.WithLabels(reason, "stop").Set(signal.StopAt);
            }
        });
    }

    private void AddCompactions()
    {
        CountLevels("tsdb_remote_compactions_total", "Merges of tables, by the level they go into.", static level => level.Count);
        CountLevels("tsdb_remote_compaction_errors_total", "Merges that failed.", static level => level.Errors);
        CountLevels("tsdb_remote_compaction_seconds_total", "Time in merges, sleep included.", static level => level.Seconds);
        CountLevels("tsdb_remote_compaction_tables_merged_total", "Tables that went into merges.", static level => level.TablesMerged);
        CountLevels("tsdb_remote_compaction_tables_written_total", "Tables that came out of merges.", static level => level.TablesWritten);
        CountLevels("tsdb_remote_compaction_read_bytes_total", "Bytes that merges read.", static level => level.BytesRead);
        CountLevels("tsdb_remote_compaction_written_bytes_total", "Bytes of tables that merges wrote.", static level => level.BytesWritten);
        CountLevels("tsdb_remote_compaction_samples_total", "Samples in tables that merges wrote.", static level => level.Samples);
        Show("tsdb_remote_compactions_running", "Merges under way.", static stats => stats.CompactionsRunning.Length);
        Show("tsdb_remote_compactions_waiting", "Windows for which a merge is due and none is under way.", static stats => stats.CompactionsWaiting);
        Show("tsdb_remote_compaction_debt_bytes", "Bytes of tables that wait to be merged.", static stats => stats.CompactionDebtBytes);
        Show("tsdb_remote_compaction_duty_ratio", "Part of its time that a merge, a conversion or a block compaction works now; the rest it makes way.", static stats => stats.CompactionDuty);
        Count("tsdb_remote_compaction_sleep_seconds_total", "Time that merges slept to make way.", static stats => stats.CompactionSleepSeconds);
        Show("tsdb_remote_write_amplification_ratio", "Bytes of tables and blocks written by flushes, merges, conversions and block compactions for each byte that flushes wrote.", static stats => stats.WriteAmplification);
    }

    private void AddBlocks()
    {
        Show("tsdb_remote_blocks", "Blocks in service.", static stats => stats.Blocks.Length);
        Show("tsdb_remote_block_bytes", "Bytes of blocks on disk.", static stats => stats.Blocks.Sum(static block => block.Bytes));
        Show("tsdb_remote_block_memory_bytes", "Memory of open blocks: sparse tables of symbols and postings.", static stats => stats.Blocks.Sum(static block => block.MemoryBytes));
        Show("tsdb_remote_block_samples", "Samples in blocks; one that several blocks hold counts in each.", static stats => stats.Blocks.Sum(static block => block.Samples));
        Count("tsdb_remote_conversions_total", "Windows converted to blocks.", static stats => stats.Conversions);
        Count("tsdb_remote_conversions_late_total", "Of these, windows that a block had already.", static stats => stats.LateConversions);
        Count("tsdb_remote_block_work_errors_total", "Attempts of adoption, retention or conversion that failed.", static stats => stats.ConversionErrors);
        Count("tsdb_remote_conversion_seconds_total", "Time spent in conversions, sleep included.", static stats => stats.ConversionSeconds);
        Count("tsdb_remote_conversion_sleep_seconds_total", "Time that conversions slept to make way.", static stats => stats.ConversionSleepSeconds);
        Count("tsdb_remote_conversion_samples_total", "Samples in blocks made by conversions.", static stats => stats.ConversionSamples);
        Count("tsdb_remote_conversion_bytes_total", "Bytes of blocks made by conversions, chunks and index.", static stats => stats.ConversionBytes);
        Count("tsdb_remote_block_compactions_total", "Compactions of several blocks into one.", static stats => stats.BlockCompactions);
        Count("tsdb_remote_block_compaction_errors_total", "Attempts of it that failed.", static stats => stats.BlockCompactionErrors);
        Count("tsdb_remote_block_compaction_seconds_total", "Time spent in it, sleep included.", static stats => stats.BlockCompactionSeconds);
        Count("tsdb_remote_block_compaction_sleep_seconds_total", "Time that it slept to make way.", static stats => stats.BlockCompactionSleepSeconds);
        Show("tsdb_remote_block_compactions_running", "1 while one is under way.", static stats => stats.BlockCompactionRunning is null ? 0 : 1);
        Count("tsdb_remote_block_compaction_blocks_total", "Blocks that went into others.", static stats => stats.BlocksMerged);
        Count("tsdb_remote_block_compaction_read_bytes_total", "Bytes of blocks that went into others.", static stats => stats.BlockCompactionBytesRead);
        Count("tsdb_remote_block_compaction_written_bytes_total", "Bytes of blocks made of others, chunks and index.", static stats => stats.BlockCompactionBytesWritten);
        Count("tsdb_remote_blocks_adopted_total", "Foreign blocks taken into service.", static stats => stats.BlocksAdopted);
        Count("tsdb_remote_blocks_quarantined_total", "Foreign blocks that did not pass verification.", static stats => stats.BlocksQuarantined);
        Count("tsdb_remote_blocks_deleted_total", "Blocks deleted by retention.", static stats => stats.BlocksDeleted);
        Show("tsdb_remote_matcher_cache_hits", "Evaluated matchers that open blocks still knew.", static stats => stats.MatcherCacheHits);
        Show("tsdb_remote_matcher_cache_misses", "Matchers that open blocks had to evaluate.", static stats => stats.MatcherCacheMisses);
    }

    private void AddReads()
    {
        Count("tsdb_remote_reads_total", "Snapshots taken by reads.", static stats => stats.Reads);
        Count("tsdb_remote_bloom_hits_total", "Table look-ups that a bloom filter spared.", static stats => stats.BloomHits);
        Count("tsdb_remote_bloom_misses_total", "Table look-ups that a bloom filter let pass.", static stats => stats.BloomMisses);
    }

    private void AddOpening()
    {
        Show("tsdb_remote_ready", "1 when reads are whole and writes are taken, else 0.", static stats => stats.Phase == EnginePhase.Ready ? 1 : 0);
        Show("tsdb_remote_storage_read_only", "1 after a disk failure, until a restart.", static stats => stats.Failure is null ? 0 : 1);
        Show("tsdb_remote_damages", "Damaged files or ranges found since the start; /api/v1/status/lsm names them.", static stats => stats.Damages.Length);
        Count("tsdb_remote_replayed_records_total", "Log records replayed at the start.", static stats => stats.RecordsReplayed);
        Count("tsdb_remote_replayed_samples_total", "Samples replayed at the start.", static stats => stats.SamplesReplayed);
        Count("tsdb_remote_replay_undecodable_records_total", "Log records put aside because they do not decode.", static stats => stats.RecordsUndecodable);
        Count("tsdb_remote_wal_torn_tails_total", "Log segments whose unacknowledged end was cut at the start.", static stats => stats.TornTails);
        Count("tsdb_remote_wal_torn_tail_bytes_total", "Bytes cut with them.", static stats => stats.TornTailBytes);
        Count("tsdb_remote_wal_corruptions_total", "Damaged places found in log segments at the start.", static stats => stats.Corruptions);
        Count("tsdb_remote_wal_corrupt_bytes_total", "Bytes of them.", static stats => stats.CorruptBytes);
        Gauge phases = _factory.CreateGauge("tsdb_remote_open_duration_seconds", "Seconds from the start of opening to the end of a phase.", "phase");
        _updates.Add(stats =>
        {
            foreach ((string phase, double seconds) in stats.OpenSeconds) phases.WithLabels(phase).Set(seconds);
        });
    }

    private void CountBatches()
    {
        Counter batches = _factory.CreateCounter(
            "tsdb_remote_wal_batch_records_total", "Group commits by size: up_to is the largest number of records that a commit of the class holds.", "up_to");
        _updates.Add(stats =>
        {
            for (int i = 0; i < stats.Wal.GroupSizes.Length; i++)
            {
                bool last = i == stats.Wal.GroupSizes.Length - 1;
                string upTo = last ? "+Inf" : ((2L << i) - 1).ToString(System.Globalization.CultureInfo.InvariantCulture);
                batches.WithLabels(upTo).IncTo(stats.Wal.GroupSizes[i]);
            }
        });
    }

    private void Count(string name, string help, Func<EngineStats, double> value)
    {
        Counter counter = _factory.CreateCounter(name, help);
        _updates.Add(stats => counter.IncTo(value(stats)));
    }

    private void Show(string name, string help, Func<EngineStats, double> value)
    {
        Gauge gauge = _factory.CreateGauge(name, help);
        _updates.Add(stats => gauge.Set(value(stats)));
    }

    private void CountLevels(string name, string help, Func<LevelCompactions, double> value)
    {
        Counter counter = _factory.CreateCounter(name, help, "level");
        _updates.Add(stats =>
        {
            foreach (LevelCompactions level in stats.Compactions)
                counter.WithLabels(level.Level.ToString(System.Globalization.CultureInfo.InvariantCulture)).IncTo(value(level));
        });
    }

    private static string Name(Enum key) => JsonNamingPolicy.SnakeCaseLower.ConvertName(key.ToString());

    private void CountEach<TKey>(string name, string help, string label, Func<EngineStats, IEnumerable<KeyValuePair<TKey, long>>> values)
        where TKey : struct, Enum
    {
        Counter counter = _factory.CreateCounter(name, help, label);
        _updates.Add(stats =>
        {
            foreach ((TKey key, long value) in values(stats))
                counter.WithLabels(Name(key)).IncTo(value);
        });
    }
}
