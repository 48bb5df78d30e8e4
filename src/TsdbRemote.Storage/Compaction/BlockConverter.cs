using System.Collections.Immutable;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Compaction;

/// <summary>A block that is whole on disk but for its <c>meta.json</c> and its name.</summary>
/// <param name="Writer">Commits it, or drops it when disposed; knows what the block holds.</param>
/// <param name="DamagedTables">Tables of which a chunk was left out because its bytes are damaged, by number.</param>
/// <param name="Damages">Each such chunk, for people.</param>
/// <param name="Merged">Samples left out because a newer version of the same instant exists.</param>
public sealed record PreparedBlock(
    BlockWriter Writer, ImmutableHashSet<long> DamagedTables, ImmutableArray<string> Damages, MergeCounts Merged) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Writer.Dispose();
}

/// <summary>Turns one window of some tables, or of a MemTable, into one Prometheus block: streams in, new files out; never touches the manifest.</summary>
/// <remarks>
/// Series are walked in label order by the same merge that answers queries, twice: once for their labels, from which the block's symbols are
/// made, once for their chunks. Memory: the ids of the window, and what a read may take.
/// Deletes are applied to the tables that are older, by the same merge. One that comes meanwhile is newer than all of them, and reaches the block as it did them: the
/// block says up to which it was made (<see cref="BlockEntry.AppliedTo"/>).
/// A damaged chunk is left out and named, never copied under a new checksum; the table that holds it is to be kept.
/// Stateless; thread-safe.
/// </remarks>
public sealed class BlockConverter
{
    /// <summary>
    /// Of blocks that overlap an older one made here, or whose window may end ahead of the clock, so that a Prometheus that loads it does not take it for its
    /// newest data: it would refuse what it scrapes until the block's end.
    /// </summary>
    private const string LateHint = "from-out-of-order";

    // What the merge may hold at a time; a conversion runs beside the reads, so it takes less than one of them may.
    private const long MemoryBytes = 64 << 20;

    // So little is done for each that a look at the clock would show.
    private const int DeclaredAtATime = 256;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly ChunkEncodingChoice _encoding;
    private readonly long _windowMs;

    /// <summary>A converter into this data directory.</summary>
    public BlockConverter(IFileSystem files, DataLayout paths, ChunkEncodingChoice encoding, long windowMs)
    {
        _files = files;
        _paths = paths;
        _encoding = encoding;
        _windowMs = windowMs;
    }

    /// <summary>Writes all of a block but what makes it one.</summary>
    /// <param name="job">The window and its tables, or its MemTable; the caller holds them.</param>
    /// <param name="dictionary">Knows the series of the tables, or is the MemTable's own; the caller holds it.</param>
    /// <param name="ulid">Name of the block, never used before.</param>
    /// <param name="pace">Called between pieces of work with the bytes of chunks written so far.</param>
    /// <param name="cancel">Stops the work between two series.</param>
    /// <param name="isAllDeleted">True if there is no block because all of the window is deleted: what it would be made of may go.</param>
    /// <returns>The block, or null if nothing of the window could be read, or all of it is deleted.</returns>
    /// <exception cref="CorruptFileException">An index block of a table is damaged: the window cannot be converted.</exception>
    /// <exception cref="Wire.ReadLimitException">One series alone takes too much memory.</exception>
    /// <exception cref="DiskException">The disk refused; nothing is left behind that the next open does not sweep.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is left behind.</exception>
    public PreparedBlock? Write(ConversionJob job, SeriesDictionary dictionary, Ulid ulid, Action<long> pace, CancellationToken cancel, out bool isAllDeleted)
    {
        isAllDeleted = false;
        var damage = new DamageReport(job.Tables, "the block");
        uint[] ordinals = SelectSeries(job, dictionary, damage, cancel);
        while (ordinals.Length > 0)
        {
            var writer = new BlockWriter(_files, _paths.Blocks, ulid);
            try
            {
                List<uint> empty = [];
                MergeCounts merged = WriteSeries(writer, job, dictionary, ordinals, damage, empty, pace, cancel);
                if (empty.Count == 0)
                {
                    writer.FinishData();
                    return new PreparedBlock(writer, damage.Tables, damage.Texts, merged);
                }

                // All chunks of a series are damaged, or deleted: its labels must not be among the block's symbols, so begin again without it.
                writer.Dispose();
                ordinals = [.. ordinals.Except(empty)];
            }
            catch
            {
                writer.Dispose();
                throw;
            }
        }

        isAllDeleted = job.Deletions is not null && damage.Tables.IsEmpty && damage.Texts.IsEmpty;
        return null;
    }

    /// <summary>What <c>meta.json</c> of the result says.</summary>
    /// <remarks>The bounds are the window's, as Prometheus cuts its own: by them planners see that it is whole.</remarks>
    public static BlockMeta MetaOf(PreparedBlock block, ConversionJob job, BlockMark mark)
    {
        ArgumentNullException.ThrowIfNull(block);
        ArgumentNullException.ThrowIfNull(job);
        BlockMeta meta = block.Writer.NewMeta();
        return meta with
        {
            MinTimeMs = job.Window.MinMs,
            EndTimeMs = job.Window.MaxMs + 1,
            Compaction = job.IsLate || job.IsOpen ? meta.Compaction with { Hints = [LateHint] } : meta.Compaction,
            Mark = mark,
        };
    }

    private static uint[] SelectSeries(ConversionJob job, SeriesDictionary dictionary, DamageReport damage, CancellationToken cancel)
    {
        if (job.MemTable is { } memTable) return SelectSeries(memTable, job.Window, dictionary);
        List<ulong> ids = [];
        foreach (LevelTable table in job.Tables)
        {
            cancel.ThrowIfCancellationRequested();
            ids.AddRange(table.Reader.SeriesIdsOf(job.Window.MinMs));
        }

        ids.Sort();
        List<uint> ordinals = new(ids.Count);
        for (int i = 0; i < ids.Count; i++)
        {
            if (i > 0 && ids[i] == ids[i - 1]) continue;
            if (dictionary.TryOrdinalOf(ids[i], out uint ordinal)) ordinals.Add(ordinal);
            else damage.SeriesUnknown(ids[i]);
        }

        uint[] sorted = [.. ordinals];
        dictionary.SortByLabels(sorted);
        return sorted;
    }

    private static uint[] SelectSeries(MemTable memTable, TimeRange window, SeriesDictionary dictionary)
    {
        Invariant.Check(ReferenceEquals(memTable.Dictionary, dictionary));
        uint[] ordinals = [.. memTable.OrdinalsSorted().Where(ordinal => memTable.Contains(ordinal, window))];
        dictionary.SortByLabels(ordinals);
        return ordinals;
    }

    private MergeCounts WriteSeries(
        BlockWriter writer, ConversionJob job, SeriesDictionary dictionary, uint[] ordinals, DamageReport damage, List<uint> empty,
        Action<long> pace, CancellationToken cancel)
    {
        for (int i = 0; i < ordinals.Length; i++)
        {
            writer.Declare(dictionary.LabelsOf(ordinals[i]));
            if (i % DeclaredAtATime == 0) pace(0);
        }

        var sources = new ReadSources(job.MemTable is null ? [] : [job.MemTable], job.Tables, []);
        var source = new DictionarySource(sources, dictionary, ordinals, job.Window, MemoryBytes, damage.ChunkDamaged, cancel);
        using var merge = new SeriesMerge([source], job.Window, MemoryBytes, cancel, deletions: job.Deletions);
        using var packer = new ChunkPacker(_encoding, _windowMs);
        int next = 0;
        while (merge.MoveNext())
        {
            while (!dictionary.LabelsOf(ordinals[next]).SequenceEqual(merge.Labels)) empty.Add(ordinals[next++]);
            while (next < ordinals.Length && dictionary.LabelsOf(ordinals[next]).SequenceEqual(merge.Labels)) next++;
            if (empty.Count == 0) writer.Add(merge.Labels, packer.Pack(merge.Chunks));
            pace(writer.ChunkBytes);
        }

        empty.AddRange(ordinals.AsSpan(next));
        return merge.Dropped;
    }
}
