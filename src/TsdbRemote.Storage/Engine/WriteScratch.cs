using System.Collections.Concurrent;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>What one write request needs while it is decided and appended; reused from request to request.</summary>
internal sealed class WriteScratch : IDisposable
{
    // Beyond this many elements a list is given up: a usual request needs a tenth.
    private const int KeptElements = 1 << 16;

    private ResolvedSeries[] _resolved = [];
    private AppendOutcome[] _outcomes = [];

    /// <summary>The decoded request.</summary>
    public WriteBatch Batch { get; } = new();

    /// <summary>Whose numbers <see cref="SeriesEntry.Known"/> are: a collection may have given the MemTable another dictionary meanwhile.</summary>
    public SeriesDictionary? KnownBy { get; set; }

    /// <summary>What was refused.</summary>
    public RejectionLog Rejections { get; } = new();

    /// <summary>Samples that passed, where not all did.</summary>
    public List<Sample> Kept { get; } = [];

    /// <summary>The request's histograms that are taken, in the order of their series.</summary>
    public List<ResolvedHistogram> Histograms { get; } = [];

    /// <summary>The request's exemplars that are taken, in the order of their series.</summary>
    public List<TakenExemplar> Exemplars { get; } = [];

    /// <summary>True if some of the request's exemplars are not taken: then the log must not have them either.</summary>
    public bool LeavesOutExemplars { get; set; }

    /// <summary>Indexes of the request's metadata that is news.</summary>
    public List<int> News { get; } = [];

    /// <summary>True if the request tells metadata again that a record of the log has: it is acknowledged once that is durable.</summary>
    public bool RepeatsMetadata { get; set; }

    /// <summary>An exemplar's labels as sent.</summary>
    public PooledBuffer ExemplarLabels { get; } = PooledBuffer.Rent(512);

    /// <summary>The labels of an exemplar's series.</summary>
    public PooledBuffer SeriesLabels { get; } = PooledBuffer.Rent(512);

    /// <summary>A histogram found in a MemTable.</summary>
    public NativeHistogram Existing { get; } = new();

    /// <summary>Newest time of each series of this request, where histories are looked at.</summary>
    public Dictionary<uint, long> Newest { get; } = [];

    /// <summary>A label run being normalised.</summary>
    public PooledBuffer Canonical { get; } = PooledBuffer.Rent(4096);

    /// <summary>One entry for each series of the batch.</summary>
    public Span<ResolvedSeries> Resolved(int count)
    {
        if (_resolved.Length < count) _resolved = new ResolvedSeries[Math.Max(count, 2048)];
        return _resolved.AsSpan(0, count);
    }

    /// <summary>One outcome for each sample.</summary>
    public Span<AppendOutcome> Outcomes(int count)
    {
        if (_outcomes.Length < count) _outcomes = new AppendOutcome[Math.Max(count, 2048)];
        return _outcomes.AsSpan(0, count);
    }

    /// <summary>Ready for the next request.</summary>
    public void Reset()
    {
        Batch.Reset();
        KnownBy = null;
        Rejections.Clear();
        Kept.Clear();
        Newest.Clear();
        Histograms.Clear();
        Exemplars.Clear();
        LeavesOutExemplars = RepeatsMetadata = false;
        News.Clear();
        Trim(Kept);
        Trim(Histograms);
        Trim(Exemplars);
        Trim(News);
        if (Newest.Capacity > KeptElements) Newest.TrimExcess();
        if (_resolved.Length > KeptElements) _resolved = [];
        if (_outcomes.Length > KeptElements) _outcomes = [];
        Canonical.SetLength(0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Batch.Dispose();
        Canonical.Dispose();
        ExemplarLabels.Dispose();
        SeriesLabels.Dispose();
    }

    private static void Trim<T>(List<T> list)
    {
        if (list.Capacity > KeptElements) list.Capacity = 0;
    }
}

/// <summary>Scratches at rest: as many as ever worked at once, up to a bound.</summary>
internal sealed class WriteScratchPool : IDisposable
{
    private const int MaxAtRest = 64;
    private readonly ConcurrentBag<WriteScratch> _atRest = [];

    // The bag's own count stops everybody who uses it.
    private int _count;

    public WriteScratch Rent()
    {
        if (!_atRest.TryTake(out WriteScratch? scratch)) return new WriteScratch();
        Interlocked.Decrement(ref _count);
        return scratch;
    }

    public void Return(WriteScratch scratch)
    {
        scratch.Reset();
        if (Interlocked.Increment(ref _count) <= MaxAtRest)
        {
            _atRest.Add(scratch);
            return;
        }

        Interlocked.Decrement(ref _count);
        scratch.Dispose();
    }

    public void Dispose()
    {
        while (_atRest.TryTake(out WriteScratch? scratch)) scratch.Dispose();
    }
}
