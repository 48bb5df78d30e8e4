using System.Buffers.Binary;

namespace TsdbRemote.Storage.SSTables;

/// <summary>The index blocks of one window: those from <paramref name="FirstBlock"/> to before <paramref name="EndBlock"/>.</summary>
internal readonly record struct SparseWindow(long StartMs, int FirstBlock, int EndBlock);

/// <summary>Which index block holds an id: first id and offset of each, 16 bytes a block in memory, windows as runs of blocks.</summary>
/// <remarks>Immutable; checked as a whole when it is parsed, so that what it names lies inside the index of its file.</remarks>
internal sealed class SparseIndex
{
    private readonly ulong[] _firstIds;
    private readonly long[] _offsets;

    private SparseIndex(ulong[] firstIds, long[] offsets, SparseWindow[] windows)
    {
        _firstIds = firstIds;
        _offsets = offsets;
        Windows = windows;
    }

    /// <summary>Windows in ascending order.</summary>
    public SparseWindow[] Windows { get; }

    /// <summary>Index blocks of the table.</summary>
    public int BlockCount => _firstIds.Length;

    /// <summary>Writes one entry.</summary>
    public static void WriteEntry(Span<byte> target, long windowStartMs, ulong firstId, long offset)
    {
        BinaryPrimitives.WriteInt64LittleEndian(target, windowStartMs);
        BinaryPrimitives.WriteUInt64LittleEndian(target[8..], firstId);
        BinaryPrimitives.WriteInt64LittleEndian(target[16..], offset);
    }

    /// <summary>Reads the section.</summary>
    /// <param name="section">The entries, with the checksum behind them.</param>
    /// <param name="indexOffset">Where the first block must lie.</param>
    /// <param name="indexEnd">Where the last block ends.</param>
    /// <param name="index">The index, only if nothing is wrong.</param>
    /// <returns>What is wrong, or null.</returns>
    public static string? TryParse(ReadOnlySpan<byte> section, long indexOffset, long indexEnd, out SparseIndex? index)
    {
        index = null;
        if (!SSTableFormat.HasValidChecksum(section)) return "checksum of the sparse index differs";
        ReadOnlySpan<byte> entries = section[..^SSTableFormat.ChecksumBytes];
        int count = entries.Length / SSTableFormat.SparseEntryBytes;
        if (count == 0 || count * SSTableFormat.SparseEntryBytes != entries.Length) return "sparse index is no whole number of entries";
        ulong[] firstIds = new ulong[count];
        long[] offsets = new long[count + 1];
        List<SparseWindow> windows = [];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = entries.Slice(i * SSTableFormat.SparseEntryBytes, SSTableFormat.SparseEntryBytes);
            long window = BinaryPrimitives.ReadInt64LittleEndian(entry);
            firstIds[i] = BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]);
            offsets[i] = BinaryPrimitives.ReadInt64LittleEndian(entry[16..]);
            bool sameWindow = windows.Count > 0 && window == windows[^1].StartMs;
            bool ascends = i == 0 || (sameWindow ? firstIds[i] > firstIds[i - 1] : window > windows[^1].StartMs);
            if (!ascends) return $"entry {i} of the sparse index does not ascend";
            if (sameWindow) windows[^1] = windows[^1] with { EndBlock = i + 1 };
            else windows.Add(new SparseWindow(window, i, i + 1));
        }

        offsets[count] = indexEnd;
        if (offsets[0] != indexOffset || !BlocksFit(offsets)) return "blocks of the sparse index do not fill the index";
        index = new SparseIndex(firstIds, offsets, [.. windows]);
        return null;
    }

    /// <summary>First id of a block.</summary>
    public ulong FirstIdOf(int block) => _firstIds[block];

    /// <summary>Offset of a block in the file.</summary>
    public long OffsetOf(int block) => _offsets[block];

    /// <summary>Length of a block, checksum included.</summary>
    public int LengthOf(int block) => (int)(_offsets[block + 1] - _offsets[block]);

    /// <summary>
    /// The last block of a window whose first id is not above <paramref name="id"/>, from a block on that is known to be so.
    /// </summary>
    /// <remarks>Gallops: in a pass over ascending ids the answer is mostly near.</remarks>
    public int Find(int from, int end, ulong id)
    {
        int low = from;
        int step = 1;
        while (low + step < end && _firstIds[low + step] <= id)
        {
            low += step;
            step *= 2;
        }

        int high = (int)Math.Min((long)low + step, end);
        while (high - low > 1)
        {
            int middle = low + (high - low) / 2;
            if (_firstIds[middle] <= id) low = middle;
            else high = middle;
        }

        return low;
    }

    private static bool BlocksFit(long[] offsets)
    {
        for (int i = 1; i < offsets.Length; i++)
        {
            long length = offsets[i] - offsets[i - 1];
            if (offsets[i] < offsets[i - 1] || length <= SSTableFormat.ChecksumBytes || length > Array.MaxLength) return false;
        }

        return true;
    }
}
