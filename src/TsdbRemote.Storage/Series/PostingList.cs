namespace TsdbRemote.Storage.Series;

/// <summary>One label pair: where its value stands, and the head of its list of ordinals. 48 bytes in native memory.</summary>
/// <remarks>
/// <code>
/// ordinals:   FirstId here │ block 0: 2 │ block 1: 4 │ block 2: 8 │ … │ 8,192 │ 8,192 │ …      block: next u64, then u32 each
/// </code>
/// A list of one, by far the most frequent length, has no block. Blocks never move, and ordinals once written never change.
/// </remarks>
internal unsafe struct ValueRecord
{
    /// <summary>Value bytes, inside the label run of the first series that has the pair.</summary>
    public byte* Value;

    /// <summary>First block, or null; set before <see cref="Count"/> becomes 2.</summary>
    public byte* Head;

    /// <summary>Last block. The writer's own.</summary>
    public byte* Tail;

    /// <summary>Bytes of the value.</summary>
    public int Length;

    /// <summary>Number of the label's name.</summary>
    public uint Name;

    /// <summary>Number + 1 of the value that the same name got before this one; 0 ends the chain.</summary>
    public uint Older;

    /// <summary>Ordinals in the list. Written last, by a volatile write.</summary>
    public int Count;

    /// <summary>The first ordinal.</summary>
    public uint FirstId;

    /// <summary>The value's first four bytes, the first one lowest, zeros behind a shorter one: tells most values of another beginning apart without a look at their bytes.</summary>
    public uint Start;
}

/// <summary>The ordinals of the series that carry one label pair, ascending, as they were when the list was taken.</summary>
/// <remarks>
/// Use: <c>PostingList.Reader chunks = list.Read(); while (chunks.MoveNext())</c> use <c>chunks.Current</c>, a run of ordinals.
/// Threads: captures the count once; what the writer appends later is not seen. Valid while its dictionary is.
/// </remarks>
public readonly unsafe struct PostingList
{
    /// <summary>Bytes in front of a block's ordinals.</summary>
    internal const int BlockHeaderBytes = sizeof(ulong);

    /// <summary>Ordinals of the first block.</summary>
    internal const int MinBlockIds = 2;

    /// <summary>Ordinals of the largest block: past this size doubling would waste more than chaining costs.</summary>
    internal const int MaxBlockIds = 8192;

    private readonly ValueRecord* _record;

    /// <summary>Captures a list as it is now.</summary>
    internal PostingList(ref ValueRecord record)
    {
        // The record lives in native memory, so its address holds.
        _record = (ValueRecord*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref record);
        Count = Volatile.Read(ref record.Count);
    }

    /// <summary>Ordinals in the list.</summary>
    public int Count { get; }

    /// <summary>Starts before the first run of ordinals.</summary>
    public Reader Read() => new(_record, Count);

    /// <summary>Walks a list in contiguous runs; no run is empty.</summary>
    public ref struct Reader
    {
        private readonly ValueRecord* _record;
        private byte* _next;
        private int _left;
        private int _capacity;

        internal Reader(ValueRecord* record, int count)
        {
            _record = record;
            _left = count;
        }

        /// <summary>The run, ascending.</summary>
        public ReadOnlySpan<uint> Current { readonly get; private set; }

        /// <summary>Steps to the next run.</summary>
        public bool MoveNext()
        {
            if (_left == 0) return false;
            if (_capacity == 0)
            {
                Current = new ReadOnlySpan<uint>(&_record->FirstId, 1);
                _capacity = MinBlockIds;
                _left--;
                _next = _left > 0 ? _record->Head : null;
                return true;
            }

            int length = Math.Min(_left, _capacity);
            Current = new ReadOnlySpan<uint>(_next + BlockHeaderBytes, length);
            _capacity = Math.Min(_capacity * 2, MaxBlockIds);
            _left -= length;
            if (_left > 0) _next = *(byte**)_next;
            return true;
        }
    }
}
