using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Wire;

/// <summary>Turns the label references of one 2.0 series into a label run in the batch's arena, in the order of the wire.</summary>
/// <remarks>
/// Use: <see cref="TryAdd"/> for each reference, however the wire groups them, then <see cref="Finish"/>. A bad reference makes the run empty
/// and is remembered; the rest of the references is still read. Lives on the stack; the batch's arena is its own until it finished.
/// </remarks>
internal ref struct LabelExpander
{
    private const int MaxLengthBytes = 5;

    /// <summary>Most bytes of a label beyond its texts: three tags and three lengths.</summary>
    private const int MaxOverhead = 3 * (1 + MaxLengthBytes);

    private readonly WriteBatch _batch;
    private readonly ReadOnlySpan<byte> _body;
    private readonly ReadOnlySpan<BodyRange> _symbols;
    private readonly int _start;
    private Span<byte> _free;
    private int _used;
    private uint _name;
    private bool _hasName;
    private bool _isOutOfTable;

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

        if (_name >= (uint)_symbols.Length || reference >= (uint)_symbols.Length) _isOutOfTable = true;
        return _isOutOfTable || TryAddLabel(_symbols[(int)_name], _symbols[(int)reference]);
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

    private bool TryAddLabel(BodyRange name, BodyRange value)
    {
        long most = (long)name.Length + value.Length + MaxOverhead;
        if (_free.Length - _used < most && !TryMakeRoom(most)) return false;
        ReadOnlySpan<byte> nameText = _body.Slice(name.Offset, name.Length);
        if (nameText.SequenceEqual("__name__"u8)) MetricName = value;
        _used += Labels.Write(_free[_used..], nameText, _body.Slice(value.Offset, value.Length));
        return true;
    }

    private bool TryMakeRoom(long most)
    {
        _batch.AdvanceArena(_used);
        _used = 0;
        return _batch.TryReserveArena(most, out _free);
    }
}
