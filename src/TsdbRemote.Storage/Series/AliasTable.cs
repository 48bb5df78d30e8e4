namespace TsdbRemote.Storage.Series;

/// <summary>Remembers how senders spell series whose labels do not come in canonical form, so that they need not be sorted each time.</summary>
/// <remarks>
/// Bounded:   two generations share the budgets. When the young one is full it becomes the old one, and what was old is forgotten. A
///            forgotten alias costs its sender one normalisation, nothing else.
/// Memory:    on the garbage-collected heap, in large arrays without references: a reader may still compare bytes of a generation just dropped.
/// Threads:   one writer at a time; readers take no lock and may miss an alias that is being added or has just been forgotten.
/// </remarks>
internal sealed class AliasTable
{
    private readonly int _maxCount;
    private readonly long _maxBytes;
    private Generation _young = new();
    private Generation _old = new();

    /// <summary>An empty table.</summary>
    /// <param name="maxCount">Most aliases kept.</param>
    /// <param name="maxBytes">Most bytes of raw runs kept.</param>
    public AliasTable(int maxCount, long maxBytes)
    {
        _maxCount = maxCount;
        _maxBytes = maxBytes;
    }

    /// <summary>Aliases kept.</summary>
    public int Count => _young.Count + _old.Count;

    /// <summary>Bytes held.</summary>
    public long MemoryBytes => _young.MemoryBytes + _old.MemoryBytes;

    /// <summary>Looks a raw run up.</summary>
    public bool TryFind(ReadOnlySpan<byte> run, uint bits, out uint ordinal) =>
        Volatile.Read(ref _young).TryFind(run, bits, out ordinal) || Volatile.Read(ref _old).TryFind(run, bits, out ordinal);

    /// <summary>Remembers a raw run unless it is known, or so long that it would push half of the others out. One caller at a time.</summary>
    public void Add(ReadOnlySpan<byte> run, uint bits, uint ordinal)
    {
        if (run.Length > _maxBytes / 4 || run.Length > Generation.BlockBytes || _maxCount < 2 || TryFind(run, bits, out _)) return;
        if (_young.Count >= _maxCount / 2 || _young.RunBytes + run.Length > _maxBytes / 2)
        {
            Volatile.Write(ref _old, _young);
            Volatile.Write(ref _young, new Generation());
        }

        _young.Add(run, bits, ordinal);
    }

    private struct AliasRecord
    {
        public int Block;
        public int Offset;
        public int Length;
        public uint Ordinal;
    }

    private sealed class Generation
    {
        public const int BlockBytes = 1 << 18;
        private const int FirstRecords = 16;

        private readonly OrdinalTable _table = new();
        private AliasRecord[] _records = [];
        private byte[][] _blocks = [];
        private int _used = BlockBytes;

        public int Count => _table.Count;

        public long RunBytes { get; private set; }

        public unsafe long MemoryBytes =>
            _table.MemoryBytes + (_records.Length * (long)sizeof(AliasRecord)) + (_blocks.Length * (long)BlockBytes);

        public bool TryFind(ReadOnlySpan<byte> run, uint bits, out uint ordinal)
        {
            OrdinalTable.Candidates candidates = _table.Find(bits);
            while (candidates.MoveNext())
            {
                // Both arrays were published before the entry that led here.
                AliasRecord record = Volatile.Read(ref _records)[candidates.Current];
                if (!run.SequenceEqual(Volatile.Read(ref _blocks)[record.Block].AsSpan(record.Offset, record.Length))) continue;
                ordinal = record.Ordinal;
                return true;
            }

            ordinal = 0;
            return false;
        }

        public void Add(ReadOnlySpan<byte> run, uint bits, uint ordinal)
        {
            if (BlockBytes - _used < run.Length)
            {
                Volatile.Write(ref _blocks, [.. _blocks, new byte[BlockBytes]]);
                _used = 0;
            }

            int number = _table.Count;
            if (number == _records.Length)
            {
                var more = new AliasRecord[Math.Max(FirstRecords, number * 2)];
                _records.CopyTo(more, 0);
                Volatile.Write(ref _records, more);
            }

            run.CopyTo(_blocks[^1].AsSpan(_used));
            _records[number] = new AliasRecord { Block = _blocks.Length - 1, Offset = _used, Length = run.Length, Ordinal = ordinal };
            _used += run.Length;
            RunBytes += run.Length;
            _table.Add(bits, (uint)number);
        }
    }
}
