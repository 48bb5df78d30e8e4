using System.Numerics;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.MemTables;
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

/// <summary>Where replayed records go.</summary>
internal interface IReplayTarget
{
    /// <summary>Finds and creates the series of a record: one record after the other, in their order, on any thread.</summary>
    /// <param name="record">Decoded, or not if that is not possible.</param>
    void Resolve(ReplayedRecord record);

    /// <summary>Appends a part of a resolved record: of each share one record after the other, in their order, while other shares may be ahead or behind.</summary>
    /// <param name="record">The record.</param>
    /// <param name="share">Which part of all series.</param>
    void Append(ReplayedRecord record, SeriesShare share);
}

/// <summary>Decodes, resolves and appends the records of a segment, one group of them in each of the three stages at a time.</summary>
/// <remarks>
/// <code>
///   add   g1 g1 g1 │ g2 g2 g2 │ g3 g3 g3 │ g4 …      a full group is a turn: its records are decoded by whoever is free, while the series of
///   turn           │ decode g1│ decode g2│ decode g3 the group before are found by one, and the samples of the one before that are appended by
///                             │ find g1  │ find g2   several, each those of other series
///                                        │ append g1
/// </code>
/// So one large segment keeps all processors busy, and the samples of each series are appended in the order of the log. Without helpers, or while they are
/// busy with other segments, the caller does all of it.
/// Use:     <see cref="Add"/> each record, then <see cref="Complete"/>. Memory: three groups, of 4 MiB unpacked or one record each. Not thread-safe.
/// </remarks>
internal sealed class ReplayPipeline : IDisposable
{
    /// <summary>Most shares that samples are appended in.</summary>
    public const int MaxShares = 4;

    private const int RecordsPerGroup = 8;
    private const int BytesPerGroup = 4 << 20;

    private readonly ReadHelpers? _helpers;
    private readonly SeriesDictionary _dictionary;
    private readonly IReplayTarget _target;
    private readonly int _shares;
    private Group _added = new();
    private Group _decoded = new();
    private Group _resolved = new();

    /// <summary>An empty pipeline.</summary>
    /// <param name="helpers">Threads that nobody reads with while the log is replayed; null to have none.</param>
    /// <param name="dictionary">That of the MemTable which takes the samples.</param>
    /// <param name="target">Takes the records.</param>
    public ReplayPipeline(ReadHelpers? helpers, SeriesDictionary dictionary, IReplayTarget target)
    {
        _helpers = helpers;
        _dictionary = dictionary;
        _target = target;

        // Two processors have enough to do with the stages, and each share passes over the series of the others.
        int processors = 1 + (helpers?.Threads ?? 0);
        _shares = Math.Min(MaxShares, 1 << BitOperations.Log2((uint)Math.Max(1, processors / 2)));
    }

    /// <summary>Takes a record, and maybe has some before it decoded, resolved and appended.</summary>
    /// <param name="kind">Its kind.</param>
    /// <param name="sequence">Its sequence.</param>
    /// <param name="body">Its body; copied.</param>
    public void Add(WalRecordKind kind, ulong sequence, ReadOnlySpan<byte> body)
    {
        // What it unpacks to counts: eight records may be half a megabyte packed, and hundreds unpacked. A large one is a group of its own.
        PackedBody.CheckLength(WalRecord.Of(kind).Compression, body, int.MaxValue, out int unpacked);
        long bytes = Math.Max(body.Length, (long)unpacked);
        if (_added.Count > 0 && _added.Bytes + bytes > BytesPerGroup) Turn();
        _added.Add(bytes).Take(kind, sequence, body);
        if (_added.Count == RecordsPerGroup || _added.Bytes >= BytesPerGroup) Turn();
    }

    /// <summary>Returns once everything added is appended.</summary>
    public void Complete()
    {
        while (_added.Count + _decoded.Count + _resolved.Count > 0) Turn();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _added.Dispose();
        _decoded.Dispose();
        _resolved.Dispose();
    }

    private void Turn()
    {
        int steps = 1 + _shares + _added.Count;
        if (_helpers is null)
        {
            for (int step = 0; step < steps; step++) Step(step);
        }
        else
        {
            _helpers.ForEach(steps, (_, step) => Step(step));
        }

        _resolved.Clear();
        (_added, _decoded, _resolved) = (_resolved, _added, _decoded);
    }

    // The longest first, so that nobody waits for the end of it alone.
    private void Step(int step)
    {
        if (step == 0)
        {
            for (int i = 0; i < _decoded.Count; i++) _target.Resolve(_decoded[i]);
        }
        else if (step <= _shares)
        {
            var share = new SeriesShare(step - 1, _shares);
            for (int i = 0; i < _resolved.Count; i++) _target.Append(_resolved[i], share);
        }
        else
        {
            _added[step - 1 - _shares].Decode(_dictionary);
        }
    }

    /// <summary>Records that go through the stages together.</summary>
    private sealed class Group : IDisposable
    {
        private readonly List<ReplayedRecord> _records = [];

        public int Count { get; private set; }

        public long Bytes { get; private set; }

        public ReplayedRecord this[int index] => _records[index];

        public ReplayedRecord Add(long bytes)
        {
            if (Count == _records.Count) _records.Add(new ReplayedRecord());
            Bytes += bytes;
            return _records[Count++];
        }

        public void Clear()
        {
            for (int i = 0; i < Count; i++) _records[i].Forget();
            Count = 0;
            Bytes = 0;
        }

        public void Dispose()
        {
            foreach (ReplayedRecord record in _records) record.Dispose();
        }
    }
}
