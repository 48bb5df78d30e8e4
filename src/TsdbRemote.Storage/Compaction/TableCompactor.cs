using System.Collections.Immutable;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Compaction;

/// <summary>What the tables of a merge are, beyond their chunks.</summary>
/// <param name="DirectoryId">Id of the data directory.</param>
/// <param name="BloomBitsPerKey">Bits of bloom filter for each series.</param>
/// <param name="TargetFileBytes">Bytes at which a run is cut into another table.</param>
/// <param name="MaxFileBytes">Bytes that no table exceeds, unless a single series does.</param>
public sealed record CompactionOutput(Guid DirectoryId, int BloomBitsPerKey, long TargetFileBytes, long MaxFileBytes);

/// <summary>What a merge left on disk, not yet named by the manifest.</summary>
/// <param name="Tables">The tables of the new run, by ascending ids; none if nothing of the inputs could be read.</param>
/// <param name="BytesRead">Bytes of the inputs that were read.</param>
/// <param name="BytesWritten">Bytes of the new tables.</param>
/// <param name="SamplesWritten">Samples in the new tables.</param>
/// <param name="Merged">Samples left out because a newer version of the same instant exists.</param>
/// <param name="DamagedTables">Inputs of which a chunk was left out because its bytes are damaged, by number: to be kept before they are deleted.</param>
/// <param name="Damages">Each such chunk, for people.</param>
public sealed record CompactionResult(
    ImmutableArray<TableEntry> Tables, long BytesRead, long BytesWritten, long SamplesWritten, MergeCounts Merged, ImmutableHashSet<long> DamagedTables,
    ImmutableArray<string> Damages);

/// <summary>Merges the tables of one window into one run: streams in, new files out; never touches the manifest.</summary>
public sealed class TableCompactor
{
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
    /// <param name="cancel">Stops the work between two pieces.</param>
    /// <exception cref="CorruptFileException">An index block of an input is damaged: the window cannot be merged.</exception>
    /// <exception cref="CorruptChunkException">A chunk is none although its checksum holds: the window cannot be merged.</exception>
    /// <exception cref="DiskException">The disk refused; nothing is left behind that the next open does not sweep.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is left behind that the next open does not sweep.</exception>
    public CompactionResult Write(CompactionJob job, Func<long> nextTableId, Action<long> pace, CancellationToken cancel) =>
        throw new NotSupportedException($"{job} {nextTableId} {pace} {cancel} {_files} {_paths} {_output}");
}
