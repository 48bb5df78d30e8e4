using System.Collections.Immutable;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Compaction;

/// <summary>What the tables of a merge are, beyond their chunks.</summary>
/// <param name="DirectoryId">Id of the data directory.</param>
/// <param name="BloomBitsPerKey">Bits of bloom filter for each series.</param>
/// <param name="TargetFileBytes">Bytes at which a run is cut into another table.</param>
/// <param name="MaxFileBytes">Bytes that no table exceeds, unless a single series does.</param>
public sealed record CompactionOutput(Guid DirectoryId, int BloomBitsPerKey, long TargetFileBytes, long MaxFileBytes);

/// <summary>What a merge left on disk, not yet named by the manifest.</summary>
/// <param name="Tables">The tables of the new run, by ascending ids; none if nothing of the inputs could be read, or if all of it is deleted.</param>
/// <param name="BytesRead">Bytes of the inputs that were read.</param>
/// <param name="BytesWritten">Bytes of the new tables.</param>
/// <param name="SamplesWritten">Samples in the new tables.</param>
/// <param name="Merged">Samples left out because a newer version of the same instant exists.</param>
/// <param name="DamagedTables">Inputs of which a chunk was left out because its bytes are damaged, by number: to be kept before they are deleted.</param>
/// <param name="Damages">Each such chunk, for people.</param>
public sealed record CompactionResult(
    ImmutableArray<TableEntry> Tables, long BytesRead, long BytesWritten, long SamplesWritten, MergeCounts Merged, ImmutableHashSet<long> DamagedTables,
    ImmutableArray<string> Damages)
{
    /// <summary>Nothing of the inputs is left because all of it is deleted: they may go.</summary>
    public bool IsAllDeleted { get; init; }
}

/// <summary>Merges the tables of one window into one run: streams in, new files out; never touches the manifest.</summary>
/// <remarks>
/// How:      one forward pass over each input by id; chunks that overlap are merged, newest wins; small ones are joined to full ones; all others go over
///           byte for byte, never decoded, under a checksum made anew of bytes whose old one held.
/// Files:    cut between two series, at the target size; never above the largest, unless one series is. Each is verified, synced and named as a flush's is.
/// Memory:   an index block and its chunks for each input run, one series, and 8 bytes for each series of the table being written.
/// Failure:  what was written is unlinked if the disk lets us; what is left is swept by the next open, for nothing names it and its parents are named.
/// Deletes:  are applied to the inputs that are older, as reads do. One that comes meanwhile is newer than all inputs, so it reaches the result as well: that its last
///           sequence is the newest input's says so. A table that no delete can tell from its inputs never comes out.
/// A damaged chunk is left out and named, never copied under a new checksum; the table that holds it is to be kept (<see cref="TableQuarantine"/>).
/// Not here: which tables (pickers), when and how fast, the commit. Thread-safe: jobs of different windows may run side by side.
/// </remarks>
public sealed class TableCompactor
{
    // Bytes read between two calls of pace: some milliseconds of work where chunks have to be encoded.
    private const long PaceBytes = 256 << 10;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CompactionOutput _output;

    /// <summary>A compactor in this data directory.</summary>
    public TableCompactor(IFileSystem files, DataLayout paths, CompactionOutput output)
    {
        _files = files;
        _paths = paths;
        _output = output;
    }

    /// <summary>Writes the run.</summary>
    /// <param name="job">The window and its tables; the caller holds them.</param>
    /// <param name="nextTableId">Gives a number for a new table, never used before.</param>
    /// <param name="pace">Called between pieces of work with the bytes read so far: may sleep, or throw to give up.</param>
    /// <param name="cancel">Stops the work between two series.</param>
    /// <exception cref="CorruptFileException">
    /// An index block of an input is damaged: the window cannot be merged. Or, if it names no input, what was read back is not what was written.
    /// </exception>
    /// <exception cref="CorruptChunkException">A chunk is none although its checksum holds: the window cannot be merged.</exception>
    /// <exception cref="DiskException">The disk refused; nothing is left behind that the next open does not sweep.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is left behind that the next open does not sweep.</exception>
    public CompactionResult Write(CompactionJob job, Func<long> nextTableId, Action<long> pace, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(nextTableId);
        ArgumentNullException.ThrowIfNull(pace);
        Invariant.Check(job.OutputLevel >= 1 && job.Inputs.Length > 0);
        var damage = new DamageReport(job.Inputs, "the merged table");
        var tables = ImmutableArray.CreateBuilder<TableEntry>();
        using var merge = new WindowMerge(job, damage.ChunkDamaged);
        var pauses = new Pauses(pace);
        try
        {
            cancel.ThrowIfCancellationRequested();
            merge.MoveNext();
            while (merge.HasSeries) tables.Add(WriteTable(job, nextTableId(), merge, pauses, cancel));
        }
        catch (Exception failure)
        {
            // After a failed sync nobody knows what the disk still does: then it is left alone.
            if (failure is not DiskException { IsSync: true }) Remove(job, tables);
            throw;
        }

        return new CompactionResult(
            tables.ToImmutable(), merge.BytesRead, tables.Sum(static table => table.Size), tables.Sum(static table => table.Samples), merge.Dropped, damage.Tables,
            damage.Texts)
        {
            IsAllDeleted = tables.Count == 0 && job.Deletions is not null && damage.Tables.IsEmpty,
        };
    }

    /// <summary>Unlinks tables that were written and will not be committed. What the disk refuses to remove, the next open sweeps.</summary>
    /// <param name="job">The merge that they are of; the caller still holds its window against other jobs.</param>
    /// <param name="tables">Tables that no manifest names or may name.</param>
    public void Remove(CompactionJob job, IEnumerable<TableEntry> tables)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(tables);
        foreach (TableEntry table in tables) Try(() => _files.Unlink(_paths.Table(table)));
        Try(() => WindowDirectories.RemoveIfEmpty(_files, _paths, job.Window.MinMs));
    }

    private static void Try(Action remove)
    {
        try
        {
            remove();
        }
        catch (DiskException)
        {
            // The failure that led here is the one to report.
        }
    }

    private TableEntry WriteTable(CompactionJob job, long tableId, WindowMerge merge, Pauses pauses, CancellationToken cancel)
    {
        var options = new SSTableWriterOptions
        {
            TableId = tableId,
            DirectoryId = _output.DirectoryId,
            Level = job.OutputLevel,
            BloomBitsPerKey = _output.BloomBitsPerKey,
        };
        long[] parents = [.. job.Inputs.Select(static table => table.Entry.Id)];
        string path = _paths.Table(tableId, job.OutputLevel, job.Window.MinMs);
        SSTableInfo written = SSTableFiles.Write(_files, path, options, writer =>
        {
            do
            {
                cancel.ThrowIfCancellationRequested();
                writer.Add(job.Window.MinMs, merge.SeriesId, merge.Chunks);
                pauses.At(merge.BytesRead);
            }
            while (merge.MoveNext() && Fits(writer, merge.Chunks, parents.Length));
            return writer.Finish(
                job.Inputs.Min(static table => table.Entry.FirstSequence), job.Inputs.Max(static table => table.Entry.LastSequence), parents, cancel);
        });
        return TableEntry.Of(written) with { AppliedTo = job.AppliedTo };
    }

    private bool Fits(SSTableWriter writer, ReadOnlySpan<SeriesChunk> next, int parents) =>
        writer.EstimatedBytes < _output.TargetFileBytes && writer.LargestBytesWith(next, parents) <= _output.MaxFileBytes;

    /// <summary>Cuts the work in pieces, however many tables it makes.</summary>
    private sealed class Pauses(Action<long> pace)
    {
        private long _next = PaceBytes;

        public void At(long bytesRead)
        {
            if (bytesRead < _next) return;
            _next = bytesRead + PaceBytes;
            pace(bytesRead);
        }
    }
}
