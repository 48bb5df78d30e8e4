using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Options that decide what a write may be.</summary>
/// <param name="Labels">Limits of one series' labels.</param>
/// <param name="MaxSeries">Most series in the dictionary.</param>
/// <param name="Decode">Limits of one request.</param>
/// <param name="MaxFutureMs">How far ahead of the clock a sample may be, ms.</param>
/// <param name="OutOfOrderWindowMs">How far behind its series' newest a sample may be, ms; null for no bound.</param>
/// <param name="RejectConflicts">Whether the first value at a time stays, and another is refused.</param>
internal sealed record IngestSettings(
    LabelLimits Labels, int MaxSeries, DecodeLimits Decode, long MaxFutureMs, long? OutOfOrderWindowMs, bool RejectConflicts);

/// <summary>A request that was decided and appended: its answer once the log has committed.</summary>
/// <param name="Report">The answer.</param>
/// <param name="Committed">Completes when everything of it in the log is durable as configured.</param>
internal readonly record struct PendingWrite(WriteReport Report, Task Committed);

/// <summary>What became of a request.</summary>
internal struct WriteCounts
{
    /// <summary>Its floats.</summary>
    public AppendCounts Samples;

    /// <summary>Its histograms.</summary>
    public AppendCounts Histograms;
}

/// <summary>One request: resolve, decide, log, append. Replay of the log enters here too.</summary>
/// <remarks>
/// Order: every decision that can refuse is taken before the log gets anything, so that replay takes none of them again and a tightened limit never eats
/// what was acknowledged. If nothing was refused, the body is logged as it came; else what was accepted is logged, written as a 1.0 body, so that
/// a refused sample is not in the log at all. The log is given the record first and works while the samples are appended.
/// With <c>conflicts: reject</c> the append itself decides, so it goes first.
/// Series:    are numbered by the dictionary of the MemTable that takes the samples; a collection gives the next MemTable another.
/// Invariant: all of it runs between entering and leaving the rotation gate (shared), so record and samples land in a segment and the
/// MemTable of that segment. Thread-safe.
/// </remarks>
internal sealed class Ingest
{
    private readonly SeriesResolver _resolver;
    private readonly SampleFilter _filter;
    private readonly IngestSettings _settings;
    private readonly MetadataIntake _metadata;
    private readonly ExemplarIntake _exemplars;
    private readonly EngineCounters _counters;

    public Ingest(IngestSettings settings, MetricMetadata metadata, ExemplarRing exemplars, EngineCounters counters)
    {
        _settings = settings;
        _counters = counters;
        _metadata = new MetadataIntake(metadata);
        _exemplars = new ExemplarIntake(exemplars, settings.Labels, counters);
        _resolver = new SeriesResolver(settings.Labels, settings.MaxSeries, counters);
        _filter = new SampleFilter(settings.OutOfOrderWindowMs, settings.RejectConflicts);
    }

    /// <summary>Decodes a body.</summary>
    /// <param name="scratch">Takes it.</param>
    /// <param name="protocol">Which message it is.</param>
    /// <param name="raw">The unpacked body.</param>
    /// <param name="dictionary">Probably that of the MemTable that will take the samples; held by the caller meanwhile.</param>
    /// <returns>Null if it decoded, else the answer.</returns>
    public WriteReport? Decode(WriteScratch scratch, WriteProtocol protocol, PooledBuffer raw, SeriesDictionary dictionary)
    {
        SenderCursor cursor = dictionary.NewCursor();
        scratch.KnownBy = dictionary;
        DecodeStatus status = WalRecord.Decode(scratch.Batch, protocol, raw, _settings.Decode.For(raw.Length), ref cursor, out string? error);
        if (status == DecodeStatus.TooManySeries) _counters.Count(Limit.SeriesPerRequest);
        else if (status == DecodeStatus.TooManySamples) _counters.Count(Limit.SamplesPerRequest);
        return status switch
        {
            DecodeStatus.Ok => null,
            DecodeStatus.Malformed => WriteReport.Nothing(WriteStatus.Malformed, error ?? "the body is not the protobuf message that its content type names"),
            _ => WriteReport.Nothing(WriteStatus.TooLarge, error ?? "the request exceeds a limit"),
        };
    }

    /// <summary>Decides, logs and appends a decoded request.</summary>
    /// <param name="scratch">Holds the decoded batch.</param>
    /// <param name="kind">How the body is to be logged.</param>
    /// <param name="body">The body as it came; taken over.</param>
    /// <param name="nowMs">Receive time, which is the "now" of every decision; ms.</param>
    /// <param name="memTables">The active MemTable and the waiting ones; the caller holds the gate.</param>
    /// <param name="wal">The log, at the segment of the active MemTable.</param>
    public PendingWrite Write(WriteScratch scratch, WalRecordKind kind, PooledBuffer body, long nowMs, MemTableSet memTables, WriteAheadLog wal)
    {
        WriteBatch batch = scratch.Batch;
        SeriesDictionary dictionary = memTables.Active.Dictionary;
        ReadOnlySpan<Sample> samples;
        try
        {
            samples = Decide(scratch, kind, nowMs, memTables);
        }
        catch
        {
            body.Dispose(); // the log does not have it, and nobody else will give it back
            throw;
        }

        var winners = new WinnerLog(dictionary, wal, nowMs, batch);
        WalTicket? ticket = _settings.RejectConflicts
            ? AppendThenLog(scratch, samples, kind, body, nowMs, memTables.Active, wal, winners, out WriteCounts counts)
            : LogThenAppend(scratch, samples, kind, body, nowMs, memTables.Active, wal, winners, out counts);
        if (_filter.LooksAtHistory) SampleFilter.Remember(scratch, dictionary);
        Count(scratch, counts);
        return new PendingWrite(Report(scratch, counts), winners.WithRecords(_metadata.Note(scratch, ticket)));
    }

    /// <summary>Which series, samples, exemplars and metadata of a request are taken; nothing is stored yet but new series.</summary>
    /// <returns>The float samples that are taken, where no conflict takes more of them out.</returns>
    private ReadOnlySpan<Sample> Decide(WriteScratch scratch, WalRecordKind kind, long nowMs, MemTableSet memTables)
    {
        WriteBatch batch = scratch.Batch;
        long latestMs = nowMs > long.MaxValue - _settings.MaxFutureMs ? long.MaxValue : nowMs + _settings.MaxFutureMs;
        SeriesDictionary dictionary = memTables.Active.Dictionary;
        _resolver.Resolve(scratch, dictionary, latestMs);
        ReadOnlySpan<Sample> samples = batch.Samples;
        if (_filter.LooksAtHistory || batch.MaxTimeMs > latestMs) samples = _filter.Filter(scratch, dictionary, latestMs, memTables.NewestFirst);
        if (_filter.LooksAtHistory) _filter.FilterHistograms(scratch, dictionary, memTables.NewestFirst);
        if (batch.Exemplars.Length + batch.ExemplarsDropped > 0) _exemplars.Take(scratch, WalRecord.Of(kind).Protocol, dictionary, latestMs);
        if (batch.Metadata.Length > 0) _metadata.FindNews(scratch);
        return samples;
    }

    /// <summary>Replays one record of the log into the MemTable of its segment.</summary>
    /// <param name="scratch">Holds what it decodes to.</param>
    /// <param name="sequence">Its sequence.</param>
    /// <param name="memTable">Takes its samples.</param>
    /// <returns>Samples in it, or -1 if it holds a histogram that cannot be stored.</returns>
    public long Replay(WriteScratch scratch, ulong sequence, MemTable memTable)
    {
        WriteBatch batch = scratch.Batch;
        ReadOnlySpan<SeriesEntry> entries = batch.Series;
        ReadOnlySpan<ResolvedSeries> resolved = _resolver.ResolveAccepted(scratch, memTable.Dictionary);
        int histogram = 0;
        bool isWhole = true;
        for (int i = 0; i < entries.Length && histogram < batch.Histograms.Length; i++)
        {
            uint ordinal = resolved[i].Ordinal;
            for (int end = histogram + entries[i].HistogramCount; histogram < end; histogram++)
            {
                HistogramEntry found = batch.Histograms[histogram];
                isWhole &= found.IsValid || ordinal == ResolvedSeries.Skip;
                if (found.IsValid && ordinal != ResolvedSeries.Skip) scratch.Histograms.Add(new ResolvedHistogram(ordinal, i, histogram, found.TimeMs));
            }
        }

        WriteCounts counts = default;
        Append(scratch, resolved, batch.Samples, sequence, memTable, winners: null, ref counts);
        if (batch.Exemplars.Length > 0) _exemplars.Replay(scratch, sequence);
        _metadata.Replay(batch, sequence);

        // What was accepted once must not be lost to a rule of today: what fits no chunk is kept for people, with its record.
        return isWhole ? counts.Samples.Accepted + counts.Histograms.Accepted : -1;
    }

    private static WalTicket? LogThenAppend(
        WriteScratch scratch, ReadOnlySpan<Sample> samples, WalRecordKind kind, PooledBuffer body, long nowMs, MemTable active,
        WriteAheadLog wal, WinnerLog winners, out WriteCounts counts)
    {
        counts = default;
        ReadOnlySpan<ResolvedSeries> resolved = scratch.Resolved(scratch.Batch.Series.Length);
        WalTicket? ticket = Log(scratch, resolved, samples, kind, body, nowMs, wal);
        if (ticket is not null) Append(scratch, resolved, samples, ticket.Value.Sequence, active, winners, ref counts);
        return ticket;
    }

    private static void Append(
        WriteScratch scratch, ReadOnlySpan<ResolvedSeries> resolved, ReadOnlySpan<Sample> samples, ulong sequence, MemTable memTable,
        WinnerLog? winners, ref WriteCounts counts)
    {
        memTable.Append(resolved, samples, sequence, ref counts.Samples, winners, outcomes: default);
        if (scratch.Histograms.Count == 0) return;
        ReadOnlySpan<ResolvedHistogram> histograms = CollectionsMarshal.AsSpan(scratch.Histograms);
        memTable.AppendHistograms(histograms, scratch.Batch, sequence, ref counts.Histograms, winners, outcomes: default);
    }

    private static WalTicket? AppendThenLog(
        WriteScratch scratch, ReadOnlySpan<Sample> samples, WalRecordKind kind, PooledBuffer body, long nowMs, MemTable active,
        WriteAheadLog wal, WinnerLog winners, out WriteCounts counts)
    {
        counts = default;
        Span<ResolvedSeries> resolved = scratch.Resolved(scratch.Batch.Series.Length);
        Span<AppendOutcome> outcomes = scratch.Outcomes(samples.Length);
        active.Append(resolved, samples, sequence: 0, ref counts.Samples, winners, outcomes);
        if (counts.Samples.Conflicts > 0) samples = WithoutConflicts(scratch, resolved, samples, outcomes, active);
        Span<ResolvedHistogram> histograms = CollectionsMarshal.AsSpan(scratch.Histograms);
        outcomes = scratch.Outcomes(histograms.Length);
        active.AppendHistograms(histograms, scratch.Batch, sequence: 0, ref counts.Histograms, winners, outcomes);
        if (counts.Histograms.Conflicts > 0) DropConflicts(scratch, outcomes, active.Dictionary);
        return Log(scratch, resolved, samples, kind, body, nowMs, wal);
    }

    /// <summary>Gives the log the body as it came, or what was accepted of it, or nothing.</summary>
    private static WalTicket? Log(
        WriteScratch scratch, ReadOnlySpan<ResolvedSeries> resolved, ReadOnlySpan<Sample> samples, WalRecordKind kind, PooledBuffer body,
        long nowMs, WriteAheadLog wal)
    {
        bool isWhole = !scratch.Rejections.Any && !scratch.LeavesOutExemplars;
        bool saysSomething = scratch.Batch.SampleCount + scratch.Batch.HistogramCount + scratch.Exemplars.Count + scratch.News.Count > 0;
        if (isWhole && saysSomething) return wal.Enqueue(kind, body, nowMs);
        body.Dispose();
        using PooledBuffer accepted = PooledBuffer.Rent(4096);
        EncodeAccepted(scratch, resolved, samples, accepted);
        return accepted.Length == 0 ? null : wal.Enqueue(WalRecordKind.WriteV1, SnappyBlock.Compress(accepted.Span), nowMs);
    }

    /// <summary>Writes what was accepted of a request as a 1.0 body.</summary>
    private static void EncodeAccepted(
        WriteScratch scratch, ReadOnlySpan<ResolvedSeries> resolved, ReadOnlySpan<Sample> samples, PooledBuffer accepted)
    {
        WriteBatch batch = scratch.Batch;
        using PooledBuffer run = PooledBuffer.Rent(4096);
        int histogram = 0;
        int exemplar = 0;
        for (int i = 0; i < resolved.Length; i++)
        {
            run.SetLength(0);
            for (; histogram < scratch.Histograms.Count && scratch.Histograms[histogram].Series == i; histogram++)
                RemoteWriteV1.EncodeHistogram(run, batch.HistogramMessage(scratch.Histograms[histogram].Index));
            for (; exemplar < scratch.Exemplars.Count && scratch.Exemplars[exemplar].Series == i; exemplar++)
            {
                batch.TryReadExemplar(batch.Exemplars[scratch.Exemplars[exemplar].Index], scratch.ExemplarLabels, out Sample at);
                RemoteWriteV1.EncodeExemplar(run, scratch.ExemplarLabels.Span, at);
            }

            bool hasFloats = resolved[i].Ordinal != ResolvedSeries.Skip && resolved[i].SampleCount > 0;
            if (!hasFloats && run.Length == 0) continue;
            ReadOnlySpan<Sample> floats = hasFloats ? samples.Slice(resolved[i].FirstSample, resolved[i].SampleCount) : [];
            RemoteWriteV1.EncodeSeries(accepted, batch.LabelsOf(batch.Series[i]), floats, run.Span);
        }

        foreach (int index in scratch.News)
        {
            MetadataEntry entry = batch.Metadata[index];
            ReadOnlySpan<byte> unit = MetricMetadata.Cut(batch.TextOf(entry.Unit), MetricMetadata.MaxTextBytes);
            ReadOnlySpan<byte> help = MetricMetadata.Cut(batch.TextOf(entry.Help), MetricMetadata.MaxTextBytes - unit.Length);
            RemoteWriteV1.EncodeMetadata(accepted, entry.Type, batch.TextOf(entry.Family), help, unit);
        }
    }

    private static ReadOnlySpan<Sample> WithoutConflicts(
        WriteScratch scratch, Span<ResolvedSeries> resolved, ReadOnlySpan<Sample> samples, ReadOnlySpan<AppendOutcome> outcomes, MemTable active)
    {
        var kept = new List<Sample>(samples.Length);
        foreach (ref ResolvedSeries series in resolved)
        {
            if (series.Ordinal == ResolvedSeries.Skip) continue;
            int first = kept.Count;
            for (int i = series.FirstSample; i < series.FirstSample + series.SampleCount; i++)
            {
                if (outcomes[i] != AppendOutcome.Conflict) kept.Add(samples[i]);
                else if (scratch.Rejections.Add(RejectionReason.Conflict, 1))
                {
                    ulong? existing = active.Find(series.Ordinal, samples[i].TimeMs)?.ValueBits;
                    scratch.Rejections.Explain(
                        SampleErrors.Conflict(active.Dictionary.LabelsOf(series.Ordinal), samples[i].TimeMs, existing, samples[i].ValueBits), 1);
                }
            }

            series.FirstSample = first;
            series.SampleCount = kept.Count - first;
            if (series.SampleCount == 0) series.Ordinal = ResolvedSeries.Skip;
        }

        return kept.ToArray();
    }

    private static void DropConflicts(WriteScratch scratch, ReadOnlySpan<AppendOutcome> outcomes, SeriesDictionary dictionary)
    {
        int kept = 0;
        for (int i = 0; i < scratch.Histograms.Count; i++)
        {
            ResolvedHistogram histogram = scratch.Histograms[i];
            if (outcomes[i] != AppendOutcome.Conflict) scratch.Histograms[kept++] = histogram;
            else if (scratch.Rejections.Add(RejectionReason.Conflict, 1))
                scratch.Rejections.Explain(SampleErrors.HistogramConflict(dictionary.LabelsOf(histogram.Ordinal)), 1);
        }

        scratch.Histograms.RemoveRange(kept, scratch.Histograms.Count - kept);
    }

    private static WriteReport Report(WriteScratch scratch, in WriteCounts counts)
    {
        (long samples, long histograms) = (counts.Samples.Accepted, counts.Histograms.Accepted);
        int exemplars = scratch.Exemplars.Count;
        if (!scratch.Rejections.Any) return new WriteReport(WriteStatus.Written, samples, histograms, exemplars, null, 0);
        string message = scratch.Rejections.Message(samples + histograms, scratch.Batch.SampleCount + scratch.Batch.HistogramCount);
        return new WriteReport(WriteStatus.Rejected, samples, histograms, exemplars, message, 0);
    }

    private void Count(WriteScratch scratch, in WriteCounts counts)
    {
        EngineCounters.Add(ref _counters.SamplesStored, counts.Samples.Stored + counts.Histograms.Stored);
        EngineCounters.Add(ref _counters.SamplesDuplicate, counts.Samples.Duplicates + counts.Histograms.Duplicates);
        EngineCounters.Add(ref _counters.SamplesReplaced, counts.Samples.Replaced + counts.Histograms.Replaced);
        EngineCounters.Add(ref _counters.SamplesOutOfOrder, counts.Samples.OutOfOrder + counts.Histograms.OutOfOrder);
        EngineCounters.Add(ref _counters.HistogramsWritten, counts.Histograms.Accepted);
        if (!scratch.Rejections.Any) return;
        for (int reason = 0; reason < _counters.Rejected.Length; reason++)
            EngineCounters.Add(ref _counters.Rejected[reason], scratch.Rejections.SamplesOf((RejectionReason)reason));
    }
}

/// <summary>Logs a sample again that won against a record with a higher sequence, so that replay answers as the live process did.</summary>
internal sealed class WinnerLog(SeriesDictionary dictionary, WriteAheadLog wal, long nowMs, WriteBatch batch) : IWinnerLog
{
    private List<Task>? _commits;

    public ulong LogWinner(uint ordinal, Sample sample) => Enqueue(ordinal, [sample], []);

    public ulong LogWinner(uint ordinal, int histogram)
    {
        using PooledBuffer field = PooledBuffer.Rent(512);
        RemoteWriteV1.EncodeHistogram(field, batch.HistogramMessage(histogram));
        return Enqueue(ordinal, [], field.Span);
    }

    /// <summary>The request's commit, and that of each winner.</summary>
    public Task WithRecords(Task committed) => _commits is null ? committed : Task.WhenAll([committed, .. _commits]);

    private ulong Enqueue(uint ordinal, ReadOnlySpan<Sample> samples, ReadOnlySpan<byte> histogram)
    {
        using PooledBuffer raw = PooledBuffer.Rent(512);
        RemoteWriteV1.EncodeSeries(raw, dictionary.LabelsOf(ordinal), samples, histogram);
        WalTicket ticket = wal.Enqueue(WalRecordKind.WriteV1, SnappyBlock.Compress(raw.Span), nowMs);
        (_commits ??= []).Add(ticket.Committed);
        return ticket.Sequence;
    }
}
