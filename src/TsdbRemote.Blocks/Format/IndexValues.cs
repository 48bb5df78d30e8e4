using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>Walks the values of one label name, ascending by bytes, with where each one's postings list is.</summary>
/// <remarks>Use: <c>while (values.MoveNext())</c>; the value is valid until the next step. The reader must stay open. Not thread-safe.</remarks>
public ref struct IndexValues : IDisposable
{
    private readonly FileWindow? _owned;
    private SectionCursor _cursor;
    private TableEntry _entry;
    private int _rest;
    private bool _isAhead;

    /// <summary>Starts before a value.</summary>
    /// <param name="cursor">At the entry of that value.</param>
    /// <param name="rest">Values from there on.</param>
    /// <param name="owned">The cursor's window, if it is to be disposed with this.</param>
    internal IndexValues(SectionCursor cursor, int rest, FileWindow? owned)
    {
        _cursor = cursor;
        _rest = rest;
        _owned = owned;
    }

    /// <summary>The value.</summary>
    public readonly ReadOnlySpan<byte> Value => _entry.Value;

    /// <summary>Where its list is, for <see cref="IndexReader.ReadList"/>.</summary>
    public readonly long ListOffset => _entry.ListOffset;

    /// <summary>Steps to the next value.</summary>
    /// <exception cref="CorruptFileException">The file has changed since it was opened.</exception>
    public bool MoveNext()
    {
        if (_isAhead)
        {
            _isAhead = false;
            return true;
        }

        if (_rest == 0) return false;
        _rest--;
        if (!PostingsTable.TryReadEntry(ref _cursor, out _entry)) throw _cursor.Corrupt("an entry of the postings table cannot be read");
        return true;
    }

    /// <inheritdoc/>
    public readonly void Dispose() => _owned?.Dispose();

    /// <summary>Steps over the values below one: the next step comes to the first that is not.</summary>
    internal void SkipBelow(ReadOnlySpan<byte> from)
    {
        while (MoveNext())
        {
            if (Value.SequenceCompareTo(from) < 0) continue;
            _isAhead = true;
            return;
        }
    }
}
