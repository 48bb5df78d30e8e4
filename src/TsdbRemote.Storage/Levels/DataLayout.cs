using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Levels;

/// <summary>Names of everything in a data directory; the layout is drawn in docs/formats/data-directory.md.</summary>
/// <param name="Root">The data directory.</param>
public sealed record DataLayout(string Root)
{
    /// <summary>Suffix of files that are not yet what their name says; removed at open.</summary>
    public const string TemporarySuffix = ".tmp";

    /// <summary>Suffix of a table.</summary>
    public const string TableSuffix = SSTableFormat.FileSuffix;

    /// <summary>Suffix of a log segment.</summary>
    public const string SegmentSuffix = ".log";

    /// <summary>Suffix of a dictionary file.</summary>
    public const string DictionarySuffix = ".dict";

    /// <summary>Name of <see cref="Replay"/>.</summary>
    public const string ReplayName = "REPLAY";

    /// <summary>One process holds it.</summary>
    public string Lock => Join(Root, "LOCK");

    /// <summary>What senders told of metric families.</summary>
    public string Metadata => Join(Root, MetadataFile.Kind.Name);

    /// <summary>The exemplars that are kept.</summary>
    public string Exemplars => Join(Root, ExemplarFile.Kind.Name);

    /// <summary>There while the log is replayed.</summary>
    public string Replay => Join(Root, ReplayName);

    /// <summary>Log segments.</summary>
    public string Wal => Join(Root, "wal");

    /// <summary>Dictionary files.</summary>
    public string Series => Join(Root, "series");

    /// <summary>Tables.</summary>
    public string Tables => Join(Root, "tables");

    /// <summary>Prometheus blocks.</summary>
    public string Blocks => Join(Root, "blocks");

    /// <summary>Snapshots.</summary>
    public string Snapshots => Join(Root, "snapshots");

    /// <summary>What was found corrupt; never deleted by itself.</summary>
    public string Quarantine => Join(Root, "quarantine");

    /// <summary>All directories below the root, in the order of their creation.</summary>
    public IEnumerable<string> Directories => [Wal, Series, Tables, Blocks, Snapshots, Quarantine];

    /// <summary>Makes the directories below the root where they are missing. Their names become durable with the next sync of the root.</summary>
    public void MakeDirectories(IFileSystem files)
    {
        foreach (string directory in Directories) files.MakeDir(directory);
    }

    /// <summary>A log segment.</summary>
    public string Segment(long number) => Join(Wal, Name(number, SegmentSuffix));

    /// <summary>A dictionary file.</summary>
    public string Dictionary(long number) => Join(Series, Name(number, DictionarySuffix));

    /// <summary>A table: those of level 0 lie side by side, deeper ones in a directory for each window.</summary>
    public string Table(TableEntry table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return Table(table.Id, table.Level, table.Windows[0]);
    }

    /// <summary>A table of level 0.</summary>
    public string Table(long id) => Table(id, level: 0, windowStartMs: 0);

    /// <summary>A table.</summary>
    /// <param name="id">Its number.</param>
    /// <param name="level">Its level.</param>
    /// <param name="windowStartMs">Start of its window in ms, from level 1 on.</param>
    public string Table(long id, int level, long windowStartMs) => Join(TableDirectory(level, windowStartMs), Name(id, TableSuffix));

    /// <summary>The directory of tables of a level and window.</summary>
    public string TableDirectory(int level, long windowStartMs) =>
        level == 0 ? Tables : Join(Tables, windowStartMs.ToString(CultureInfo.InvariantCulture));

    /// <summary>A block.</summary>
    public string Block(string ulid) => Join(Blocks, ulid);

    /// <summary>The number in a name such as <c>00000042.log</c>; null if the name is not of that form.</summary>
    public static long? NumberOf(string name, string suffix) =>
        name.EndsWith(suffix, StringComparison.Ordinal)
        && long.TryParse(name.AsSpan(0, name.Length - suffix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long number)
        && Name(number, suffix) == name
            ? number
            : null;

    /// <summary>A name in a directory.</summary>
    public static string Join(string directory, string name) => $"{directory}/{name}";

    // Segments and dictionary files are few and read by people in order; tables are many.
    private static string Name(long number, string suffix) =>
        number.ToString(suffix == TableSuffix ? "D" : "D8", CultureInfo.InvariantCulture) + suffix;
}
