using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Engine;

/// <summary>What becomes of files that no manifest names.</summary>
internal enum RestPolicy
{
    /// <summary>They go: what is named holds all that they hold. Not so what was given up once, and has come back: that goes to <c>quarantine/</c>.</summary>
    Remove,

    /// <summary>They go to <c>quarantine/</c>: files are being given up, and one of these may hold the same.</summary>
    PutAside,

    /// <summary>They stay where they are: something that is named is damaged or gone.</summary>
    Leave,
}

/// <summary>Tables, dictionaries, segments and temporary files that no manifest names: rests of crashes, of which none may be the last copy of anything. What of them goes is said by <see cref="Recovery"/>.</summary>
/// <param name="files">The disk.</param>
/// <param name="paths">The data directory.</param>
/// <param name="damaged">Told of what had to be put aside.</param>
/// <param name="log">Where removals go.</param>
internal sealed class UnnamedFiles(IFileSystem files, DataLayout paths, Action<string> damaged, ILogger log)
{
    /// <summary>Refuses tables of a later version: what a later program was about to commit is not for this one to judge.</summary>
    /// <exception cref="NewerFormatException">There is one.</exception>
    public void RefuseNewerTables(ManifestState manifest)
    {
        foreach ((string directory, DirectoryEntry entry, long id) in Tables(manifest))
        {
            try
            {
                SSTableReader.Open(files, DataLayout.Join(directory, entry.Name), id, entry.Length, mmap: false, cacheMetadata: false).Dispose();
            }
            catch (CorruptFileException broken) when (broken is not NewerFormatException)
            {
                // And therefore it is told when it is removed or put aside.
            }
        }
    }

    /// <summary>Removes tables, or puts them into <c>quarantine/</c> where they may be the only copy.</summary>
    /// <param name="manifest">The committed state.</param>
    /// <param name="segments">Log segments that are there.</param>
    /// <param name="policy">What becomes of those that a commit dropped.</param>
    /// <returns>First id that no table ever had.</returns>
    public long RemoveTables(ManifestState manifest, HashSet<long> segments, RestPolicy policy)
    {
        long next = manifest.NextTableId;
        foreach ((string directory, DirectoryEntry entry, long id) in Tables(manifest))
        {
            next = Math.Max(next, id + 1);
            string path = DataLayout.Join(directory, entry.Name);

            // Below the next id a commit dropped it, or one that came before its own. Above, it is the rest of a flush whose log is still there, or of a
            // merge whose inputs are; if they are not, MANIFEST is older than the table, as after a restore in parts, and the table may be the only copy.
            if (id >= manifest.NextTableId && !ManifestCompleteness.IsCovered(files, path, id, entry.Length, segments, manifest.Tables))
                PutAside(path, "what it was made from is gone");
            else
                Settle(manifest, path, policy);
        }

        return next;
    }

    /// <summary>Removes files under a temporary name, and directories of windows that hold nothing.</summary>
    public void RemoveTemporaries()
    {
        foreach (string directory in TableDirectories().Prepend(paths.Root))
        {
            foreach (DirectoryEntry entry in files.List(directory))
            {
                if (!entry.IsDirectory && entry.Name.EndsWith(DataLayout.TemporarySuffix, StringComparison.Ordinal)) Remove(DataLayout.Join(directory, entry.Name));
            }
        }

        foreach (long window in WindowDirectories.All(files, paths)) WindowDirectories.RemoveIfEmpty(files, paths, window);
    }

    /// <summary>Removes segments whose flush is committed.</summary>
    public void RemoveFlushedSegments(ManifestState manifest, LogInventory inventory, RestPolicy policy)
    {
        foreach (long number in inventory.Flushed) Settle(manifest, paths.Segment(number), policy);
    }

    /// <summary>
    /// Removes dictionaries that a collection replaced, and those of a collection, or a first flush, that was not committed: every series of it is in a file that is
    /// named, or in a log segment.
    /// </summary>
    public void RemoveDictionaries(ManifestState manifest, RestPolicy policy)
    {
        foreach (DirectoryEntry entry in files.List(paths.Series))
        {
            if (entry.IsDirectory || DataLayout.NumberOf(entry.Name, DataLayout.DictionarySuffix) is not { } number) continue;
            if (manifest.Dictionaries.All(named => named.Number != number)) Settle(manifest, paths.Dictionary(number), policy);
        }
    }

    private List<(string Directory, DirectoryEntry Entry, long Id)> Tables(ManifestState manifest)
    {
        var named = manifest.Tables.Select(static table => table.Id).ToHashSet();
        var found = new List<(string, DirectoryEntry, long)>();
        foreach (string directory in TableDirectories())
        {
            foreach (DirectoryEntry entry in files.List(directory))
            {
                if (!entry.IsDirectory && DataLayout.NumberOf(entry.Name, DataLayout.TableSuffix) is { } id && !named.Contains(id)) found.Add((directory, entry, id));
            }
        }

        return found;
    }

    private IEnumerable<string> TableDirectories() => WindowDirectories.All(files, paths).Select(window => paths.TableDirectory(level: 1, window)).Prepend(paths.Tables);

    private void Settle(ManifestState manifest, string path, RestPolicy policy)
    {
        if (policy == RestPolicy.Leave) return;
        if (policy == RestPolicy.PutAside) PutAside(path, "files are given up (accept_data_loss) that may hold the same");
        else if (AcceptedLosses.WasGivenUp(manifest, paths, path)) PutAside(path, "was given up (accept_data_loss)");
        else Remove(path);
    }

    private void PutAside(string path, string why)
    {
        string kept = QuarantineNames.Free(files, paths, path);
        files.Rename(path, kept);
        files.SyncDir(paths.Quarantine);
        files.SyncDir(Path.GetDirectoryName(path)!);
        damaged($"{path} is not named by MANIFEST, and {why}; kept as {kept}");
    }

    private void Remove(string path)
    {
        files.Unlink(path);
        Log.RestRemoved(log, path);
    }
}
