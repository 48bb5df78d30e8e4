using System.Runtime.InteropServices;

namespace TsdbRemote.Storage.Series;

/// <summary>Makes the successor of a dictionary: the series that live, with their ids, under new ordinals.</summary>
/// <remarks>
/// Order:     <see cref="Keep"/> what lives; <see cref="Build"/>, beside writers who go on adding to the old one; <see cref="Keep"/> what has come to life
///            meanwhile; at last, while nobody writes, <see cref="Finish"/>, after which the old one gets no more series.
/// New:       a series added to the old one since this began is always taken along.
/// Returned:  a series found dead by <see cref="Build"/> that lives again gets an ordinal behind the others although its id is lower. They are few:
///            whoever finds <see cref="ReturnedCount"/> large drops the successor and begins again.
/// File:      <see cref="TakeUnwritten"/> names what a file of the successor has to hold and has not been given yet.
/// Memory:    the successor, two bits for each series of the old one, four bytes for each of the new one.
/// Not thread-safe, but any thread may add to the old one until <see cref="Finish"/>. Holds a reference on the old one, and the maker's on the new one.
/// </remarks>
internal sealed class SeriesCollection : IDisposable
{
    private const int SliceOfCopy = 1024;

    private readonly SeriesDictionary _old;
    private readonly int _before;
    private readonly OrdinalSet _live;
    private readonly OrdinalSet _written;
    private readonly List<uint> _returned = [];
    private readonly List<uint> _sources = [];
    private SeriesDictionary? _successor;
    private uint _hint;
    private int _copiedThrough;
    private bool _disposed;

    /// <summary>Begins with no series known to live.</summary>
    /// <param name="old">Held by the caller while this runs.</param>
    public SeriesCollection(SeriesDictionary old)
    {
        Invariant.Check(old.PostingsReady && old.TryAcquire());
        _old = old;
        _before = old.Count;
        _copiedThrough = _before;
        _live = new OrdinalSet(_before);
        _written = new OrdinalSet(_before);
    }

    /// <summary>The dictionary that is collected.</summary>
    public SeriesDictionary Old => _old;

    /// <summary>Series that the old one had when this began.</summary>
    public int Before => _before;

    /// <summary>Of these the ones known to live.</summary>
    public int LiveCount => _live.Count;

    /// <summary>Series that came to life after they had been found dead.</summary>
    public int ReturnedCount => _returned.Count;

    /// <summary>Once finished: series that the successor lacks.</summary>
    public int DroppedCount => _old.Count - _sources.Count;

    /// <summary>The dictionary made.</summary>
    /// <exception cref="InvariantViolatedException">There is none yet.</exception>
    public SeriesDictionary Successor
    {
        get
        {
            Invariant.Check(_successor is not null);
            return _successor!;
        }
    }

    /// <summary>Notes that a series lives.</summary>
    /// <param name="ordinal">Its ordinal in the old dictionary.</param>
    public void Keep(uint ordinal)
    {
        if (ordinal < (uint)_before && _live.Add(ordinal) && _successor is not null) _returned.Add(ordinal);
    }

    /// <summary>Notes that a series lives. Cheapest where ids come in ascending order.</summary>
    /// <returns>False if the old dictionary does not know the id.</returns>
    public bool KeepId(ulong id)
    {
        uint next = _hint + 1;
        bool isNext = next < (uint)_old.Count && _old.IdOf(next) == id;
        uint ordinal = next;
        if (!isNext && !_old.TryOrdinalOf(id, out ordinal)) return false;
        _hint = ordinal;
        Keep(ordinal);
        return true;
    }

    /// <summary>Makes the successor of what lives.</summary>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void Build(CancellationToken cancel)
    {
        Invariant.Check(_successor is null);
        SeriesDictionary successor = _old.NewSuccessor(_live.Count);
        try
        {
            _sources.Capacity = _live.Count;
            foreach (uint ordinal in _old.InOrderOfIds(_before))
            {
                if (ordinal % SliceOfCopy == 0) cancel.ThrowIfCancellationRequested();
                if (_live.Contains(ordinal)) Copy(successor, ordinal);
            }

            successor.RankAs(_old);
        }
        catch
        {
            successor.Dispose();
            throw;
        }

        _successor = successor;
    }

    /// <summary>Takes along what was added to the old one so far: what is left for <see cref="Finish"/> is then little.</summary>
    public void CopyNew()
    {
        for (int count = _old.Count; _copiedThrough < count; _copiedThrough++) Copy(Successor, (uint)_copiedThrough);
    }

    /// <summary>Persisted series of the successor that were not named here before, as ordinals of the old one.</summary>
    /// <remarks>While no flush runs. What is added or comes back later is not in the file, and the flush that needs it will add it.</remarks>
    public uint[] TakeUnwritten()
    {
        List<uint> unwritten = [];
        foreach (uint ordinal in _live.ToArray()) Take(ordinal);
        for (int ordinal = _before; ordinal < _copiedThrough; ordinal++) Take((uint)ordinal);
        return [.. unwritten];

        void Take(uint ordinal)
        {
            if (_old.IsPersisted(ordinal) && _written.Add(ordinal)) unwritten.Add(ordinal);
        }
    }

    /// <summary>Completes the successor. While nobody adds to the old one, nor ever does again.</summary>
    public SeriesDictionary Finish()
    {
        SeriesDictionary successor = Successor;
        CopyNew();
        _returned.Sort((a, b) => _old.IdOf(a).CompareTo(_old.IdOf(b)));
        successor.BeginLower();
        foreach (uint ordinal in _returned) Copy(successor, ordinal);
        successor.EndLower();
        successor.TakeTimes(_old, CollectionsMarshal.AsSpan(_sources));
        successor.TakeNextId(_old);
        return successor;
    }

    /// <summary>Once the file is committed: marks what it holds.</summary>
    public void MarkWritten()
    {
        List<uint> persisted = [];
        for (int i = 0; i < _sources.Count; i++)
        {
            if (_written.Contains(_sources[i])) persisted.Add((uint)i);
        }

        Successor.MarkPersisted(CollectionsMarshal.AsSpan(persisted));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _successor?.Dispose();
        _old.Release();
    }

    private void Copy(SeriesDictionary successor, uint ordinal)
    {
        successor.AddCopy(_old, ordinal);
        _sources.Add(ordinal);
    }
}
