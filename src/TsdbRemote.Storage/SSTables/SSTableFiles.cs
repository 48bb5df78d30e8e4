using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Brings a table to its name in the order that a crash allows.</summary>
public static class SSTableFiles
{
    /// <summary>Writes a table under a temporary name, and names it once its contents are durable and were read back.</summary>
    /// <remarks>
    /// Order: write, verify, sync (all in <see cref="SSTableWriter.Finish"/>); rename; sync its directory; sync the directory above, in
    /// case that this one is new. After it the manifest may name the table. Should it fail, the temporary file is unlinked if that is
    /// possible; a file that was named already stays, as garbage that the next open sweeps: nobody can know which name is on disk.
    /// </remarks>
    /// <param name="fs">Where to.</param>
    /// <param name="path">The table's name; its directory is made if it is missing, the one above must be there.</param>
    /// <param name="options">What the table is.</param>
    /// <param name="write">Adds everything and finishes the writer.</param>
    /// <exception cref="CorruptFileException">What was read back is not what was written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static SSTableInfo Write(IFileSystem fs, string path, SSTableWriterOptions options, Func<SSTableWriter, SSTableInfo> write)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(write);
        string directory = ParentOf(path);
        string temporary = path + SSTableFormat.TemporarySuffix;
        fs.MakeDir(directory);
        // The rest of an attempt that failed, if the caller gives its number again.
        if (fs.FileSize(temporary) is not null) fs.Unlink(temporary);
        SSTableInfo info;
        try
        {
            info = WriteTemporary(fs, temporary, options, write);
            fs.Rename(temporary, path);
        }
        catch
        {
            TryUnlink(fs, temporary);
            throw;
        }

        fs.SyncDir(directory);
        fs.SyncDir(ParentOf(directory));
        return info;
    }

    private static SSTableInfo WriteTemporary(
        IFileSystem fs, string temporary, SSTableWriterOptions options, Func<SSTableWriter, SSTableInfo> write)
    {
        using SSTableWriter writer = new(fs, temporary, options);
        return write(writer);
    }

    private static void TryUnlink(IFileSystem fs, string path)
    {
        try
        {
            fs.Unlink(path);
        }
        catch (IOException)
        {
            // The failure that led here is the one to report; the next open sweeps temporary files.
        }
    }

    private static string ParentOf(string path)
    {
        int slash = path.LastIndexOf('/');
        return slash < 0 ? "." : path[..Math.Max(1, slash)];
    }
}
