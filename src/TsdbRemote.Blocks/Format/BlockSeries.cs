using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Format;

/// <summary>One series as an index holds it: a buffer that <see cref="IndexReader.ReadSeries"/> fills again and again.</summary>
/// <remarks>
/// Use:    one for each thread that reads; what it shows is valid until the next read. Dispose gives the buffers back.
/// Speed:  neighbours share most of their labels, so the labels of the series read before are kept and copied where they are the same ones;
///         where a few symbols were found lately is remembered too. About 20 KiB, more if labels or chunks need more.
/// Not thread-safe. Holds no reader open.
/// </remarks>
public sealed class BlockSeries : IDisposable
{
    private const int ReadAheadBytes = 4096;

    private readonly List<LabelRef>[] _refs = [[], []];
    private readonly List<int>[] _ends = [[], []];
    private readonly PooledBuffer[] _runs = [PooledBuffer.Rent(512), PooledBuffer.Rent(512)];
    private int _current;

    /// <summary>Id of the series in its index.</summary>
    public uint Id { get; internal set; }

    /// <summary>Its labels as a canonical run; see <see cref="Model.Labels"/>.</summary>
    public ReadOnlySpan<byte> Labels => _runs[_current].Span;

    /// <summary>Its chunks, one or more, ascending by time, disjoint.</summary>
    public ReadOnlySpan<ChunkMeta> Chunks => CollectionsMarshal.AsSpan(ChunkList);

    internal List<ChunkMeta> ChunkList { get; } = [];

    internal List<LabelRef> Refs => _refs[_current];

    /// <summary>The window for the entry.</summary>
    internal FileWindow EntryWindow { get; } = new(ReadAheadBytes);

    /// <summary>Where symbols are: two, since name and value are looked at together.</summary>
    internal SymbolFinder Names { get; } = new();

    internal SymbolFinder Values { get; } = new();

    private IndexSymbols? Symbols { get; set; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PooledBuffer run in _runs) run.Dispose();
        EntryWindow.Dispose();
        Names.Dispose();
        Values.Dispose();
    }

    /// <summary>Turns the series read last into the one before, and empties this.</summary>
    internal void Begin(IndexSymbols symbols)
    {
        if (Symbols != symbols)
        {
            // Refs mean something in one index only. A map could even come to lie where another one was.
            Symbols = symbols;
            Clear(_current);
            Names.Forget();
            Values.Forget();
        }

        _current ^= 1;
        Clear(_current);
        ChunkList.Clear();
        Id = 0;
    }

    /// <summary>Forgets everything, after a read that failed.</summary>
    internal void Reset()
    {
        Symbols = null;
        Clear(0);
        Clear(1);
        ChunkList.Clear();
        Id = 0;
    }

    /// <summary>Writes the run of the refs.</summary>
    /// <returns>What is wrong, or null.</returns>
    internal string? BuildLabels()
    {
        ReadOnlySpan<LabelRef> refs = CollectionsMarshal.AsSpan(Refs);
        if (refs.IsEmpty) return "a series has no labels";
        for (int i = 0; i < refs.Length;)
        {
            int same = CountSame(refs, i);
            if (same > 0) CopyFromBefore(i, same);
            else if (!TryAppend(refs[i])) return "a label of a series has an empty name or value";
            if (_runs[_current].Length > IndexFormat.MaxLabelBytes) return $"labels of a series take more than {IndexFormat.MaxLabelBytes} bytes";
            i += Math.Max(same, 1);
        }

        return null;
    }

    /// <summary>How many labels from one on are those of the series before, at the same place.</summary>
    private int CountSame(ReadOnlySpan<LabelRef> refs, int from)
    {
        ReadOnlySpan<LabelRef> before = CollectionsMarshal.AsSpan(_refs[_current ^ 1]);
        if (from >= before.Length) return 0;

        // Two numbers of 32 bits are compared as one of 64: the library then does several at a time.
        return MemoryMarshal.Cast<LabelRef, ulong>(refs[from..]).CommonPrefixLength(MemoryMarshal.Cast<LabelRef, ulong>(before[from..]));
    }

    private bool TryAppend(LabelRef label)
    {
        PooledBuffer run = _runs[_current];
        ReadOnlySpan<byte> name = Names.Get(Symbols!, label.Name);
        ReadOnlySpan<byte> value = Values.Get(Symbols!, label.Value);
        if (name.IsEmpty || value.IsEmpty) return false;
        run.SetLength(run.Length + Model.Labels.Write(run.Reserve(Model.Labels.SizeOf(name.Length, value.Length)), name, value));
        _ends[_current].Add(run.Length);
        return true;
    }

    private void CopyFromBefore(int from, int count)
    {
        PooledBuffer run = _runs[_current];
        ReadOnlySpan<int> endsBefore = CollectionsMarshal.AsSpan(_ends[_current ^ 1]);
        int start = from == 0 ? 0 : endsBefore[from - 1];
        int shift = run.Length - start;
        run.Append(_runs[_current ^ 1].Span[start..endsBefore[from + count - 1]]);
        foreach (int end in endsBefore.Slice(from, count)) _ends[_current].Add(end + shift);
    }

    private void Clear(int which)
    {
        _refs[which].Clear();
        _ends[which].Clear();
        _runs[which].SetLength(0);
    }
}
