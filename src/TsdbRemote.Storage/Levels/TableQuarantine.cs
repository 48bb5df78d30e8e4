using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Levels;

/// <summary>Keeps tables from which something could not be read: they may be its only copy.</summary>
public static class TableQuarantine
{
    // A table ends with checksums of all that is in it.
    private const int ComparedBytes = 4096;

    /// <summary>Gives a table a second, durable name before a commit takes its first. Doing it again changes nothing.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="table">The table, still under its own name.</param>
    public static void Keep(IFileSystem files, DataLayout paths, LevelTable table)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(paths);
        ArgumentNullException.ThrowIfNull(table);
        foreach (string kept in QuarantineNames.All(Path.GetFileName(table.Reader.Path)).Select(name => DataLayout.Join(paths.Quarantine, name)))
        {
            long? length = files.FileSize(kept);

            // Of that number, but of an earlier life of the directory, before a backup was restored over it.
            if (length is not null && !IsCopy(files, kept, table.Reader.Path)) continue;
            if (length is null) files.Link(table.Reader.Path, kept);
            files.SyncDir(paths.Quarantine); // also of a link that is there: an attempt that was cut off may not have come to it
            return;
        }
    }

    private static bool IsCopy(IFileSystem files, string left, string right)
    {
        using IFile one = files.OpenRead(left);
        using IFile other = files.OpenRead(right);
        if (one.Length != other.Length) return false;
        return EndOf(one).AsSpan().SequenceEqual(EndOf(other));
    }

    private static byte[] EndOf(IFile file)
    {
        byte[] end = new byte[Math.Min(file.Length, ComparedBytes)];
        Array.Resize(ref end, file.Read(file.Length - end.Length, end));
        return end;
    }
}
