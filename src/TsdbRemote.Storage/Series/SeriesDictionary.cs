using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>All series with data in MemTables or tables, or recent data: label bytes ↔ ordinal ↔ id, and the postings over them.</summary>
/// <remarks>
/// Open:      <see cref="Load"/> each persisted entry, then <see cref="CompleteLoad"/>: from then on the hash table answers and series may be added,
///            while one background thread runs <see cref="BuildPostings"/>. Without a load all is ready at once.
/// Ordinals:  dense from 0, given once; neither they nor label bytes ever move. They ascend with ids, unless a collection met series that came back
///            (<see cref="SortById"/>).
/// Life:      nothing is ever removed. A collection makes a successor of the series that live (<see cref="SeriesCollection"/>), which keep their ids;
///            each one is another <see cref="Epoch"/>.
/// Publish:   a new series' bytes first, then its postings, then its hash entry. So whoever finds a series by its labels may rely on every
///            later selection finding it (once <see cref="PostingsReady"/>).
/// Threads:   reads take no lock. Writers take one lock, which guards storage, hash table, aliases, postings (once ready) and the directories of
///            pages; nothing else is taken inside it. Growing the hash table copies it under the lock: some 10 ms at a million series.
/// Memory:    a series takes its labels, 32 bytes of record, at most 16 of hash table, about 40 of postings, 1 bit; 8 if newest times are kept, 1 if flushes make blocks,
///            4 once a large read has asked for label order. Nothing of it is an object.
/// Lifetime:  spans and lists handed out point into native memory of this object. Its maker holds one reference and lets it go by
///            <see cref="Dispose"/>; whoever else uses it holds one of his own. The memory goes with the last.
/// </remarks>
public sealed class SeriesDictionary : IDisposable
{
    private const int DefaultMaxAliases = 1 << 20;
    private const long DefaultMaxAliasBytes = 128L << 20;

    // From here on its pages, which are small, are worth the search for what the allocator could give back.
    private const long LargeBytes = 32 << 20;

    private const int BitPageShift = 10;
    private const int TimePageShift = 12;
    private const int BuildSlice = 1024;
    private const int BuildPauseMs = 5;

    private readonly Lock _writers = new();
    private readonly LabelStorage _storage = new();
    private readonly NativePages<ulong> _persisted = new(BitPageShift);
    private readonly NativePages<long> _newestTimes = new(TimePageShift, long.MinValue);
    private readonly AliasTable _aliases;
    private readonly LabelOrder _order;
    private OrdinalTable _table = new();
    private ulong _nextSeriesId;
    private bool _loading;
    private bool _postingsReady = true;
    private int _building;
    private ReferenceCount _references;
    private int _disposed;

    /// <summary>An empty dictionary.</summary>
    /// <param name="nextSeriesId">Id of the first series added, 1 or more; raised above every loaded id.</param>
    /// <param name="maxAliases">Most spellings remembered by <see cref="AddAlias"/>.</param>
    /// <param name="maxAliasBytes">Most bytes of such spellings.</param>
    public SeriesDictionary(ulong nextSeriesId = 1, int maxAliases = DefaultMaxAliases, long maxAliasBytes = DefaultMaxAliasBytes)
    {
        ArgumentOutOfRangeException.ThrowIfZero(nextSeriesId);
        _nextSeriesId = nextSeriesId;
        _aliases = new AliasTable(maxAliases, maxAliasBytes);
        _order = new LabelOrder(_storage, Postings);
    }

    private SeriesDictionary(SeriesDictionary before, int expectedCount)
        : this(before.NextSeriesId)
    {
        Epoch = before.Epoch + 1;
        _table = new OrdinalTable(expectedCount);
    }

    /// <summary>Counts the dictionaries of a process, from 1: the one loaded at open and its successors.</summary>
    public int Epoch { get; } = 1;

    /// <summary>Series held. Every ordinal below it may be asked about.</summary>
    public int Count => _storage.Count;

    /// <summary>Id that the next new series gets.</summary>
    public ulong NextSeriesId => Volatile.Read(ref _nextSeriesId);

    /// <summary>True once every series is in the postings; from then on they are kept up by each addition.</summary>
    public bool PostingsReady => Volatile.Read(ref _postingsReady);

    /// <summary>The postings. Complete only once <see cref="PostingsReady"/>.</summary>
    public Postings Postings { get; } = new();

    /// <summary>Which series were flushed of late.</summary>
    internal FlushPresence Flushed { get; } = new();

    /// <summary>Guesses a series from the one before it in a request.</summary>
    internal SenderOrder SenderOrder => new(_storage);

    /// <summary>Recognises the series of one request while it is decoded.</summary>
    internal SenderCursor NewCursor() => new(this, _storage);

    /// <summary>Spellings now remembered.</summary>
    public int AliasCount => _aliases.Count;

    /// <summary>Bytes held, native and managed. A figure for metrics: not exact while series are added.</summary>
    public long MemoryBytes => _storage.AllocatedBytes + _persisted.AllocatedBytes + _newestTimes.AllocatedBytes + Flushed.AllocatedBytes + _table.MemoryBytes
        + _aliases.MemoryBytes + _order.MemoryBytes + Postings.MemoryBytes;

    /// <summary>Takes a persisted series in. One thread, before anything else is done with this object; any order of ids.</summary>
    /// <remarks>
    /// A file need not ascend: a series may be persisted long after one that is younger. Ordinals are therefore given by
    /// <see cref="CompleteLoad"/>. Two ids may carry equal labels (a series that left and came back).
    /// </remarks>
    /// <param name="id">Its id, not 0.</param>
    /// <param name="canonicalRun">Its labels; copied.</param>
    /// <exception cref="InvalidOperationException">Series have been added already, or the load is complete.</exception>
    public void Load(ulong id, ReadOnlySpan<byte> canonicalRun)
    {
        ArgumentOutOfRangeException.ThrowIfZero(id);
        if (!_loading && _storage.Count > 0) throw new InvalidOperationException("series are loaded before any is added");
        _loading = true;
        Volatile.Write(ref _postingsReady, false);
        _storage.Add(canonicalRun, id, OrdinalTable.BitsOf(Labels.Hash(canonicalRun)));
    }

    /// <summary>Ends the load: gives ordinals in the order of ids, fills the hash table, marks everything as persisted.</summary>
    /// <returns>Entries dropped because an id came twice; the first stays. Not 0 means that a file or its writer is wrong.</returns>
    public int CompleteLoad()
    {
        if (!_loading) return 0;
        int dropped = _storage.SortById();
        int count = _storage.Count;
        var table = new OrdinalTable(count);
        for (uint ordinal = 0; ordinal < count; ordinal++) table.Add(_storage[ordinal].HashBits, ordinal);
        EnsurePersistedBits((uint)count - 1);
        for (uint ordinal = 0; ordinal < count; ordinal++) _persisted[ordinal >> 6] |= 1UL << (int)(ordinal & 63);
        _nextSeriesId = Math.Max(_nextSeriesId, _storage[(uint)count - 1].Id + 1);
        _loading = false;
        Volatile.Write(ref _table, table);
        return dropped;
    }

    /// <summary>Looks a series up by its labels: a canonical run or a remembered spelling. Takes no lock.</summary>
    /// <param name="run">The label run as it came.</param>
    /// <param name="hash">Its <see cref="Labels.Hash"/>.</param>
    /// <param name="ordinal">The series, if found.</param>
    /// <returns>False also for a series that another thread is just adding; <see cref="GetOrAdd"/> then settles it.</returns>
    public bool TryFind(ReadOnlySpan<byte> run, ulong hash, out uint ordinal)
    {
        uint bits = OrdinalTable.BitsOf(hash);
        return TryFindCanonical(run, bits, out ordinal) || _aliases.TryFind(run, bits, out ordinal);
    }

    /// <summary>Brings near what <see cref="TryFind"/> will look at first. A batch of look-ups then waits for memory once, not once each.</summary>
    /// <param name="hash"><see cref="Labels.Hash"/> of the run that will be looked up.</param>
    public void PrefetchFind(ulong hash) => Volatile.Read(ref _table).PrefetchSlot(OrdinalTable.BitsOf(hash));

    /// <summary>Looks a series up and adds it if it is new.</summary>
    /// <param name="canonicalRun">Its labels in canonical form; copied if new.</param>
    /// <param name="hash">Their <see cref="Labels.Hash"/>.</param>
    /// <param name="added">True if it was new.</param>
    /// <returns>Its ordinal.</returns>
    public uint GetOrAdd(ReadOnlySpan<byte> canonicalRun, ulong hash, out bool added)
    {
        bool found = TryAdd(canonicalRun, hash, int.MaxValue, out uint ordinal, out added);
        Invariant.Check(found, "an ordinal is left for another series");
        return ordinal;
    }

    /// <summary>As <see cref="GetOrAdd"/>, but adds nothing once <paramref name="maxCount"/> series are held.</summary>
    /// <returns>False if the series is new and there is no room for it; nothing was changed then.</returns>
    public bool TryAdd(ReadOnlySpan<byte> canonicalRun, ulong hash, int maxCount, out uint ordinal, out bool added)
    {
        uint bits = OrdinalTable.BitsOf(hash);
        added = false;
        lock (_writers)
        {
            Invariant.Check(!_loading);
            if (TryFindCanonical(canonicalRun, bits, out ordinal)) return true;
            if (_storage.Count >= maxCount) return false;
            EnsurePersistedBits((uint)_storage.Count);
            ordinal = _storage.Add(canonicalRun, _nextSeriesId, bits);
            Volatile.Write(ref _nextSeriesId, _nextSeriesId + 1);
            if (_postingsReady) Postings.Add(ordinal, _storage[ordinal].Run);
            _table.Add(bits, ordinal);
        }

        added = true;
        return true;
    }

    /// <summary>Remembers how a sender spells a series, so that <see cref="TryFind"/> finds it by those bytes. Bounded: the oldest are forgotten.</summary>
    /// <param name="rawRun">The run as it came; copied.</param>
    /// <param name="hash">Its <see cref="Labels.Hash"/>.</param>
    /// <param name="ordinal">The series that it means.</param>
    public void AddAlias(ReadOnlySpan<byte> rawRun, ulong hash, uint ordinal)
    {
        CheckOrdinal(ordinal);
        lock (_writers) _aliases.Add(rawRun, OrdinalTable.BitsOf(hash), ordinal);
    }

    /// <summary>The canonical labels of a series.</summary>
    public ReadOnlySpan<byte> LabelsOf(uint ordinal)
    {
        CheckOrdinal(ordinal);
        return _storage[ordinal].Run;
    }

    /// <summary>Sorts ordinals by the ids of their series.</summary>
    /// <param name="ascendingOrdinals">Ordinals, ascending: mostly they are in that order already.</param>
    public void SortById(uint[] ascendingOrdinals)
    {
        if (_storage.IdsAscend) return;
        ulong[] ids = new ulong[ascendingOrdinals.Length];
        for (int i = 0; i < ids.Length; i++) ids[i] = IdOf(ascendingOrdinals[i]);
        Array.Sort(ids, ascendingOrdinals);
    }

    /// <summary>The id of a series.</summary>
    public ulong IdOf(uint ordinal)
    {
        CheckOrdinal(ordinal);
        return _storage[ordinal].Id;
    }

    /// <summary>Finds a series by its id.</summary>
    public bool TryOrdinalOf(ulong id, out uint ordinal) => _storage.TryOrdinalOf(id, out ordinal);

    /// <summary>Leaves the postings to <see cref="BuildPostings"/> from now on, as after a load: for a start that is about to add very many series. Before anything is added.</summary>
    internal void DeferPostings()
    {
        Invariant.Check(!PostingsReady || _storage.Count == 0);
        Volatile.Write(ref _postingsReady, false);
    }

    /// <summary>Indexes what was loaded, and what has been added since, until nothing is missing; then sets <see cref="PostingsReady"/>.</summary>
    /// <remarks>
    /// Until then additions leave the postings alone, so this is their only writer and lists stay ascending. It runs without the lock up to a
    /// count seen, again up to the next count, and takes the lock for the rest once that is small (or no longer halves, so that it ends whatever
    /// the rate of additions).
    /// </remarks>
    /// <param name="cancel">Ends the work early; a later call goes on where this one stopped.</param>
    /// <param name="progress">Told now and then how many series are indexed.</param>
    /// <param name="isMoreComing">True as long as so many series are added that whoever adds them should not have to index them; null if that is not so.</param>
    /// <exception cref="InvalidOperationException">Another thread is building.</exception>
    public void BuildPostings(CancellationToken cancel, Action<long>? progress = null, Func<bool>? isMoreComing = null)
    {
        if (Interlocked.Exchange(ref _building, 1) != 0) throw new InvalidOperationException("the postings are being built already");
        try
        {
            Invariant.Check(!_loading);
            long missing = long.MaxValue;
            while (isMoreComing?.Invoke() == true)
            {
                uint target = (uint)_storage.Count;
                if (target - Postings.IndexedCount <= BuildSlice && cancel.WaitHandle.WaitOne(BuildPauseMs)) cancel.ThrowIfCancellationRequested();
                IndexThrough(target, progress, cancel);
            }

            while (!PostingsReady)
            {
                uint target = (uint)_storage.Count;
                long before = missing;
                missing = target - Postings.IndexedCount;
                if (missing > BuildSlice && missing <= before / 2) IndexThrough(target, progress, cancel);
                else CatchUp();
            }

            progress?.Invoke(Postings.IndexedCount);
        }
        finally
        {
            Volatile.Write(ref _building, 0);
        }
    }

    /// <summary>True if a committed dictionary file holds the series.</summary>
    public bool IsPersisted(uint ordinal)
    {
        CheckOrdinal(ordinal);
        return (Volatile.Read(ref _persisted[ordinal >> 6]) & (1UL << (int)(ordinal & 63))) != 0;
    }

    /// <summary>Notes that a committed dictionary file now holds these series. Any thread.</summary>
    public void MarkPersisted(ReadOnlySpan<uint> ordinals)
    {
        foreach (uint ordinal in ordinals)
        {
            CheckOrdinal(ordinal);
            Interlocked.Or(ref _persisted[ordinal >> 6], 1UL << (int)(ordinal & 63));
        }
    }

    /// <summary>Newest time observed of a series in ms; <see cref="long.MinValue"/> if none was since open.</summary>
    public long NewestTimeMs(uint ordinal)
    {
        CheckOrdinal(ordinal);
        return _newestTimes.Covers(ordinal) ? Volatile.Read(ref _newestTimes[ordinal]) : long.MinValue;
    }

    /// <summary>Raises the newest time of a series. Any thread. The first call makes every series cost 8 bytes more.</summary>
    public void ObserveTime(uint ordinal, long timeMs)
    {
        CheckOrdinal(ordinal);
        if (!_newestTimes.Covers(ordinal))
        {
            lock (_writers) _newestTimes.EnsureThrough((uint)_storage.Count - 1);
        }

        ref long newest = ref _newestTimes[ordinal];
        long seen = Volatile.Read(ref newest);
        while (timeMs > seen)
        {
            long before = Interlocked.CompareExchange(ref newest, timeMs, seen);
            if (before == seen) return;
            seen = before;
        }
    }

    /// <summary>
    /// Names the series, ascending, whose newest observed time is inside a range, or which were in one of the last flushes within that range: these are written, however far
    /// behind the clock their senders are. Any thread; a few ns a series.
    /// </summary>
    /// <param name="range">Closed interval, ms.</param>
    /// <param name="visit">Given ordinals.</param>
    public void ForEachRecent(TimeRange range, Action<uint> visit)
    {
        int count = _storage.Count;
        for (uint ordinal = 0; ordinal < count; ordinal++)
        {
            if (range.Contains(NewestTimeMs(ordinal)) || Flushed.WasFlushed(ordinal, range)) visit(ordinal);
        }
    }

    /// <summary>Sorts series by their labels as <see cref="Labels.Compare"/> orders them, equal labels by ordinal. Any thread.</summary>
    /// <remarks>The first call with a large part of all series ranks them all, which takes seconds at millions; later calls use the ranks.</remarks>
    /// <param name="ordinals">Distinct ordinals.</param>
    /// <exception cref="ArgumentOutOfRangeException">One of them is no series.</exception>
    public void SortByLabels(Span<uint> ordinals)
    {
        foreach (uint ordinal in ordinals) CheckOrdinal(ordinal);
        _order.Sort(ordinals);
    }

    /// <summary>Takes a reference, unless the last one has already been let go.</summary>
    public bool TryAcquire() => _references.TryAcquire();

    /// <summary>Lets a reference go; with the last one the memory.</summary>
    /// <exception cref="InvalidOperationException">More releases than references.</exception>
    public void Release()
    {
        if (_references.Release()) Free();
    }

    /// <summary>Lets the maker's reference go, once however often it is called.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0) Release();
    }

    /// <summary>An empty dictionary that is to follow on this one.</summary>
    /// <param name="expectedCount">Series that it will be given at once.</param>
    internal SeriesDictionary NewSuccessor(int expectedCount) => new(this, expectedCount);

    /// <summary>All ordinals below a count that this dictionary once had, in ascending order of ids.</summary>
    internal IEnumerable<uint> InOrderOfIds(int count) => _storage.InOrderOfIds(count);

    /// <summary>Copies a series of the dictionary before in, with its id. Only while nobody else knows this object.</summary>
    internal void AddCopy(SeriesDictionary before, uint ordinal)
    {
        SeriesRecord record = before._storage[ordinal];
        EnsurePersistedBits((uint)_storage.Count);
        uint copy = _storage.Add(record.Run, record.Id, record.HashBits);
        Postings.Add(copy, _storage[copy].Run);
        _table.Add(record.HashBits, copy);
    }

    /// <summary>The next copies have ids that begin anew, below those of the series added after <see cref="EndLower"/>.</summary>
    internal void BeginLower() => _storage.BeginLower();

    /// <summary>Ends what <see cref="BeginLower"/> began.</summary>
    internal void EndLower() => _storage.EndLower();

    /// <summary>Takes over what is known of the times and the flushes of series. Only while nobody else knows this object, and nobody writes to the one before.</summary>
    /// <param name="before">The dictionary before.</param>
    /// <param name="sources">For each ordinal here the one there.</param>
    internal void TakeTimes(SeriesDictionary before, ReadOnlySpan<uint> sources)
    {
        Flushed.Take(before.Flushed, sources);
        if (!before._newestTimes.Covers(0)) return;
        for (int i = 0; i < sources.Length; i++)
        {
            long newest = before.NewestTimeMs(sources[i]);
            if (newest != long.MinValue) ObserveTime((uint)i, newest);
        }
    }

    /// <summary>Goes on giving ids where the dictionary before ended. Only while nobody else knows this object, and nobody writes to the one before.</summary>
    internal void TakeNextId(SeriesDictionary before) => _nextSeriesId = before.NextSeriesId;

    /// <summary>Ranks all series by labels if the dictionary before had been asked to: the first large read of this one then need not wait for it.</summary>
    internal void RankAs(SeriesDictionary before)
    {
        if (before._order.RankedCount > 0) _order.Rank();
    }

    private void Free()
    {
        bool isLarge = MemoryBytes > LargeBytes;
        _newestTimes.Dispose();
        Flushed.Dispose();
        _persisted.Dispose();
        Postings.Dispose();
        _storage.Dispose();
        if (isLarge) FreedMemory.GiveBack();
    }

    private bool TryFindCanonical(ReadOnlySpan<byte> run, uint bits, out uint ordinal)
    {
        OrdinalTable.Candidates candidates = Volatile.Read(ref _table).Find(bits);
        while (candidates.MoveNext())
        {
            ordinal = candidates.Current;
            if (_storage[ordinal].Run.SequenceEqual(run)) return true;
        }

        ordinal = 0;
        return false;
    }

    private void IndexThrough(uint target, Action<long>? progress, CancellationToken cancel)
    {
        for (uint ordinal = Postings.IndexedCount; ordinal < target; ordinal++)
        {
            if (ordinal % BuildSlice == 0)
            {
                cancel.ThrowIfCancellationRequested();
                progress?.Invoke(ordinal);
            }

            Postings.Add(ordinal, _storage[ordinal].Run);
        }
    }

    private void CatchUp()
    {
        lock (_writers)
        {
            IndexThrough((uint)_storage.Count, progress: null, CancellationToken.None);
            Volatile.Write(ref _postingsReady, true);
        }
    }

    private void EnsurePersistedBits(uint ordinal) => _persisted.EnsureThrough(ordinal >> 6);

    private void CheckOrdinal(uint ordinal) =>
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(ordinal, (uint)_storage.Count, nameof(ordinal));
}
