using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Levels;

/// <summary>Names of what lies in a data directory. Nothing else puts such a name together.</summary>
public static class DataLayout
{
    /// <summary>Log segments.</summary>
    public const string WalDirectory = "wal";

    /// <summary>Dictionary files.</summary>
    public const string SeriesDirectory = "series";

    /// <summary>Tables.</summary>
    public const string TablesDirectory = "tables";

    /// <summary>Prometheus blocks.</summary>
    public const string BlocksDirectory = "blocks";

    /// <summary>Snapshots made on request.</summary>
    public const string SnapshotsDirectory = "snapshots";

    /// <summary>What was found damaged.</summary>
    public const string QuarantineDirectory = "quarantine";

    /// <summary>Makes the directories of a new data directory, itself included, where they are missing.</summary>
    /// <remarks>Their names become durable with the first manifest.</remarks>
    public static void MakeDirectories(IFileSystem fs, string dataDir)
    {
        ArgumentNullException.ThrowIfNull(fs);
        fs.MakeDir(dataDir);
        string[] names = [WalDirectory, SeriesDirectory, TablesDirectory, BlocksDirectory, SnapshotsDirectory, QuarantineDirectory];
        foreach (string name in names) fs.MakeDir(Join(dataDir, name));
    }

    /// <summary>Directory of a table: of its window from level 1 on, where a table belongs to one window.</summary>
    public static string TableDirectory(string dataDir, int level, long windowStartMs)
    {
        string tables = Join(dataDir, TablesDirectory);
        return level == 0 ? tables : Join(tables, windowStartMs.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Path of a table.</summary>
    public static string Table(string dataDir, TableEntry table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return Table(dataDir, table.Id, table.Level, table.Windows[0]);
    }

    /// <summary>Path of a table.</summary>
    /// <param name="dataDir">The data directory.</param>
    /// <param name="id">The table's number.</param>
    /// <param name="level">Its level.</param>
    /// <param name="windowStartMs">Its window; does not matter at level 0.</param>
    public static string Table(string dataDir, long id, int level, long windowStartMs) =>
        Join(TableDirectory(dataDir, level, windowStartMs), id.ToString(CultureInfo.InvariantCulture) + SSTableFormat.FileSuffix);

    /// <summary>Path of a log segment.</summary>
    public static string Segment(string dataDir, long number) => Join(Join(dataDir, WalDirectory), Numbered(number, ".log"));

    /// <summary>Path of a dictionary file.</summary>
    public static string Dictionary(string dataDir, long number) => Join(Join(dataDir, SeriesDirectory), Numbered(number, ".dict"));

    /// <summary>The number in a name such as <c>00000042.log</c> or <c>7.sst</c>.</summary>
    /// <param name="name">File name without directory.</param>
    /// <param name="suffix">What it must end with.</param>
    /// <param name="number">The number, 0 or more.</param>
    public static bool TryParseNumber(string name, string suffix, out long number)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(suffix);
        number = 0;
        return name.EndsWith(suffix, StringComparison.Ordinal)
            && long.TryParse(name.AsSpan(0, name.Length - suffix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }

    /// <summary>A path one level down.</summary>
    public static string Join(string directory, string name) => $"{directory}/{name}";

    private static string Numbered(long number, string suffix) => number.ToString("D8", CultureInfo.InvariantCulture) + suffix;
}
