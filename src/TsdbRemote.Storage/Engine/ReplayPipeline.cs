using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>One record on its way from the log into a MemTable.</summary>
internal sealed class ReplayedRecord : IDisposable
{
    private PooledBuffer? _raw;

    /// <summary>Its kind.</summary>
    public WalRecordKind Kind { get; private set; }

    /// <summary>Its sequence.</summary>
    public ulong Sequence { get; private set; }

    /// <summary>Its body, a copy.</summary>
    public PooledBuffer Body { get; } = PooledBuffer.Rent(64 << 10);

    /// <summary>What it decodes to.</summary>
    public WriteScratch Scratch { get; } = new();

    /// <summary>True if it decodes.</summary>
    public bool IsDecoded => _raw is not null;

    /// <summary>Takes the next record's bytes.</summary>
    public void Take(WalRecordKind kind, ulong sequence, ReadOnlySpan<byte> body)
    {
        (Kind, Sequence) = (kind, sequence);
        Body.SetLength(0);
        Body.Append(body);
    }

    /// <summary>Unpacks and decodes them. Any thread.</summary>
    /// <param name="dictionary">That of the MemTable which takes the samples.</param>
    public void Decode(SeriesDictionary dictionary)
    {
        Scratch.Reset();
        SenderCursor cursor = dictionary.NewCursor();
        Scratch.KnownBy = dictionary;
        WalRecord.TryDecode(Kind, Body.Span, Scratch.Batch, ref cursor, out _raw);
    }

    /// <summary>Lets the unpacked bytes go.</summary>
    public void Forget()
    {
        _raw?.Dispose();
        _raw = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forget();
        Body.Dispose();
        Scratch.Dispose();
    }
}

/// <summary>Decodes records of a segment side by side while those before them are appended, one after the other, in their order.</summary>
/// <remarks>
/// <code>
///   add   g1 g1 g1 │ g2 g2 g2 │ g3 …          a full group is a turn: its records are decoded by whoever is free,
///   turn           │ decode g1│ decode g2     while one of them appends the group before
///                             │ append g1
/// </code>
/// So one large segment keeps two processors busy. Without helpers, or while they are busy with other segments, the caller does all of it.
/// Use:     <see cref="Add"/> each record, then <see cref="Complete"/>. Memory: two groups, of 4 MiB unpacked or one record each. Not thread-safe.
/// </remarks>
internal sealed class ReplayPipeline : IDisposable
{
    private const int RecordsPerGroup = 8;
    private const int BytesPerGroup = 4 << 20;

    private readonly ReadHelpers? _helpers;
    private readonly SeriesDictionary _dictionary;
    private readonly Action<ReplayedRecord> _append;
    private readonly Action<ulong, ulong>? _working;
    private List<ReplayedRecord> _added = [];
    private List<ReplayedRecord> _decoded = [];
    private int _addedCount;
    private int _decodedCount;
    private long _addedBytes;

    /// <summary>An empty pipeline.</summary>
    /// <param name="helpers">Threads that nobody reads with while the log is replayed; null to have none.</param>
    /// <param name="dictionary">That of the MemTable which takes the samples.</param>
    /// <param name="append">Takes one record after the other, decoded or not, on any of the threads.</param>
    /// <param name="working">Told the first and the last record of those that are decoded and appended next; null if nobody wants to know.</param>
    public ReplayPipeline(ReadHelpers? helpers, SeriesDictionary dictionary, Action<ReplayedRecord> append, Action<ulong, ulong>? working = null)
    {
        _working = working;
        _helpers = helpers;
        _dictionary = dictionary;
        _append = append;
    }

    /// <summary>Takes a record, and maybe has some before it decoded and appended.</summary>
    /// <param name="kind">Its kind.</param>
    /// <param name="sequence">Its sequence.</param>
    /// <param name="body">Its body; copied.</param>
    public void Add(WalRecordKind kind, ulong sequence, ReadOnlySpan<byte> body)
    {
        // What it unpacks to counts: eight records may be half a megabyte packed, and hundreds unpacked. A large one is a group of its own.
        PackedBody.CheckLength(WalRecord.Of(kind).Compression, body, int.MaxValue, out int unpacked);
        long bytes = Math.Max(body.Length, (long)unpacked);
        if (_addedCount > 0 && _addedBytes + bytes > BytesPerGroup) Turn();
        if (_addedCount == _added.Count) _added.Add(new ReplayedRecord());
        _added[_addedCount++].Take(kind, sequence, body);
        _addedBytes += bytes;
        if (_addedCount == RecordsPerGroup || _addedBytes >= BytesPerGroup) Turn();
    }

    /// <summary>Returns once everything added is appended.</summary>
    public void Complete()
    {
        while (_addedCount + _decodedCount > 0) Turn();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (ReplayedRecord record in _added) record.Dispose();
        foreach (ReplayedRecord record in _decoded) record.Dispose();
    }

    private void Turn()
    {
        int steps = 1 + _addedCount;
        _working?.Invoke((_decodedCount > 0 ? _decoded[0] : _added[0]).Sequence, (_addedCount > 0 ? _added[_addedCount - 1] : _decoded[_decodedCount - 1]).Sequence);
        if (_helpers is null)
        {
            for (int step = 0; step < steps; step++) Step(step);
        }
        else
        {
            _helpers.ForEach(steps, (_, step) => Step(step));
        }

        (_added, _decoded) = (_decoded, _added);
        (_addedCount, _decodedCount) = (0, _addedCount);
        _addedBytes = 0;
    }

    private void Step(int step)
    {
        if (step > 0)
        {
            _added[step - 1].Decode(_dictionary);
            return;
        }

        for (int i = 0; i < _decodedCount; i++)
        {
            _append(_decoded[i]);
            _decoded[i].Forget();
        }
    }
}
