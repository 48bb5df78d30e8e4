using System.Buffers;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Reading;

/// <summary>The side of a merge that knows series by id: MemTables and tables, in the label order of the dictionary.</summary>
/// <remarks>
/// How:       series are taken in label order in batches; each batch, sorted by id, makes one forward pass over each table (design of
///            the on-disk order: tables know ids, not labels). What the batch found is dealt out by series as the merge steps.
/// Order:     tables are dealt from the oldest to the newest, whoever read which, so that the chunks of a series mostly come out in the order of time.
/// Joins:     ids with equal labels (a series that left the dictionary and came back) stand side by side in label order and come out as one.
/// Bounded:   the size of a batch follows the chunks a series turned out to have, so that references and copies stay within the limit.
/// Not here:  merging of chunks, choice of series. Not thread-safe; the sources are held by the snapshot that made it.
/// </remarks>
internal sealed class DictionarySource : ISeriesSource
{
    private const int FirstBatch = 256;
    private const int LargestBatch = 32_768;

    // Chunks gathered at a time, and what the references to one take until they are dealt out: 3 MB together. Four times as many read no faster.
    private const int ChunksPerBatch = 1 << 15;
    private const int BytesPerChunk = 100;

    // Chunks between the one taken and the one fetched: those of one series lie far apart.
    private const int Ahead = 8;

    // Not the shared pool, which leaves arrays to the threads that gave them back: each read has a thread of its own.
    private static readonly ArrayPool<ChunkPlace> PlaceArrays = ArrayPool<ChunkPlace>.Create(1 << 17, maxArraysPerBucket: 2);

    private readonly ReadSources _sources;
    private readonly SeriesDictionary _dictionary;
    private readonly uint[] _ordinals;
    private readonly TimeRange _range;
    private readonly long _memoryBytes;
    private readonly CancellationToken _cancel;

    // What MemTables had; what tables had is with the gatherers.
    private readonly List<SeriesChunk> _found = [];
    private readonly List<int> _owners = [];
    private readonly Action<CorruptFileException>? _skipDamaged;
    private readonly ReadHelpers? _helpers;

    // A small batch of a large read must not load the filters of all tables: they are 1.2 bytes a series each, and it would find most of its series anyway.
    private readonly bool _asksBloom;
    private readonly List<TableGatherer> _gatherers = [];

    // Where the chunks of each table are.
    private readonly TableShare[] _shares;
    private NativeArena _arena = new();
    private ulong[] _ids = [];
    private int[] _positions = [];
    private int[] _starts = [];
    private ChunkPlace[] _byOwner = [];
    private int _batchStart;
    private int _batchCount;
    private int _next;
    private int _batchSize = FirstBatch;
    private int _position;

    /// <summary>A source over these series.</summary>
    /// <param name="sources">Held by the caller while this lives.</param>
    /// <param name="dictionary">Knows labels and ids of all series in the sources; MemTables may belong to one before it.</param>
    /// <param name="ordinalsInLabelOrder">The series.</param>
    /// <param name="range">Closed range in ms; no sample outside it is answered.</param>
    /// <param name="memoryBytes">What matched ids, chunk references and copied chunk bytes may take at a time, in bytes.</param>
    /// <param name="skipDamaged">Told of each damaged chunk, which is then left out; null to have it end the work.</param>
    /// <param name="cancel">Stops the work: checked for each batch, table and series.</param>
    /// <param name="helpers">Read tables beside the caller; null to have him read one after the other.</param>
    public DictionarySource(
        ReadSources sources, SeriesDictionary dictionary, uint[] ordinalsInLabelOrder, TimeRange range, long memoryBytes,
        Action<CorruptFileException>? skipDamaged, CancellationToken cancel, ReadHelpers? helpers = null)
    {
        _sources = sources;
        _dictionary = dictionary;
        _ordinals = ordinalsInLabelOrder;
        _range = range;
        _memoryBytes = memoryBytes;
        _skipDamaged = skipDamaged;
        _cancel = cancel;
        _helpers = helpers;
        _shares = new TableShare[sources.Tables.Count];
        _asksBloom = ordinalsInLabelOrder.Length <= SSTableReader.MaxBloomIds;
        CheckMemory();
    }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Labels => _dictionary.LabelsOf(_ordinals[_batchStart + _position]);

    /// <inheritdoc/>
    /// <exception cref="CorruptFileException">A chunk of a table is damaged.</exception>
    /// <exception cref="ReadLimitException">One batch needs more than the limit.</exception>
    public bool MoveNext()
    {
        while (true)
        {
            if (_next >= _batchCount && !NextBatch()) return false;
            _position = _next++;
            while (_next < _batchCount && HasEqualLabels(_next - 1, _next)) _next++;
            if (_starts[_position] < _starts[_next]) return true;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="CorruptChunkException">A chunk of which something is deleted is none.</exception>
    public void AddChunks(List<SeriesChunk> output, SeriesDeletions? deletions)
    {
        int before = output.Count;
        ReadOnlySpan<ChunkPlace> places = _byOwner.AsSpan(_starts[_position].._starts[_next]);
        CollectionsMarshal.SetCount(output, before + places.Length);
        Span<SeriesChunk> target = CollectionsMarshal.AsSpan(output)[before..];
        ReadOnlySpan<SeriesChunk> ofMemTables = CollectionsMarshal.AsSpan(_found);
        for (int i = 0; i < places.Length; i++)
        {
            if (i + Ahead < places.Length && places[i + Ahead] is { Gatherer: >= 0 } ahead)
                Prefetch.Near(in _gatherers[ahead.Gatherer].Found.Chunks[ahead.Index]);
            ChunkPlace place = places[i];
            target[i] = place.Gatherer < 0 ? ofMemTables[place.Index] : _gatherers[place.Gatherer].Found.Chunks[place.Index];
        }

        deletions?.Apply(output, before);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        foreach (TableGatherer gatherer in _gatherers) gatherer.Dispose();
        ReplaceDealt([]);
    }

    private bool NextBatch()
    {
        _batchStart += _batchCount;
        _batchCount = Math.Min(_batchSize, _ordinals.Length - _batchStart);
        _next = 0;
        if (_batchCount <= 0)
        {
            _batchCount = 0;
            return false;
        }

        CompleteBatch();
        while (!TryGather())
        {
            // More chunks a series than the batch before had: fewer series at a time then, down to one.
            _batchCount = Math.Max(1, _batchCount / 4);
            CompleteBatch();
        }

        Deal();
        Adapt();
        return true;
    }

    /// <summary>Ids with equal labels must not end up in two batches.</summary>
    private void CompleteBatch()
    {
        while (_batchStart + _batchCount < _ordinals.Length && HasEqualLabels(_batchCount - 1, _batchCount)) _batchCount++;
    }

    private bool HasEqualLabels(int left, int right) =>
        _dictionary.LabelsOf(_ordinals[_batchStart + left]).SequenceEqual(_dictionary.LabelsOf(_ordinals[_batchStart + right]));

    private bool TryGather()
    {
        _arena.Dispose();
        _arena = new NativeArena();
        foreach (TableGatherer gatherer in _gatherers) gatherer.Forget();
        _found.Clear();
        _owners.Clear();
        try
        {
            Gather(_ordinals.AsSpan(_batchStart, _batchCount));
            return true;
        }
        catch (ReadLimitException) when (_batchCount > 1 && !HasEqualLabels(0, _batchCount - 1))
        {
            return false;
        }
    }

    private void Gather(ReadOnlySpan<uint> batch)
    {
        if (_ids.Length < batch.Length)
        {
            _ids = new ulong[batch.Length];
            _positions = new int[batch.Length];
        }

        for (int i = 0; i < batch.Length; i++)
        {
            _ids[i] = _dictionary.IdOf(batch[i]);
            _positions[i] = i;
        }

        Array.Sort(_ids, _positions, 0, batch.Length);
        if (_sources.Tables.Count > 0) GatherTables(batch.Length);

        foreach (MemTable memTable in _sources.MemTables)
        {
            _cancel.ThrowIfCancellationRequested();
            long rank = SourceRank.OfMemTable(memTable.Segment);
            for (int i = 0; i < batch.Length; i++)
            {
                // One that waits for its flush since before a collection has other ordinals; ids are the same.
                if (!memTable.TryTranslate(_dictionary, batch[i], out uint own)) continue;
                memTable.Collect(own, _range, rank, _arena, _found);
                while (_owners.Count < _found.Count) _owners.Add(i);
            }

            CheckMemory();
        }
    }

    /// <summary>Has the tables read by whoever is free, each worker into lists and copies of its own.</summary>
    private void GatherTables(int count)
    {
        int tables = _sources.Tables.Count;
        ReadHelpers? helpers = tables > 1 ? _helpers : null;
        var budget = new GatherBudget(_memoryBytes, MemoryUsed);
        while (_gatherers.Count <= (helpers?.Threads ?? 0)) _gatherers.Add(new TableGatherer(_skipDamaged));
        foreach (TableGatherer gatherer in _gatherers) gatherer.Begin(_positions, budget);
        if (helpers is not null) helpers.ForEach(tables, (worker, table) => GatherTable(worker, table, count));
        else
        {
            for (int table = 0; table < tables; table++) GatherTable(worker: 0, table, count);
        }

        CheckMemory();
    }

    private void GatherTable(int worker, int table, int count)
    {
        _cancel.ThrowIfCancellationRequested();
        TableGatherer gatherer = _gatherers[worker];
        int start = gatherer.Found.Count;
        gatherer.Collect(_sources.Tables[table], _ids.AsSpan(0, count), _range, _asksBloom);
        _shares[table] = new TableShare(worker, start, gatherer.Found.Count);
    }

    /// <summary>Groups what was found by series: a counting sort, since owners are small numbers.</summary>
    private void Deal()
    {
        if (_starts.Length < _batchCount + 1) _starts = new int[_batchCount + 1];
        if (_byOwner.Length < FoundCount) ReplaceDealt(PlaceArrays.Rent(Math.Max(FoundCount, 1024)));

        Span<int> starts = _starts.AsSpan(0, _batchCount + 1);
        starts.Clear();
        ReadOnlySpan<int> owners = CollectionsMarshal.AsSpan(_owners);
        foreach (TableGatherer gatherer in _gatherers) CountOwners(gatherer.Found.Owners, starts);
        CountOwners(owners, starts);
        for (int i = 0; i < _batchCount; i++) starts[i + 1] += starts[i];

        // Sets have their newest table first.
        for (int table = _shares.Length - 1; table >= 0; table--)
        {
            TableShare share = _shares[table];
            Deal(share, _gatherers[share.Gatherer].Found.Owners, starts);
        }

        Deal(new TableShare(-1, 0, owners.Length), owners, starts);
        for (int i = _batchCount; i > 0; i--) starts[i] = starts[i - 1];
        starts[0] = 0;
    }

    private static void CountOwners(ReadOnlySpan<int> owners, Span<int> starts)
    {
        foreach (int owner in owners) starts[owner + 1]++;
    }

    private void Deal(in TableShare share, ReadOnlySpan<int> owners, Span<int> starts)
    {
        for (int i = share.Start; i < share.End; i++) _byOwner[starts[owners[i]]++] = new ChunkPlace(share.Gatherer, i);
    }

    private void ReplaceDealt(ChunkPlace[] places)
    {
        if (_byOwner.Length > 0) PlaceArrays.Return(_byOwner);
        _byOwner = places;
    }

    private void Adapt()
    {
        int perSeries = Math.Max(1, FoundCount / _batchCount);
        _batchSize = (int)Math.Clamp(Math.Min(ChunksPerBatch, _memoryBytes / (4 * BytesPerChunk)) / perSeries, 1, LargestBatch);
    }

    private int FoundCount => _found.Count + _gatherers.Sum(static gatherer => gatherer.Found.Count);

    private long MemoryUsed =>
        _ordinals.LongLength * sizeof(uint) + _arena.AllocatedBytes + _gatherers.Sum(static gatherer => gatherer.CopiedBytes) + (long)FoundCount * BytesPerChunk;

    private void CheckMemory()
    {
        if (MemoryUsed > _memoryBytes) throw ReadLimitException.OfMemory(_memoryBytes);
    }

    /// <summary>The chunks of one table: those from <paramref name="Start"/> to before <paramref name="End"/> of a gatherer's. A negative one is for MemTables.</summary>
    private readonly record struct TableShare(int Gatherer, int Start, int End);

    /// <summary>Where a chunk is: copying it when it is dealt as well would cost more than looking there once.</summary>
    private readonly record struct ChunkPlace(int Gatherer, int Index);
}
