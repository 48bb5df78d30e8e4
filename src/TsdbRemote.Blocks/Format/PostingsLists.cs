using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>A postings list that was found: where its ids begin and how many there are.</summary>
internal readonly record struct PostingsList(long FirstId, uint Count);

/// <summary>The postings lists of an index.</summary>
/// <remarks>Nothing is known of a list before it is opened; its frame is checked then, its ids while they are read. Thread-safe.</remarks>
internal sealed class PostingsLists(FileSource source, IndexToc toc)
{
    /// <summary>Ids that a reader shows at once.</summary>
    public const int ChunkIds = 1024;

    /// <summary>No id is below.</summary>
    public uint MinId { get; } = IdAtOrBehind(toc.Series);

    /// <summary>All ids are below: an entry begins before the postings table does.</summary>
    public uint LimitId { get; } = IdAtOrBehind(toc.PostingsTable);

    /// <summary>Checks the frame of a list.</summary>
    /// <exception cref="CorruptFileException">There is no list.</exception>
    public PostingsList Open(long offset, FileWindow window)
    {
        // A list without ids is the shortest. What is in between the sections is told apart by the checksum.
        if (offset < toc.Series || offset > toc.PostingsTable - IndexFormat.ListFrameBytes)
            throw source.Corrupt(offset, $"no postings list can begin here, outside of {toc.Series} to {toc.PostingsTable}");
        ReadOnlySpan<byte> frame = window.At(source, offset, 2 * sizeof(uint), toc.PostingsTable);
        uint length = BinaryPrimitives.ReadUInt32BigEndian(frame);
        uint count = BinaryPrimitives.ReadUInt32BigEndian(frame[sizeof(uint)..]);
        if (length != sizeof(uint) + count * (ulong)sizeof(uint)) throw source.Corrupt(offset, $"a postings list of {count} ids has {length} bytes");
        if (count * (ulong)sizeof(uint) > (ulong)(toc.PostingsTable - offset - IndexFormat.ListFrameBytes))
            throw source.Corrupt(offset, $"a postings list of {count} ids runs into the postings table");
        return new PostingsList(offset + 2 * sizeof(uint), count);
    }

    /// <summary>Starts before the first ids.</summary>
    /// <param name="list">The list.</param>
    /// <param name="window">Where bytes are read into.</param>
    /// <param name="buffer">Takes the ids, up to <see cref="ChunkIds"/> at a time.</param>
    public PostingsReader Read(PostingsList list, FileWindow window, Span<uint> buffer) => new(source, list, MinId, LimitId, window, buffer);

    /// <summary>All ids of a list.</summary>
    public uint[] ToArray(PostingsList list, FileWindow window, CancellationToken cancel)
    {
        uint[] ids = new uint[list.Count];
        Span<uint> buffer = stackalloc uint[ChunkIds];
        PostingsReader reader = Read(list, window, buffer);
        for (int at = 0; reader.MoveNext(); at += reader.Current.Length)
        {
            cancel.ThrowIfCancellationRequested();
            reader.Current.CopyTo(ids.AsSpan(at));
        }

        return ids;
    }

    private static uint IdAtOrBehind(long offset) =>
        (uint)Math.Min(IndexFormat.Align(offset, IndexFormat.SeriesAlignment) / IndexFormat.SeriesAlignment, uint.MaxValue);
}

/// <summary>Walks the ids of a list in pieces: ascending, inside the file, believed only once the last piece came out.</summary>
/// <remarks>
/// The checksum is compared before the last piece is shown: who acts on an earlier one must be able to forget it. Not thread-safe.
/// </remarks>
internal ref struct PostingsReader
{
    private readonly FileSource _source;
    private readonly FileWindow _window;
    private readonly Span<uint> _buffer;
    private readonly uint _minId;
    private readonly uint _limitId;
    private readonly long _end;
    private long _at;
    private uint _rest;
    private uint _crc;
    private long _previous = -1;
    private bool _isDone;

    public PostingsReader(FileSource source, PostingsList list, uint minId, uint limitId, FileWindow window, Span<uint> buffer)
    {
        _source = source;
        _window = window;
        _buffer = buffer;
        _minId = minId;
        _limitId = limitId;
        _at = list.FirstId;
        _rest = list.Count;
        _end = list.FirstId + list.Count * (long)sizeof(uint) + IndexFormat.ChecksumBytes;
        Span<byte> count = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(count, list.Count);
        _crc = Crc32C.Update(uint.MaxValue, count);
    }

    /// <summary>The ids of this piece.</summary>
    public ReadOnlySpan<uint> Current { get; private set; }

    /// <summary>Steps to the next piece.</summary>
    /// <exception cref="CorruptFileException">The list is damaged.</exception>
    public bool MoveNext()
    {
        if (_isDone) return false;
        int count = (int)Math.Min((uint)_buffer.Length, _rest);
        int bytes = count * sizeof(uint);
        _rest -= (uint)count;
        bool isLast = _isDone = _rest == 0;
        ReadOnlySpan<byte> piece = _window.At(_source, _at, isLast ? bytes + IndexFormat.ChecksumBytes : bytes, _end);
        _crc = Crc32C.Update(_crc, piece[..bytes]);
        if (isLast && ~_crc != BinaryPrimitives.ReadUInt32BigEndian(piece[bytes..]))
            throw _source.Corrupt(_at, "checksum of a postings list differs");
        if (count == 0) return false;
        Decode(piece[..bytes], _buffer[..count]);
        _at += bytes;
        Current = _buffer[..count];
        return true;
    }

    private void Decode(ReadOnlySpan<byte> piece, Span<uint> ids)
    {
        ReadOnlySpan<uint> stored = MemoryMarshal.Cast<byte, uint>(piece);
        if (BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(stored, ids);
        else stored.CopyTo(ids);
        long previous = _previous;
        bool ascends = true;
        foreach (uint id in ids)
        {
            ascends &= id > previous;
            previous = id;
        }

        if (!ascends || ids[0] < _minId || ids[^1] >= _limitId) throw _source.Corrupt(_at, "ids of a postings list do not ascend inside the file");
        _previous = previous;
    }
}
