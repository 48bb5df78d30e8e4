using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Deletes;

namespace TsdbRemote.Storage.Reading;

/// <summary>The side of a merge that a block is: its series by its own index, which has them in label order already.</summary>
/// <remarks>
/// Bounded: one bit for each 16 bytes of the index marks the series selected, one series at a time is read, chunks are pointers into the map. Not thread-safe; the block is held by the
/// snapshot that made it.
/// </remarks>
internal sealed class BlockSource : ISeriesSource
{
    // Where the block is not mapped, the chunks of one series are copied, and let go with the next series once they take this much.
    private const long ArenaBytesKept = 1 << 20;

    private readonly BlockSeriesCursor _series;
    private readonly TimeRange _range;
    private readonly long _rank;
    private readonly ulong _appliedTo;
    private readonly Action<CorruptFileException>? _skipDamaged;
    private NativeArena _arena = new(64 << 10);

    /// <summary>The series of a block that the matchers select.</summary>
    public BlockSource(StoredBlock block, IReadOnlyList<Matcher> matchers, TimeRange range, Action<CorruptFileException>? skipDamaged, CancellationToken cancel)
    {
        _skipDamaged = skipDamaged;
        _series = block.Reader.Select(matchers, range, cancel);
        _range = range;
        _rank = block.Rank;
        _appliedTo = block.Entry.AppliedTo;
    }

    /// <summary>All series of a block, for compaction.</summary>
    public BlockSource(StoredBlock block, TimeRange range, CancellationToken cancel)
    {
        _series = block.Reader.SelectAll(range, cancel);
        _range = range;
        _rank = block.Rank;
        _appliedTo = block.Entry.AppliedTo;
    }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Labels => _series.Labels;

    /// <inheritdoc/>
    /// <exception cref="CorruptFileException">An index entry is damaged.</exception>
    public bool MoveNext()
    {
        if (_arena.AllocatedBytes > ArenaBytesKept)
        {
            _arena.Dispose();
            _arena = new NativeArena(64 << 10);
        }

        return _series.MoveNext();
    }

    /// <inheritdoc/>
    /// <exception cref="CorruptFileException">A chunk is damaged.</exception>
    public void AddChunks(List<SeriesChunk> output, SeriesDeletions? deletions) =>
        _series.AddChunks(_range, _rank, _arena, output, deletions is null ? default : deletions.Since(_appliedTo), _skipDamaged);

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        _series.Dispose();
    }
}
