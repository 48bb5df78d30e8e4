using System.Numerics;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.MemTables;

/// <summary>The samples of one log segment in memory: per series and kind one growing chunk, finished ones, and what came out of order.</summary>
/// <remarks>
/// Use:       the creator holds one reference. Who reads, or keeps what <see cref="Collect"/> gave, holds one more:
///            <see cref="TryAcquire"/>, then <see cref="Release"/>. With the last one all native memory goes at once.
/// Promise:   a sample is readable when <see cref="Append"/> returns, once for each time, the last arrival's value (or, with
///            <see cref="MemTableOptions.RejectConflicts"/>, the first one's). A chunk never crosses a window and holds at most
///            <see cref="SamplesPerChunk"/> floats, or histograms up to where Prometheus would cut. At one time a float wins over a histogram.
/// Layout:    series are dealt over stripes by ordinal, 16 neighbours together; each stripe has a lock, slots, states and a slab of
///            native memory. The garbage collector knows of no series, chunk or sample, and appending allocates nothing on its heap.
/// Threads:   everything may be called from any thread. A call after the last release throws <see cref="ObjectDisposedException"/>.
/// Names:     series are ordinals of one <see cref="SeriesDictionary"/>, on which it holds a reference as long as its memory lives.
/// Not here:  labels and ids, the log, deciding what is too old or too new, when to rotate (Engine).
/// </remarks>
public sealed class MemTable : IDisposable
{
    /// <summary>Samples at which a chunk is full, as in Prometheus (prometheus: tsdb/head.go, DefaultSamplesPerChunk).</summary>
    public const int SamplesPerChunk = 120;

    /// <summary>Series that are appended under one lock at most.</summary>
    private const int MaxRun = 64;

    private readonly MemTableOptions _options;
    private readonly StripeLayout _layout;
    private readonly MemTableStripe[] _stripes;
    private readonly ByteCounter _reserved = new();
    private ReferenceCount _references;
    private int _disposed;

    /// <summary>An empty MemTable; its memory grows with its contents.</summary>
    /// <param name="options">Fixed for its life.</param>
    /// <param name="dictionary">Gives the ordinals; held by the caller while this runs.</param>
    /// <exception cref="ArgumentOutOfRangeException">A window below 1 ms, or stripes that are no power of two from 1 to 65,536.</exception>
    public MemTable(MemTableOptions options, SeriesDictionary dictionary)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.WindowMs, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Stripes, 1 << 16, nameof(options));
        ArgumentOutOfRangeException.ThrowIfEqual(BitOperations.IsPow2(options.Stripes), false, nameof(options));
        _options = options;
        _layout = new StripeLayout(options.Stripes);
        _stripes = new MemTableStripe[options.Stripes];
        for (int i = 0; i < _stripes.Length; i++) _stripes[i] = new MemTableStripe((uint)i, _layout, in options, _reserved);
        Invariant.Check(dictionary.TryAcquire());
        Dictionary = dictionary;
    }

    /// <summary>Knows its series by their ordinals.</summary>
    public SeriesDictionary Dictionary { get; }

    /// <summary>Number of the log segment that holds the same samples.</summary>
    public long Segment => _options.Segment;

    /// <summary>Native bytes taken from the system for chunks, states and slots, used or not; 0 after the last release.</summary>
    /// <remarks>One read: cheap enough for a check after each request.</remarks>
    public long Bytes => _reserved.Value;

    /// <summary>Readable samples: for each series the distinct times.</summary>
    public long SampleCount
    {
        get
        {
            long sum = 0;
            foreach (MemTableStripe stripe in _stripes) sum += stripe.SampleCount;
            return sum;
        }
    }

    /// <summary>Those of <see cref="SampleCount"/> that are histograms.</summary>
    public long HistogramCount
    {
        get
        {
            long sum = 0;
            foreach (MemTableStripe stripe in _stripes) sum += stripe.HistogramCount;
            return sum;
        }
    }

    /// <summary>Series with a sample.</summary>
    public int SeriesCount
    {
        get
        {
            int sum = 0;
            foreach (MemTableStripe stripe in _stripes) sum += stripe.SeriesCount;
            return sum;
        }
    }

    /// <summary>Time of the oldest sample in ms; <see cref="long.MaxValue"/> while there is none.</summary>
    public long MinTimeMs
    {
        get
        {
            long min = long.MaxValue;
            foreach (MemTableStripe stripe in _stripes) min = Math.Min(min, stripe.MinTimeMs);
            return min;
        }
    }

    /// <summary>Time of the newest sample in ms; <see cref="long.MinValue"/> while there is none.</summary>
    public long MaxTimeMs
    {
        get
        {
            long max = long.MinValue;
            foreach (MemTableStripe stripe in _stripes) max = Math.Max(max, stripe.MaxTimeMs);
            return max;
        }
    }

    /// <summary>The windows that hold some sample, neighbours joined, ascending; where they are very many, all of time from the first to the last.</summary>
    public IReadOnlyList<TimeRange> Windows()
    {
        HashSet<long> ends = [];
        bool areAll = true;
        foreach (MemTableStripe stripe in _stripes) areAll &= stripe.TryAddWindowEnds(ends);
        if (!areAll) return [new TimeRange(MinTimeMs, MaxTimeMs)];
        List<TimeRange> ranges = [];
        foreach (long endMs in ends.Order())
        {
            long startMs = TimeWindow.StartOf(endMs, _options.WindowMs);
            if (ranges.Count > 0 && ranges[^1].MaxMs == startMs - 1) ranges[^1] = ranges[^1] with { MaxMs = endMs };
            else ranges.Add(new TimeRange(startMs, endMs));
        }

        return ranges;
    }

    /// <summary>Takes a reference, unless the last one has already been let go.</summary>
    public bool TryAcquire() => _references.TryAcquire();

    /// <summary>Lets a reference go; with the last one the memory.</summary>
    /// <exception cref="InvalidOperationException">More releases than references.</exception>
    public void Release()
    {
        if (!_references.Release()) return;
        foreach (MemTableStripe stripe in _stripes) stripe.Dispose();
        Dictionary.Release();
    }

    /// <summary>Lets the creator's reference go, once however often it is called. Readers keep theirs.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0) Release();
    }

    /// <summary>Appends what is accepted of a request.</summary>
    /// <remarks>
    /// Samples count in the order given: of two at the same time the later position wins, or with
    /// <see cref="MemTableOptions.RejectConflicts"/> the first. A value once stored is then never changed, so that
    /// <see cref="Find"/> still gives the value that a <see cref="AppendOutcome.Conflict"/> met.
    /// If this throws, what came before stays appended and counted.
    /// </remarks>
    /// <param name="series">The request's series; a series may come twice.</param>
    /// <param name="samples">Their samples.</param>
    /// <param name="sequence">Sequence of the request's log record.</param>
    /// <param name="counts">Added to.</param>
    /// <param name="winners">Logs what wins against a higher sequence; null while replaying, when sequences only ascend.</param>
    /// <param name="outcomes">
    /// Empty, or for each of <paramref name="samples"/> a place for its outcome. Those of skipped series are left as they are.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">An entry's samples lie outside <paramref name="samples"/>.</exception>
    /// <exception cref="ArgumentException">Fewer outcomes than samples.</exception>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public void Append(
        ReadOnlySpan<ResolvedSeries> series,
        ReadOnlySpan<Sample> samples,
        ulong sequence,
        ref AppendCounts counts,
        IWinnerLog? winners = null,
        Span<AppendOutcome> outcomes = default)
    {
        bool wantsOutcomes = !outcomes.IsEmpty;
        if (wantsOutcomes && outcomes.Length < samples.Length) throw new ArgumentException("fewer outcomes than samples", nameof(outcomes));
        var request = new AppendRequest
        {
            Samples = samples,
            Outcomes = outcomes,
            Winners = winners,
            Sequence = sequence,
            Counts = ref counts,
        };
        // Three runs are under way at once: the states of the last are fetched, then its chunks, and it is appended when both are near.
        Span<nint> states = stackalloc nint[3 * MaxRun];
        Span<nint> statesOfNow = states[..MaxRun];
        Span<nint> statesOfNext = states[MaxRun..(2 * MaxRun)];
        Span<nint> statesOfLater = states[(2 * MaxRun)..];
        MemTableStripe? now = StartRun(series, 0, statesOfNow, out int second);
        MemTableStripe? next = StartRun(series, second, statesOfNext, out int third);
        now?.BringChunksNear(statesOfNow[..second]);
        int first = 0;
        while (now is not null)
        {
            MemTableStripe? later = StartRun(series, third, statesOfLater, out int fourth);
            next?.BringChunksNear(statesOfNext[..(third - second)]);
            now.Append(series[first..second], statesOfNow[..(second - first)], ref request);
            (now, next) = (next, later);
            (first, second, third) = (second, third, fourth);
            Span<nint> free = statesOfNow;
            statesOfNow = statesOfNext;
            statesOfNext = statesOfLater;
            statesOfLater = free;
        }
    }

    /// <summary>Appends what is accepted of a request's histograms, by the rules of the floats; at one time the float wins.</summary>
    /// <param name="histograms">Appended in the order given.</param>
    /// <param name="source">Gives them; called outside of all locks.</param>
    /// <param name="sequence">Sequence of the request's log record.</param>
    /// <param name="counts">Added to.</param>
    /// <param name="winners">Logs what wins against a higher sequence; null while replaying.</param>
    /// <param name="outcomes">Empty, or for each histogram a place for its outcome.</param>
    /// <exception cref="ArgumentException">Fewer outcomes than histograms.</exception>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public void AppendHistograms(
        ReadOnlySpan<ResolvedHistogram> histograms,
        IHistogramSource source,
        ulong sequence,
        ref AppendCounts counts,
        IWinnerLog? winners = null,
        Span<AppendOutcome> outcomes = default)
    {
        bool wantsOutcomes = !outcomes.IsEmpty;
        if (wantsOutcomes && outcomes.Length < histograms.Length) throw new ArgumentException("fewer outcomes than histograms", nameof(outcomes));
        var request = new HistogramRequest { Winners = winners, Sequence = sequence, Counts = ref counts };
        for (int i = 0; i < histograms.Length; i++)
        {
            NativeHistogram histogram = source.HistogramAt(histograms[i].Index);
            AppendOutcome outcome = StripeOf(histograms[i].Ordinal).AppendHistogram(in histograms[i], histogram, ref request);
            if (wantsOutcomes) outcomes[i] = outcome;
        }
    }

    /// <summary>Appends the chunks of a series that overlap the range to <paramref name="output"/>.</summary>
    /// <remarks>
    /// Of the floats and then of the histograms: first those that grew in order, ascending and disjoint, with <paramref name="rank"/>; then the late samples
    /// inside the range, encoded, with <paramref name="rank"/> + 1, because a late sample at a known time is the newer one. Where both kinds have one time, the
    /// float counts, whatever the ranks. In-order chunks are not cut to the range. Sealed chunks are pointers into this MemTable: valid while the caller holds a reference.
    /// </remarks>
    /// <param name="ordinal">The series; unknown ones give nothing.</param>
    /// <param name="range">Closed interval.</param>
    /// <param name="rank">Of the in-order chunks.</param>
    /// <param name="arena">The caller's, for the bytes of the open chunk and of late samples.</param>
    /// <param name="output">Appended to.</param>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public void Collect(uint ordinal, TimeRange range, long rank, NativeArena arena, List<SeriesChunk> output)
    {
        MemTableStripe stripe = StripeOf(ordinal);
        using (PooledBuffer? late = stripe.Collect(ordinal, range, rank, arena, output, out bool ascending))
        {
            if (late is not null) ChunkMerge.Encode(Sorted(late, ascending), _options.WindowMs, rank + 1, arena, output, SamplesPerChunk);
        }

        if (!stripe.MayHaveHistograms) return;
        using (PooledBuffer? late = stripe.CollectHistograms(ordinal, range, rank, arena, output, out bool ascending))
        {
            if (late is not null) LateHistograms.Encode(Sorted(late, ascending), _options.WindowMs, rank + 1, arena, output);
        }
    }

    /// <summary>The float that a reader sees at exactly that time, or null.</summary>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public Sample? Find(uint ordinal, long timeMs) =>
        StripeOf(ordinal).TryFind(ordinal, timeMs, out ulong valueBits) ? new Sample(timeMs, valueBits) : null;

    /// <summary>Copies the histogram that a reader sees at exactly that time.</summary>
    /// <param name="ordinal">The series.</param>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    /// <param name="into">Receives it; unchanged if there is none.</param>
    /// <returns>False if there is none, or a float.</returns>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public bool TryFindHistogram(uint ordinal, long timeMs, NativeHistogram into) => StripeOf(ordinal).TryFindHistogram(ordinal, timeMs, into);

    /// <summary>True if the series has a sample here.</summary>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public bool Contains(uint ordinal) => StripeOf(ordinal).Contains(ordinal);

    /// <summary>True if the series has a sample here within a window.</summary>
    /// <param name="ordinal">The series.</param>
    /// <param name="window">A whole window: chunks do not cross its bounds.</param>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public bool Contains(uint ordinal, TimeRange window) => StripeOf(ordinal).Contains(ordinal, window);

    /// <summary>Time of a series' newest sample here in ms; <see cref="long.MinValue"/> if it has none.</summary>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public long NewestTimeMs(uint ordinal) => StripeOf(ordinal).NewestTimeMs(ordinal);

    /// <summary>All series with a sample, ascending. While others append, those of the stripes at the time of their visit.</summary>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public uint[] OrdinalsSorted()
    {
        var ordinals = new List<uint>(SeriesCount);
        ForEachSeries(ordinals.Add);
        ordinals.Sort();
        return [.. ordinals];
    }

    /// <summary>Names every series with a sample, in no useful order.</summary>
    /// <param name="visit">Called under a stripe's lock: do not call the MemTable.</param>
    /// <exception cref="ObjectDisposedException">The last reference has been let go.</exception>
    public void ForEachSeries(Action<uint> visit)
    {
        foreach (MemTableStripe stripe in _stripes) stripe.ForEachSeries(visit);
    }

    /// <summary>Translates an ordinal of any dictionary into one of this MemTable's own.</summary>
    /// <param name="dictionary">The dictionary, mostly this one's.</param>
    /// <param name="ordinal">A series of it.</param>
    /// <param name="own">The series here.</param>
    /// <returns>False if this one's dictionary does not know the series: then it has no sample of it.</returns>
    public bool TryTranslate(SeriesDictionary dictionary, uint ordinal, out uint own)
    {
        own = ordinal;
        return ReferenceEquals(dictionary, Dictionary) || Dictionary.TryOrdinalOf(dictionary.IdOf(ordinal), out own);
    }

    private static Span<Sample> Sorted(PooledBuffer late, bool ascending)
    {
        Span<Sample> samples = MemoryMarshal.Cast<byte, Sample>(late.Span);
        if (!ascending) LateSamples.SortByTime(samples);
        return samples;
    }

    /// <summary>Finds where a run of series of one stripe ends, and has their states fetched.</summary>
    /// <returns>Their stripe; null if there are none.</returns>
    private MemTableStripe? StartRun(ReadOnlySpan<ResolvedSeries> series, int first, Span<nint> states, out int end)
    {
        end = first;
        if (first == series.Length) return null;
        uint stripe = _layout.StripeOf(series[first].Ordinal);
        int most = Math.Min(series.Length, first + MaxRun);
        for (end++; end < most; end++)
        {
            uint ordinal = series[end].Ordinal;
            if (ordinal != ResolvedSeries.Skip && _layout.StripeOf(ordinal) != stripe) break;
        }

        MemTableStripe found = _stripes[stripe];
        found.BringStatesNear(series[first..end], states);
        return found;
    }

    private MemTableStripe StripeOf(uint ordinal) => _stripes[_layout.StripeOf(ordinal)];
}
