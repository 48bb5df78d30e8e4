using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>The strings of an index by ordinal: every eighth offset in memory, the strings themselves in the file.</summary>
/// <remarks>Checked as a whole when it is opened: checksum, lengths, ascending order. Memory: half a byte a symbol. Immutable, thread-safe.</remarks>
internal sealed class IndexSymbols
{
    private readonly FileSource _source;
    private readonly long _start;
    private readonly long _end;
    private readonly uint[] _sparse;

    private IndexSymbols(FileSource source, long start, long end, uint count, uint[] sparse)
    {
        _source = source;
        _start = start;
        _end = end;
        Count = count;
        _sparse = sparse;
    }

    /// <summary>Symbols.</summary>
    public uint Count { get; }

    /// <summary>Bytes held.</summary>
    public long MemoryBytes => (long)_sparse.Length * sizeof(uint);

    /// <summary>Checks and reads the section.</summary>
    /// <exception cref="CorruptFileException">It is damaged.</exception>
    public static IndexSymbols Open(FileSource source, IndexToc toc, FileWindow window)
    {
        Section section = Section.Open(source, toc.Symbols, toc.Series, window);
        SectionCursor cursor = new(source, window, section.Start, section.End);
        uint count = BinaryPrimitives.ReadUInt32BigEndian(cursor.ReadBytes(sizeof(uint)));
        if (count > section.End - cursor.Position) throw cursor.Corrupt($"{count} symbols are more than the section can hold");
        uint[] sparse = new uint[(count + IndexFormat.SymbolStep - 1L) / IndexFormat.SymbolStep];
        using PooledBuffer previous = PooledBuffer.Rent(256);
        for (uint i = 0; i < count; i++)
        {
            if (i % IndexFormat.SymbolStep == 0) sparse[i / IndexFormat.SymbolStep] = (uint)(cursor.Position - section.Start);
            ReadOnlySpan<byte> symbol = cursor.ReadString();
            if (i > 0 && symbol.SequenceCompareTo(previous.Span) <= 0) throw cursor.Corrupt($"symbol {i} does not ascend");
            previous.SetLength(0);
            previous.Append(symbol);
        }

        if (cursor.Position != section.End) throw cursor.Corrupt("bytes are left behind the last symbol");
        return new IndexSymbols(source, section.Start, section.End, count, sparse);
    }

    /// <summary>Finds where a symbol is.</summary>
    /// <param name="ordinal">Below <see cref="Count"/>.</param>
    /// <param name="window">Where bytes are read into.</param>
    /// <param name="length">Its length.</param>
    /// <returns>Offset of its bytes in the file.</returns>
    /// <exception cref="CorruptFileException">The file has changed since it was opened.</exception>
    public long Find(uint ordinal, FileWindow window, out int length)
    {
        long start = _start + _sparse[ordinal / IndexFormat.SymbolStep];
        uint before = ordinal % IndexFormat.SymbolStep;
        ReadOnlySpan<byte> bytes = window.At(_source, start, 1, _end);
        int at = 0;
        length = 0;
        for (uint i = 0; i <= before; i++)
        {
            at += length;
            if (!TryReadLength(bytes, ref at, out length)) return FindSlowly(start, before, window, out length);
        }

        return start + at;
    }

    /// <summary>The bytes of a symbol found before.</summary>
    public ReadOnlySpan<byte> At(long offset, int length, FileWindow window) => window.At(_source, offset, length, _end)[..length];

    /// <summary>True if the string is a symbol.</summary>
    public bool Contains(ReadOnlySpan<byte> text, FileWindow window)
    {
        int low = 0;
        int high = _sparse.Length;
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            SectionCursor probe = new(_source, window, _start + _sparse[middle], _end);
            if (probe.ReadString().SequenceCompareTo(text) <= 0) low = middle + 1;
            else high = middle;
        }

        if (low == 0) return false;
        SectionCursor cursor = new(_source, window, _start + _sparse[low - 1], _end);
        for (int i = 0; i < IndexFormat.SymbolStep && cursor.Position < _end; i++)
        {
            int order = cursor.ReadString().SequenceCompareTo(text);
            if (order >= 0) return order == 0;
        }

        return false;
    }

    /// <summary>Reads a length, of one byte nearly always, if the string that follows is at hand.</summary>
    private static bool TryReadLength(ReadOnlySpan<byte> bytes, scoped ref int at, out int length)
    {
        length = 0;
        if (!Varint.TryRead(bytes, ref at, out ulong value) || value > (ulong)(bytes.Length - at)) return false;
        length = (int)value;
        return true;
    }

    /// <summary>As <see cref="Find"/>, where the neighbours are not all at hand or something is wrong with them.</summary>
    private long FindSlowly(long start, uint before, FileWindow window, out int length)
    {
        SectionCursor cursor = new(_source, window, start, _end);
        for (; before > 0; before--) cursor.SkipString();
        length = cursor.ReadLength();
        return cursor.Position;
    }
}

/// <summary>Finds symbols for one thread and remembers where it found some of them.</summary>
/// <remarks>A direct-mapped table: the ordinal's low bits choose the place. What is found in it costs no walk over up to 7 neighbours.</remarks>
internal sealed class SymbolFinder : IDisposable
{
    private const int Places = 512;
    private const int ReadAheadBytes = 1024;

    private readonly Place[] _places = new Place[Places];
    private readonly FileWindow _window = new(ReadAheadBytes);

    /// <summary>The bytes of a symbol; valid until the next call.</summary>
    public ReadOnlySpan<byte> Get(IndexSymbols symbols, uint ordinal)
    {
        ref Place place = ref _places[ordinal % Places];
        if (place.Offset == 0 || place.Ordinal != ordinal)
        {
            place.Offset = symbols.Find(ordinal, _window, out place.Length);
            place.Ordinal = ordinal;
        }

        return symbols.At(place.Offset, place.Length, _window);
    }

    /// <summary>Forgets all places, before another index is read.</summary>
    public void Forget() => Array.Clear(_places);

    /// <inheritdoc/>
    public void Dispose() => _window.Dispose();

    private struct Place
    {
        // 0 = nothing remembered: the header stands there, never a symbol.
        public long Offset;
        public uint Ordinal;
        public int Length;
    }
}
