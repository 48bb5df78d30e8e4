using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Levels;

/// <summary>Keeps tables from which something could not be read: they may be its only copy.</summary>
public static class TableQuarantine
{
    /// <summary>Where the table of a number is kept.</summary>
    public static string PathOf(DataLayout paths, long tableId)
    {
        ArgumentNullException.ThrowIfNull(paths);
        return DataLayout.Join(paths.Quarantine, $"table-{tableId}{DataLayout.TableSuffix}");
    }

    /// <summary>Gives a table a second, durable name before a commit takes its first. Doing it again changes nothing.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="table">The table, still under its own name.</param>
    public static void Keep(IFileSystem files, DataLayout paths, LevelTable table)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(paths);
        ArgumentNullException.ThrowIfNull(table);
        string kept = PathOf(paths, table.Entry.Id);
        if (files.FileSize(kept) is null) files.Link(table.Reader.Path, kept);
        files.SyncDir(paths.Quarantine); // also of a link that is there: an attempt that was cut off may not have come to it
    }
}
