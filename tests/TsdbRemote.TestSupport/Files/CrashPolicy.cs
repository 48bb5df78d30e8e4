namespace TsdbRemote.TestSupport;

/// <summary>What a crash leaves of everything that was not synced.</summary>
public enum CrashKind
{
    /// <summary>Nothing: the strictest legal disk.</summary>
    OnlySynced,

    /// <summary>Everything, still unsynced: the process was killed, the kernel lives on.</summary>
    All,

    /// <summary>Each pending page write, length change and directory operation by itself, with a probability.</summary>
    RandomPages,

    /// <summary>The first n pending operations over all files and directories: an ordered journal.</summary>
    Prefix,

    /// <summary>As <see cref="Prefix"/>, and the last page of it torn at a 512-byte sector: the rest old, or garbage.</summary>
    TornSector,

    /// <summary>Names and lengths of everything, but no pending data: an append whose size reached the disk first.</summary>
    SizeOnly,

    /// <summary>All names, synced data: a rename kept without the data of its file.</summary>
    EntryOnly,

    /// <summary>All data, synced names: a file written but never linked into its directory.</summary>
    DataOnly,

    /// <summary>All data and names, except that some pending renames are lost although later unlinks were kept.</summary>
    Reordered,

    /// <summary>
    /// Each file and each directory for itself keeps all that is pending, nothing, or the first of it: write-back goes file by file, so one may be whole on the disk before another has begun.
    /// </summary>
    PerFile,
}

/// <summary>A kind of crash with its parameter.</summary>
/// <param name="Kind">What survives.</param>
/// <param name="Probability">For <see cref="CrashKind.RandomPages"/>: how likely each pending piece is kept, 0 to 1.</param>
public readonly record struct CrashPolicy(CrashKind Kind, double Probability = 0.5)
{
    /// <summary>Nothing pending survives.</summary>
    public static readonly CrashPolicy OnlySynced = new(CrashKind.OnlySynced);

    /// <summary>Kill -9: all is kept, and still has to be synced.</summary>
    public static readonly CrashPolicy All = new(CrashKind.All);

    /// <summary>A random prefix of the pending operations.</summary>
    public static readonly CrashPolicy Prefix = new(CrashKind.Prefix);

    /// <summary>A random prefix whose last page is torn.</summary>
    public static readonly CrashPolicy TornSector = new(CrashKind.TornSector);

    /// <summary>Sizes without data.</summary>
    public static readonly CrashPolicy SizeOnly = new(CrashKind.SizeOnly);

    /// <summary>Names without data.</summary>
    public static readonly CrashPolicy EntryOnly = new(CrashKind.EntryOnly);

    /// <summary>Data without names.</summary>
    public static readonly CrashPolicy DataOnly = new(CrashKind.DataOnly);

    /// <summary>Unlinks that overtook renames.</summary>
    public static readonly CrashPolicy Reordered = new(CrashKind.Reordered);

    /// <summary>Each file and directory in its own state.</summary>
    public static readonly CrashPolicy PerFile = new(CrashKind.PerFile);

    /// <summary>Every kind once, for loops over all policies.</summary>
    public static IReadOnlyList<CrashPolicy> Every { get; } =
        [OnlySynced, All, RandomPages(0.5), Prefix, TornSector, SizeOnly, EntryOnly, DataOnly, Reordered, PerFile];

    /// <summary>Each pending piece kept with probability <paramref name="probability"/>.</summary>
    public static CrashPolicy RandomPages(double probability) => new(CrashKind.RandomPages, probability);

    /// <inheritdoc/>
    public override string ToString() => Kind == CrashKind.RandomPages ? $"{Kind}({Probability})" : Kind.ToString();
}
