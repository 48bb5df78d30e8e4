using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Compaction;

/// <summary>Why tables are merged.</summary>
public enum CompactionReason
{
    /// <summary>As many runs stand at a level of the window as the strategy allows.</summary>
    TooManyRuns,

    /// <summary>The run of a level has outgrown it.</summary>
    LevelFull,

    /// <summary>The window is closed and quiet, and still in several runs.</summary>
    WindowClosed,

    /// <summary>Somebody asked to have what is deleted taken out of the files.</summary>
    Deleted,
}

/// <summary>One merge: tables of one window, neighbours in sequence, into one run.</summary>
/// <param name="Window">The window; both ends belong to it.</param>
/// <param name="Inputs">Whole runs: by sequence, the oldest first, in a run by ids.</param>
/// <param name="OutputLevel">Level of the new run, 1 or more.</param>
/// <param name="Reason">Why.</param>
public sealed record CompactionJob(TimeRange Window, ImmutableArray<LevelTable> Inputs, int OutputLevel, CompactionReason Reason)
{
    /// <summary>Bytes of the window in the inputs: of tables that hold other windows besides, a share by samples.</summary>
    public long InputBytes => Inputs.Sum(table => table.BytesIn(Window.MinMs));

    /// <summary>Tombstones up to this sequence are known to the merge.</summary>
    internal ulong AppliedTo { get; init; }

    /// <summary>What is taken out of the older inputs; null if nothing is.</summary>
    internal DeletionSet? Deletions { get; init; }

    /// <summary>Knows the labels of the inputs' series; the caller holds it. Null if nobody asks for them.</summary>
    internal SeriesDictionary? Dictionary { get; init; }
}

/// <summary>What waits to be merged.</summary>
/// <param name="Jobs">Windows for which a merge is due.</param>
/// <param name="Bytes">Bytes of the inputs of those merges.</param>
public readonly record struct CompactionDebt(int Jobs, long Bytes);

/// <summary>What the pickers and the compactor take of the options.</summary>
/// <param name="Strategy">Which picker decides.</param>
/// <param name="WindowMs">Length of a window in ms.</param>
/// <param name="Levels">Number of levels, level 0 counted; 2 or more.</param>
/// <param name="Fanout">Runs that make a level of a window full; 2 or more.</param>
/// <param name="Threshold">Fill of a level, as a part of what makes it full, that starts a merge; above 0 and up to 1.</param>
/// <param name="TargetFileBytes">Bytes at which a run is cut into another table.</param>
/// <param name="MaxFileBytes">Bytes that no table exceeds, unless a single series does.</param>
public sealed record CompactionSettings(
    CompactionStrategy Strategy, long WindowMs, int Levels, int Fanout, double Threshold, long TargetFileBytes, long MaxFileBytes)
{
    /// <summary>Runs of a level and window that start a merge.</summary>
    public int RunsToStart => Math.Max(2, (int)Math.Ceiling(Threshold * Fanout));
}
