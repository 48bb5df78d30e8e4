using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;

namespace TsdbRemote.Storage.Compaction;

/// <summary>A block made of blocks that is whole on disk but for its <c>meta.json</c> and its name.</summary>
/// <param name="Writer">Commits it, or drops it when disposed; knows what the block holds.</param>
/// <param name="Merged">Samples left out because a newer version of the same instant exists.</param>
public sealed record CompactedBlock(BlockWriter Writer, MergeCounts Merged) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Writer.Dispose();
}

/// <summary>Turns several blocks into one: streams in, new files out; never touches the manifest, nor the blocks it reads.</summary>
/// <remarks>
/// Two passes: over the labels of each block, from which the new one's symbols are made; then over all of them side by side, by the merge that answers
/// queries, with the ranks that these blocks have there. So the result is what a query would have been answered.
/// Chunks:    copied byte for byte, unless they overlap, or are small and have a small neighbour (<see cref="SmallChunkJoiner"/>), or a tombstone of their
///            block touches them. What is deleted, in these or by a delete that reaches the block, is left out for good; a series of which nothing is left does not come along.
/// Memory:    one series of each block at a time, a bit for each 16 bytes of their indexes, and what <see cref="BlockWriter"/> keeps of symbols. Nothing for
///            each series or chunk.
/// Stateless; thread-safe.
/// </remarks>
public sealed class BlockCompactor
{
    /// <summary>Most blocks of level 1 that the <c>meta.json</c> of a result, which has a megabyte, names for each window of its time.</summary>
    public const int MaxSourcesOfWindow = 32;

    /// <summary>Most of them in all.</summary>
    public const int MaxSources = 16_000;

    // What the merge may hold of one series in copies; a compaction runs beside the reads, so it takes less than one of them may.
    private const long MemoryBytes = 64 << 20;
    private const long ArenaBytesKept = 4 << 20;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly ChunkEncodingChoice _encoding;

    /// <summary>A compactor into this data directory.</summary>
    public BlockCompactor(IFileSystem files, DataLayout paths, ChunkEncodingChoice encoding)
    {
        _files = files;
        _paths = paths;
        _encoding = encoding;
    }

    /// <summary>Writes all of a block but what makes it one.</summary>
    /// <param name="blocks">The blocks, held by the caller, with the ranks by which their versions are told apart.</param>
    /// <param name="range">Holds all samples of all of them.</param>
    /// <param name="ulid">Name of the new block, never used before.</param>
    /// <param name="pace">Called between pieces of work with the bytes of chunks written so far.</param>
    /// <param name="cancel">Stops the work between two series.</param>
    /// <param name="deletions">What is taken out of those of them that it reaches; null if nothing is.</param>
    /// <returns>The block, or null if tombstones leave nothing of them.</returns>
    /// <exception cref="CorruptFileException">A block is damaged; names the file.</exception>
    /// <exception cref="CorruptChunkException">A chunk that had to be decoded is none; carries the rank of its block.</exception>
    /// <exception cref="Wire.ReadLimitException">One series alone takes too much memory.</exception>
    /// <exception cref="DiskException">The disk refused; nothing is left behind that the next open does not sweep.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is left behind.</exception>
    internal CompactedBlock? Write(
        IReadOnlyList<StoredBlock> blocks, TimeRange range, Ulid ulid, Action<long> pace, CancellationToken cancel, DeletionSet? deletions = null)
    {
        var writer = new BlockWriter(_files, _paths.Blocks, ulid);
        try
        {
            bool isEmpty = true;
            foreach (StoredBlock block in blocks) isEmpty &= !DeclareSeries(writer, block, deletions, range, pace, cancel);
            if (isEmpty)
            {
                writer.Dispose();
                return null;
            }

            MergeCounts merged = AddSeries(writer, blocks, deletions, range, pace, cancel);
            writer.FinishData();
            return new CompactedBlock(writer, merged);
        }
        catch
        {
            writer.Dispose();
            throw;
        }
    }

    /// <summary>What <c>meta.json</c> of the result says, but for our mark.</summary>
    /// <remarks>
    /// Source: prometheus: tsdb/compact.go, CompactBlockMetas: the bounds of the inputs, one level up, the level-1 blocks of all, and a hint only where
    /// every input has it. Sections of others, such as Thanos', are not kept: they speak of one block.
    /// Other than there a block stands for itself, as one of level 1 does, once it was made of many: each flush of block-only mode is a block, and each conversion of
    /// late data, which may go on coming for a range as long as the store lives.
    /// </remarks>
    /// <param name="block">The result.</param>
    /// <param name="inputs">What <c>meta.json</c> of the inputs says.</param>
    /// <param name="windowMs">Length of a window in ms.</param>
    public static BlockMeta MetaOf(CompactedBlock block, IReadOnlyCollection<BlockMeta> inputs, long windowMs)
    {
        BlockMeta meta = block.Writer.NewMeta();
        long minMs = inputs.Min(static input => input.MinTimeMs);
        long endMs = inputs.Max(static input => input.EndTimeMs);
        int mostSources = (int)Math.Min(MaxSources, MaxSourcesOfWindow * TimeWindow.CountOf(new TimeRange(minMs, endMs - 1), windowMs));
        Ulid[] sources = [.. inputs.SelectMany(static input => input.Compaction.Sources).Distinct().Take(mostSources + 1).Order()];
        if (sources.Length > mostSources) sources = [block.Writer.Ulid];
        return meta with
        {
            MinTimeMs = minMs,
            EndTimeMs = endMs,
            Compaction = new BlockMetaCompaction
            {
                Level = inputs.Max(static input => input.Compaction.Level) + 1,
                Sources = sources,
                Parents =
                [
                    .. inputs.OrderBy(static input => input.MinTimeMs).ThenBy(static input => input.Ulid).Select(
                        static input => new BlockMetaParent { Ulid = input.Ulid, MinTimeMs = input.MinTimeMs, EndTimeMs = input.EndTimeMs }),
                ],
                Hints =
                [
                    .. inputs.SelectMany(static input => input.Compaction.Hints).Distinct()
                        .Where(hint => inputs.All(input => input.Compaction.Hints.Contains(hint))).Order(StringComparer.Ordinal),
                ],
            },
        };
    }

    /// <summary>Declares the series of a block of which something is left.</summary>
    /// <returns>True if there is one.</returns>
    private static bool DeclareSeries(
        BlockWriter writer, StoredBlock block, DeletionSet? deletions, TimeRange range, Action<long> pace, CancellationToken cancel)
    {
        SeriesDeletions? deleted = deletions is null ? null : new SeriesDeletions(deletions);
        using BlockSeriesCursor series = block.Reader.SelectAll(range, cancel);
        List<SeriesChunk> left = [];
        var arena = new NativeArena();
        try
        {
            bool any = false;
            while (series.MoveNext())
            {
                if (arena.AllocatedBytes > ArenaBytesKept)
                {
                    arena.Dispose();
                    arena = new NativeArena();
                }

                ReadOnlySpan<TimeRange> also = deleted?.Begin(series.Labels, arena) == true ? deleted.Since(block.Entry.AppliedTo) : default;
                bool mayBeGone = !block.Reader.Tombstones.IsEmpty || !also.IsEmpty;
                if (mayBeGone && !HasSamples(series, range, also, left, arena)) continue;
                writer.Declare(series.Labels);
                pace(0);
                any = true;
            }

            return any;
        }
        finally
        {
            arena.Dispose();
        }
    }

    /// <summary>Whether several tombstones together leave anything of a series shows only in its samples.</summary>
    private static bool HasSamples(BlockSeriesCursor series, TimeRange range, ReadOnlySpan<TimeRange> deleted, List<SeriesChunk> left, NativeArena arena)
    {
        left.Clear();
        series.AddChunks(range, rank: 0, arena, left, deleted);
        return left.Count > 0;
    }

    private MergeCounts AddSeries(
        BlockWriter writer, IReadOnlyList<StoredBlock> blocks, DeletionSet? deletions, TimeRange range, Action<long> pace, CancellationToken cancel)
    {
        using SeriesMerge merge = Merge(blocks, deletions, range, cancel);
        using var joiner = new SmallChunkJoiner(_encoding);
        while (merge.MoveNext())
        {
            writer.Add(merge.Labels, joiner.Join(merge.Chunks));
            pace(writer.ChunkBytes);
        }

        return merge.Dropped;
    }

    private static SeriesMerge Merge(IReadOnlyList<StoredBlock> blocks, DeletionSet? deletions, TimeRange range, CancellationToken cancel)
    {
        List<ISeriesSource> sources = [];
        try
        {
            foreach (StoredBlock block in blocks) sources.Add(new BlockSource(block, range, cancel));
            return new SeriesMerge(sources, range, MemoryBytes, cancel, deletions: deletions);
        }
        catch
        {
            foreach (ISeriesSource source in sources) source.Dispose();
            throw;
        }
    }
}
