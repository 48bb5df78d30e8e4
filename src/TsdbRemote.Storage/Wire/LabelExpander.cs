using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Turns the label references of one 2.0 series into a label run in the batch's arena, in the order of the wire.</summary>
/// <remarks>
/// Use: <see cref="TryAdd"/> for each reference, however the wire groups them, then <see cref="Finish"/>. A bad reference makes the run
/// empty and is remembered; the rest of the references is still read. Lives on the stack; the batch's arena is its own until it finished.
/// </remarks>
internal ref struct LabelExpander
{
    private const int MaxLengthBytes = 5;

    /// <summary>Most bytes of a label beyond its texts: three tags and three lengths.</summary>
    private const int MaxOverhead = 3 * (1 + MaxLengthBytes);

    /// <summary>Names up to this length are copied as a block of it.</summary>
    private const int NameBlock = 32;

    /// <summary>Values up to this length are copied as one or two blocks of half of it; many metric names and pods need two.</summary>
    private const int ValueBlock = 2 * NameBlock;

    /// <summary>Room for a label of such blocks.</summary>
    private const int ShortRoom = LabelWire.NameAt + NameBlock + 2 + ValueBlock;

    private readonly WriteBatch _batch;
    private readonly ReadOnlySpan<byte> _body;
    private readonly ReadOnlySpan<BodyRange> _symbols;
    private readonly int _start;
    private Span<byte> _free;
    private int _used;
    private uint _name;
    private bool _hasName;
    private bool _isOutOfTable;

    private static readonly ulong MetricNameWord = BitConverter.ToUInt64(MetricNameLabel);

    private static ReadOnlySpan<byte> MetricNameLabel => "__name__"u8;

    /// <summary>Starts a run where the arena ends.</summary>
    public LabelExpander(WriteBatch batch)
    {
        _batch = batch;
        _body = batch.Body.Span;
        _symbols = batch.Symbols;
        _start = batch.ArenaLength;
    }

    /// <summary>Value of the label <c>__name__</c>; empty if there was none.</summary>
    public BodyRange MetricName { readonly get; private set; }

    /// <summary>Takes the next reference: a name, then its value.</summary>
    /// <returns>False if the labels of the request take more than they may.</returns>
    public bool TryAdd(uint reference)
    {
        _hasName = !_hasName;
        if (_hasName)
        {
            _name = reference;
            return true;
        }

        return TryAddPair(_name, reference);
    }

    /// <summary>Takes a list of references, as long as they come in pairs of one or two bytes each, as nearly all do.</summary>
    /// <param name="list">Advanced behind the last pair taken; the rest is for <see cref="TryAdd"/>.</param>
    /// <returns>False if the labels of the request take more than they may.</returns>
    public bool TryAddPairs(scoped ref WireReader list)
    {
        if (_hasName || _isOutOfTable) return true;
        int end = list.Body.Length;
        do
        {
            list.Position = AddShortPairs(list.Position, end);
            if (!TryReadShortPair(_body, list.Position, end, out uint name, out uint value, out int next)) return true;
            list.Position = next;
            if (!TryAddPair(name, value)) return false;
        }
        while (true);
    }

    /// <summary>Ends the run and puts it into the series.</summary>
    /// <returns>What was wrong with the references; the run is then empty.</returns>
    public readonly SeriesProblem Finish(ref SeriesEntry entry)
    {
        entry.LabelsInArena = true;
        entry.LabelsOffset = _start;
        _batch.AdvanceArena(_used);
        if (!_hasName && !_isOutOfTable)
        {
            entry.LabelsLength = _batch.ArenaLength - _start;
            return SeriesProblem.None;
        }

        _batch.TruncateArena(_start);
        return _hasName ? SeriesProblem.OddLabelRefs : SeriesProblem.LabelRefOutOfTable;
    }

    /// <summary>
    /// Reads a pair of references of one or two bytes each: four bytes of the body at once, which may reach beyond the list.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryReadShortPair(ReadOnlySpan<byte> body, int at, int end, out uint name, out uint value, out int next)
    {
        name = value = 0;
        next = at + 2;
        if (body.Length - at < sizeof(uint)) return false;
        uint word = BinaryPrimitives.ReadUInt32LittleEndian(body[at..]);
        name = word & 0x7F;
        if ((word & 0x80) != 0)
        {
            if ((word & 0x8000) != 0) return false;
            name |= (word & 0x7F00) >> 1;
            word >>= 8;
            next++;
        }

        value = (word >> 8) & 0x7F;
        if ((word & 0x8000) != 0)
        {
            if ((word & 0x800000) != 0) return false;
            value |= (word & 0x7F0000) >> 9;
            next++;
        }

        return next <= end;
    }

    /// <summary>
    /// Copies texts as whole blocks, each over the tail of the one before: measuring a few bytes costs more than copying 32.
    /// </summary>
    /// <returns>Where the first pair stands that needs a closer look.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]  // inlined into its caller it loses its registers
    private int AddShortPairs(int at, int end)
    {
        if (_free.Length - _used < ShortRoom && !TryMakeRoom(ShortRoom)) return at;
        ReadOnlySpan<byte> body = _body;
        ReadOnlySpan<BodyRange> symbols = _symbols;
        Span<byte> free = _free[_used..];
        while (free.Length >= ShortRoom && TryReadShortPair(body, at, end, out uint nameRef, out uint valueRef, out int next))
        {
            if (nameRef >= (uint)symbols.Length || valueRef >= (uint)symbols.Length) break;
            BodyRange name = symbols[(int)nameRef];
            BodyRange value = symbols[(int)valueRef];
            if (name.Length > NameBlock || body.Length - name.Offset < NameBlock) break;
            if (value.Length > ValueBlock || body.Length - value.Offset < ValueBlock) break;
            int valueAt = LabelWire.NameAt + name.Length + 2;
            Vector256<byte> nameText = Vector256.Create(body[name.Offset..]);
            nameText.CopyTo(free[LabelWire.NameAt..]);
            Vector256.Create(body[value.Offset..]).CopyTo(free[valueAt..]);
            if (value.Length > NameBlock) Vector256.Create(body[(value.Offset + NameBlock)..]).CopyTo(free[(valueAt + NameBlock)..]);
            LabelWire.WriteShortHeads(free, name.Length, value.Length);
            if (name.Length == MetricNameLabel.Length && nameText.AsUInt64()[0] == MetricNameWord) MetricName = value;
            free = free[(valueAt + value.Length)..];
            at = next;
        }

        _used = _free.Length - free.Length;
        return at;
    }

    private bool TryAddPair(uint nameRef, uint valueRef)
    {
        if (nameRef >= (uint)_symbols.Length || valueRef >= (uint)_symbols.Length) _isOutOfTable = true;
        if (_isOutOfTable) return true;
        BodyRange name = _symbols[(int)nameRef];
        BodyRange value = _symbols[(int)valueRef];
        if (_body.Slice(name.Offset, name.Length).SequenceEqual(MetricNameLabel)) MetricName = value;
        long most = (long)name.Length + value.Length + MaxOverhead;
        if (_free.Length - _used < most && !TryMakeRoom(most)) return false;
        _used += Labels.Write(_free[_used..], _body.Slice(name.Offset, name.Length), _body.Slice(value.Offset, value.Length));
        return true;
    }

    private bool TryMakeRoom(long most)
    {
        _batch.AdvanceArena(_used);
        _used = 0;
        return _batch.TryReserveArena(most, out _free);
    }
}
