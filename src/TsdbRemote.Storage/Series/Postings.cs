using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>Which series carry a label pair: name → values → ascending ordinals, in native memory.</summary>
/// <remarks>
/// Use:       the dictionary adds series in ascending order of ordinals; anybody reads. For a consistent answer take <see cref="IndexedCount"/>
///            first and disregard ordinals from it on: every list taken afterwards is complete below it.
/// Layout:    names and values are flat records found through two hash tables; neither names nor values are copied, they point into the
///            label runs. The values of a name are chained newest first. Lists: <see cref="ValueRecord"/>.
/// Memory:    about 4 bytes a label of a series, with half a block of slack a list, and 48 + 16 bytes a distinct pair.
/// Threads:   one writer at a time; readers take no lock. Each record is written whole before the number that leads to it.
/// Not here:  removal. Collecting dead series builds a new dictionary.
/// </remarks>
public sealed unsafe class Postings : IDisposable
{
    private const int NamePageShift = 6;
    private const int ValuePageShift = 10;

    private readonly NativeArena _blocks = new(1 << 18);
    private readonly NativePages<NameRecord> _names = new(NamePageShift);
    private readonly NativePages<ValueRecord> _values = new(ValuePageShift);
    private readonly OrdinalTable _nameTable = new();
    private readonly OrdinalTable _valueTable = new();
    private readonly List<uint> _nameAtPosition = [];
    private uint _indexed;
    private int _nameCount;
    private int _valueCount;

    internal Postings()
    {
    }

    /// <summary>Series whose pairs are all in the lists: the ordinals 0 to this, exclusive.</summary>
    public uint IndexedCount => Volatile.Read(ref _indexed);

    /// <summary>Distinct label names. They are numbered from 0.</summary>
    public int NameCount => Volatile.Read(ref _nameCount);

    /// <summary>Distinct label pairs.</summary>
    public int PairCount => Volatile.Read(ref _valueCount);

    /// <summary>Bytes held, native and managed.</summary>
    public long MemoryBytes =>
        _blocks.AllocatedBytes + _names.AllocatedBytes + _values.AllocatedBytes + _nameTable.MemoryBytes + _valueTable.MemoryBytes + Matched.MemoryBytes;

    /// <summary>What matchers were found to take of the values.</summary>
    internal MatchedValues Matched { get; } = new();

    /// <summary>A name by its number.</summary>
    public ReadOnlySpan<byte> NameAt(int name)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)name, (uint)NameCount, nameof(name));
        return _names[(uint)name].Bytes;
    }

    /// <summary>Distinct values of a name.</summary>
    public int ValueCount(int name)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)name, (uint)NameCount, nameof(name));
        return Volatile.Read(ref _names[(uint)name].ValueCount);
    }

    /// <summary>Finds a name's number.</summary>
    public bool TryFindName(ReadOnlySpan<byte> name, out int number)
    {
        OrdinalTable.Candidates candidates = _nameTable.Find(NameBits(name));
        while (candidates.MoveNext())
        {
            if (!_names[candidates.Current].Bytes.SequenceEqual(name)) continue;
            number = (int)candidates.Current;
            return true;
        }

        number = -1;
        return false;
    }

    /// <summary>The series with a label pair; empty if there are none.</summary>
    public PostingList Find(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) =>
        TryFindName(name, out int number) ? Find(number, value) : default;

    /// <summary>The series with a value of the name of this number; empty if there are none.</summary>
    public PostingList Find(int name, ReadOnlySpan<byte> value) =>
        TryFindValue((uint)name, value, ValueBits((uint)name, value), out uint found) ? new PostingList(ref _values[found]) : default;

    /// <summary>Starts before the first value of the name of this number; values come in no useful order.</summary>
    public ValueReader ValuesOf(int name) => ValuesOf(name, from: 0, prefix: []);

    /// <summary>As the other, without values of lower numbers, and without most of those that do not begin so.</summary>
    internal ValueReader ValuesOf(int name, uint from, ReadOnlySpan<byte> prefix)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)name, (uint)NameCount, nameof(name));
        return new ValueReader(this, Volatile.Read(ref _names[(uint)name].Newest), from, prefix);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _names.Dispose();
        _values.Dispose();
        _blocks.Dispose();
    }

    /// <summary>Adds the next series. One caller at a time, ordinals without a gap.</summary>
    /// <param name="ordinal">Equal to <see cref="IndexedCount"/>.</param>
    /// <param name="run">Its canonical labels, in native memory that stays as long as this object.</param>
    internal void Add(uint ordinal, ReadOnlySpan<byte> run)
    {
        Invariant.Check(ordinal == _indexed, "series enter the postings in ascending order without a gap");
        var labels = new LabelRunReader(run);
        for (int position = 0; labels.MoveNext(); position++)
        {
            uint name = InternName(position, labels.Name);
            Append(ref InternValue(name, labels.Value), ordinal);
        }

        Volatile.Write(ref _indexed, ordinal + 1);
    }

    /// <summary>The numbers of a name's values, u32 each, ascending by their bytes.</summary>
    internal NativeBytes SortedValues(int name, NativeArena arena)
    {
        ValueReader values = ValuesOf(name);
        int count = 0;
        for (ValueReader counted = values; counted.MoveNext();) count++;
        NativeBytes sorted = arena.Allocate(checked(count * sizeof(uint)));
        Span<uint> numbers = sorted.As<uint>();
        for (int i = 0; values.MoveNext(); i++) numbers[i] = values.Number;
        SortByBytes(numbers);
        return sorted;
    }

    /// <summary>The series that have the value of this number.</summary>
    internal PostingList ListOf(uint value) => new(ref _values[value]);

    private static uint NameBits(ReadOnlySpan<byte> name) => OrdinalTable.BitsOf(Labels.Hash(name));

    private static uint ValueBits(uint name, ReadOnlySpan<byte> value) =>
        OrdinalTable.BitsOf(Labels.Hash(value) ^ ((name + 1) * 0x9E3779B97F4A7C15));

    private static byte* AddressOf(ReadOnlySpan<byte> native) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(native));

    // Neighbours mostly have the same names at the same positions: one comparison instead of a hash.
    private uint InternName(int position, ReadOnlySpan<byte> name)
    {
        if (position < _nameAtPosition.Count)
        {
            uint expected = _nameAtPosition[position];
            if (_names[expected].Bytes.SequenceEqual(name)) return expected;
        }

        uint number = TryFindName(name, out int found) ? (uint)found : AddName(name);
        if (position < _nameAtPosition.Count) _nameAtPosition[position] = number;
        else _nameAtPosition.Add(number);
        return number;
    }

    private uint AddName(ReadOnlySpan<byte> name)
    {
        uint number = (uint)_nameCount;
        _names.EnsureThrough(number);
        _names[number] = new NameRecord { Name = AddressOf(name), Length = name.Length };
        Volatile.Write(ref _nameCount, _nameCount + 1);
        _nameTable.Add(NameBits(name), number);
        return number;
    }

    // Neighbours mostly share job, instance and the like: the value met last is compared before any hash.
    private ref ValueRecord InternValue(uint name, ReadOnlySpan<byte> value)
    {
        ref NameRecord record = ref _names[name];
        if (record.Newest != 0)
        {
            ref ValueRecord recent = ref _values[record.Recent];
            if (BytesOf(recent).SequenceEqual(value)) return ref recent;
        }

        uint bits = ValueBits(name, value);
        if (!TryFindValue(name, value, bits, out uint number)) number = AddValue(ref record, name, value, bits);
        record.Recent = number;
        return ref _values[number];
    }

    private bool TryFindValue(uint name, ReadOnlySpan<byte> value, uint bits, out uint number)
    {
        OrdinalTable.Candidates candidates = _valueTable.Find(bits);
        while (candidates.MoveNext())
        {
            number = candidates.Current;
            ref ValueRecord record = ref _values[number];
            if (record.Name == name && BytesOf(record).SequenceEqual(value)) return true;
        }

        number = 0;
        return false;
    }

    private uint AddValue(ref NameRecord owner, uint name, ReadOnlySpan<byte> value, uint bits)
    {
        Invariant.Check(_valueCount < int.MaxValue, "a number is left for another label pair");
        uint number = (uint)_valueCount;
        _values.EnsureThrough(number);
        _values[number] = new ValueRecord { Value = AddressOf(value), Length = value.Length, Name = name, Older = owner.Newest, Start = StartOf(value) };
        Volatile.Write(ref _valueCount, _valueCount + 1);
        Volatile.Write(ref owner.Newest, number + 1);
        Volatile.Write(ref owner.ValueCount, owner.ValueCount + 1);
        _valueTable.Add(bits, number);
        return number;
    }

    // With blocks of 2, 4, 8, … the list's element number n (from 1, the inline one aside) has n + 1 = block size + place in the block.
    private void Append(ref ValueRecord record, uint ordinal)
    {
        int count = record.Count;
        if (count == 0)
        {
            record.FirstId = ordinal;
        }
        else
        {
            uint place = (uint)count + 1;
            uint capacity = Math.Min(1u << BitOperations.Log2(place), PostingList.MaxBlockIds);
            place &= capacity - 1;
            if (place == 0) AddBlock(ref record, (int)capacity);
            ((uint*)(record.Tail + PostingList.BlockHeaderBytes))[place] = ordinal;
        }

        Volatile.Write(ref record.Count, count + 1);
    }

    private void AddBlock(ref ValueRecord record, int capacity)
    {
        byte* block = _blocks.Allocate(PostingList.BlockHeaderBytes + (capacity * sizeof(uint))).Pointer;
        *(byte**)block = null;
        if (record.Head == null) record.Head = block;
        else *(byte**)record.Tail = block;
        record.Tail = block;
    }

    // Most values of a name begin alike: the eight bytes behind what all share are the key, and only values equal in those are compared.
    private void SortByBytes(Span<uint> numbers)
    {
        if (numbers.Length < 2) return;
        ReadOnlySpan<byte> shared = BytesOf(_values[numbers[0]]);
        foreach (uint number in numbers) shared = shared[..shared.CommonPrefixLength(BytesOf(_values[number]))];
        using var scratch = new NativeArena();
        Span<ulong> keys = scratch.Allocate(checked(numbers.Length * sizeof(ulong))).As<ulong>();
        for (int i = 0; i < keys.Length; i++) keys[i] = KeyOf(BytesOf(_values[numbers[i]])[shared.Length..]);
        keys.Sort(numbers);
        int from = 0;
        for (int i = 1; i <= keys.Length; i++)
        {
            if (i < keys.Length && keys[i] == keys[from]) continue;
            if (i - from > 1) numbers[from..i].Sort((a, b) => BytesOf(_values[a]).SequenceCompareTo(BytesOf(_values[b])));
            from = i;
        }
    }

    private static ulong KeyOf(ReadOnlySpan<byte> rest)
    {
        if (rest.Length >= sizeof(ulong)) return BinaryPrimitives.ReadUInt64BigEndian(rest);
        Span<byte> padded = stackalloc byte[sizeof(ulong)];
        padded.Clear();
        rest.CopyTo(padded);
        return BinaryPrimitives.ReadUInt64BigEndian(padded);
    }

    private static uint StartOf(ReadOnlySpan<byte> text)
    {
        if (text.Length >= sizeof(uint)) return BinaryPrimitives.ReadUInt32LittleEndian(text);
        uint start = 0;
        for (int i = 0; i < text.Length; i++) start |= (uint)text[i] << (8 * i);
        return start;
    }

    private static ReadOnlySpan<byte> BytesOf(in ValueRecord record) => new(record.Value, record.Length);

    private struct NameRecord
    {
        public byte* Name;
        public int Length;
        public int ValueCount;

        // Number + 1 of the newest value; 0 while there is none.
        public uint Newest;

        // Number of the value met last. The writer's own.
        public uint Recent;

        public readonly ReadOnlySpan<byte> Bytes => new(Name, Length);
    }

    /// <summary>Walks the values of one name, newest first, as they were when the walk began.</summary>
    /// <remarks>
    /// A second place runs ahead along the chain and has fetched what lies far apart: the records, which mostly lie at like distances, and the bytes of values, in a cache line each.
    /// </remarks>
    public ref struct ValueReader
    {
        private const int Ahead = 16;

        private readonly Postings _postings;
        private readonly uint _from;
        private readonly uint _startMask;
        private readonly uint _start;
        private uint _next;
        private uint _fetched;
        private int _lead;
        private ref ValueRecord _current;

        internal ValueReader(Postings postings, uint newest, uint from, ReadOnlySpan<byte> prefix)
        {
            _postings = postings;
            _from = from;
            _startMask = prefix.Length >= sizeof(uint) ? uint.MaxValue : (1u << (8 * prefix.Length)) - 1;
            _start = StartOf(prefix);
            _next = newest;
            _fetched = newest;
            End = newest;
        }

        /// <summary>The value.</summary>
        public readonly ReadOnlySpan<byte> Value => BytesOf(_current);

        /// <summary>The series that have it.</summary>
        public readonly PostingList Series => new(ref _current);

        /// <summary>The value's number among all pairs.</summary>
        internal uint Number { readonly get; private set; }

        /// <summary>The number of the newest value + 1; 0 if there is none.</summary>
        internal uint End { get; }

        /// <summary>Values passed so far, those that were skipped too.</summary>
        internal int Passed { readonly get; private set; }

        /// <summary>Steps to the next value.</summary>
        public bool MoveNext()
        {
            while (_next > _from)
            {
                if (_lead < Ahead) Fetch();
                Fetch();
                Number = _next - 1;
                _current = ref _postings._values[Number];
                _next = _current.Older;
                _lead--;
                Passed++;
                if ((_current.Start & _startMask) == _start) return true;
            }

            return false;
        }

        private void Fetch()
        {
            if (_fetched <= _from) return;
            NativePages<ValueRecord> values = _postings._values;
            ref ValueRecord record = ref values[_fetched - 1];
            if ((record.Start & _startMask) == _start) Prefetch.Near(record.Value);
            ulong step = _fetched - (ulong)record.Older;
            _fetched = record.Older;
            _lead++;
            if (Ahead * step < _fetched) Prefetch.Near(in values[_fetched - 1 - (uint)(Ahead * step)]);
        }
    }
}
