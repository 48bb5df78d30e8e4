namespace TsdbRemote.Storage.Options;

/// <summary>How tables of a window are chosen for a merge; <c>docs/compaction.md</c> says which to take when.</summary>
public enum CompactionStrategy
{
    /// <summary>Runs of like size are merged into one of the next level: fewest bytes written, more runs to read.</summary>
    SizeTiered,

    /// <summary>A window is left alone while it is written to, and merged to one run once it is closed: one rewrite a window, late data pays.</summary>
    TimeTiered,

    /// <summary>One run a level and window: fewest runs to read, most bytes written.</summary>
    Leveled,
}
