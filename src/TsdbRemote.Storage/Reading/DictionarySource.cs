using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Reading;

/// <summary>The side of a merge that knows series by id: MemTables and tables, in the label order of the dictionary.</summary>
/// <remarks>
/// How:       series are taken in label order in batches; each batch, sorted by id, makes one forward pass over each table (design of
///            the on-disk order: tables know ids, not labels). What the batch found is dealt out by series as the merge steps.
/// Joins:     ids with equal labels (a series that left the dictionary and came back) stand side by side in label order and come out as one.
/// Bounded:   the size of a batch follows the chunks a series turned out to have, so that references and copies stay within the limit.
/// Not here:  merging of chunks, choice of series. Not thread-safe; the sources are held by the snapshot that made it.
/// </remarks>
internal sealed class DictionarySource : ISeriesSource, ISeriesChunkSink
{
    private const int FirstBatch = 256;
    private const int LargestBatch = 32_768;

    // Chunks gathered at a time, and what the references to one take until they are dealt out: 3 MB together. Four times as many read no faster.
    private const int ChunksPerBatch = 1 << 15;
    private const int BytesPerChunk = 100;

    private readonly ReadSources _sources;
    private readonly SeriesDictionary _dictionary;
    private readonly uint[] _ordinals;
    private readonly TimeRange _range;
    private readonly long _memoryBytes;
    private readonly CancellationToken _cancel;

    private readonly List<SeriesChunk> _found = [];
    private readonly List<int> _owners = [];
    private readonly Action<CorruptFileException>? _skipDamaged;
    private readonly ReadHelpers? _helpers;

    // A small batch of a large read must not load the filters of all tables: they are 1.2 bytes a series each, and it would find most of its series anyway.
    private readonly bool _asksBloom;
    private readonly List<TableGatherer> _gatherers = [];
    private NativeArena _arena = new();
    private ulong[] _ids = [];
    private int[] _positions = [];
    private int[] _starts = [];
    private SeriesChunk[] _byOwner = [];
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
        output.AddRange(_byOwner.AsSpan(_starts[_position].._starts[_next]));
        deletions?.Apply(output, before);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        foreach (TableGatherer gatherer in _gatherers) gatherer.Dispose();
    }

    void ISeriesChunkSink.Add(int idIndex, in SeriesChunk chunk)
    {
        _found.Add(chunk);
        _owners.Add(_positions[idIndex]);
        if ((_found.Count & 0xFFFF) == 0) CheckMemory();
    }

    bool ISeriesChunkSink.SkipDamaged(int idIndex, CorruptFileException damage)
    {
        _skipDamaged?.Invoke(damage);
        return _skipDamaged is not null;
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
        if (_helpers is null || _sources.Tables.Count < 2)
        {
            foreach (LevelTable table in _sources.Tables)
            {
                _cancel.ThrowIfCancellationRequested();
                table.Collect(_ids.AsSpan(0, batch.Length), _range, _arena, this, _asksBloom);
            }
        }
        else
        {
            GatherSideBySide(_helpers, batch.Length);
        }

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
    private void GatherSideBySide(ReadHelpers helpers, int count)
    {
        var budget = new GatherBudget(_memoryBytes, MemoryUsed);
        while (_gatherers.Count <= helpers.Threads) _gatherers.Add(new TableGatherer(_skipDamaged));
        foreach (TableGatherer gatherer in _gatherers) gatherer.Begin(_positions, budget);
        helpers.ForEach(_sources.Tables.Count, (worker, table) =>
        {
            _cancel.ThrowIfCancellationRequested();
            _gatherers[worker].Collect(_sources.Tables[table], _ids.AsSpan(0, count), _range, _asksBloom);
        });
        foreach (TableGatherer gatherer in _gatherers)
        {
            _found.AddRange(gatherer.Found);
            _owners.AddRange(gatherer.Owners);
        }

        CheckMemory();
    }

    /// <summary>Groups what was found by series: a counting sort, since owners are small numbers.</summary>
    private void Deal()
    {
        if (_starts.Length < _batchCount + 1) _starts = new int[_batchCount + 1];
        if (_byOwner.Length < _found.Count) _byOwner = new SeriesChunk[Math.Max(_found.Count, 1024)];
        Span<int> starts = _starts.AsSpan(0, _batchCount + 1);
        starts.Clear();
        ReadOnlySpan<int> owners = CollectionsMarshal.AsSpan(_owners);
        foreach (int owner in owners) starts[owner + 1]++;
        for (int i = 0; i < _batchCount; i++) starts[i + 1] += starts[i];
        ReadOnlySpan<SeriesChunk> found = CollectionsMarshal.AsSpan(_found);
        for (int i = 0; i < found.Length; i++) _byOwner[starts[owners[i]]++] = found[i];
        for (int i = _batchCount; i > 0; i--) starts[i] = starts[i - 1];
        starts[0] = 0;
    }

    private void Adapt()
    {
        int perSeries = Math.Max(1, _found.Count / _batchCount);
        _batchSize = (int)Math.Clamp(Math.Min(ChunksPerBatch, _memoryBytes / (4 * BytesPerChunk)) / perSeries, 1, LargestBatch);
    }

    private long MemoryUsed =>
        _ordinals.LongLength * sizeof(uint) + _arena.AllocatedBytes + _gatherers.Sum(static gatherer => gatherer.CopiedBytes) + (long)_found.Count * BytesPerChunk;

    private void CheckMemory()
    {
        if (MemoryUsed > _memoryBytes) throw ReadLimitException.OfMemory(_memoryBytes);
    }
}
