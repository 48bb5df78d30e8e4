using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks;

/// <summary>The directory that holds blocks: what is a block in it, what is the rest of an interrupted step, and how a block goes.</summary>
/// <remarks>
/// <code>
/// blocks/01M87K85AJTSJCZBCX46AVGB98/                     a block: whole from the moment it has this name
/// blocks/01M87K85AJTSJCZBCX46AVGB98.tmp-for-creation/    being written
/// blocks/01M87K85AJTSJCZBCX46AVGB98.tmp-for-deletion/    being removed
/// blocks/01M87K85AJTSJCZBCX46AVGB98.tmp/                 the same, of old versions of Prometheus
/// </code>
/// Invariant: nothing is removed from a block before the loss of its name is durable; so what can be loaded is never half there.
/// The names are Prometheus', which sweeps the same at its start. Stateless.
/// </remarks>
public static class BlockDirectory
{
    /// <summary>Ends the name of a block that is being written.</summary>
    public const string CreationSuffix = ".tmp-for-creation";

    /// <summary>Ends the name of a block that is being removed.</summary>
    public const string DeletionSuffix = ".tmp-for-deletion";

    /// <summary>Ends the name of a temporary block of old versions.</summary>
    public const string TemporarySuffix = ".tmp";

    /// <summary>Name of the index in its block.</summary>
    public const string IndexFileName = "index";

    /// <summary>The directory of a block.</summary>
    public static string PathOf(string blocksDirectory, Ulid ulid) => $"{blocksDirectory}/{ulid}";

    /// <summary>Whether a name is that of a block.</summary>
    public static bool IsBlock(string name, out Ulid ulid) => Ulid.TryParse(name, out ulid);

    /// <summary>Whether a name is that of a block's temporary directory.</summary>
    public static bool IsTemporary(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name.Length <= Ulid.TextLength || !Ulid.TryParse(name.AsSpan(0, Ulid.TextLength), out _)) return false;
        return name[Ulid.TextLength..] is CreationSuffix or DeletionSuffix or TemporarySuffix;
    }

    /// <summary>The blocks in a directory, oldest first; everything else in it is passed over.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static IReadOnlyList<Ulid> List(IFileSystem files, string blocksDirectory)
    {
        ArgumentNullException.ThrowIfNull(files);
        List<Ulid> blocks = [];
        foreach (DirectoryEntry entry in files.List(blocksDirectory))
        {
            if (entry.IsDirectory && IsBlock(entry.Name, out Ulid ulid)) blocks.Add(ulid);
        }

        return blocks;
    }

    /// <summary>Removes a block that nobody names and nobody reads any more.</summary>
    /// <remarks>
    /// Order: rename to <see cref="DeletionSuffix"/>, sync the directory, remove the tree. What a failure leaves is removed by another
    /// call or by <see cref="SweepTemporaries"/>; a block that is gone already is no error. One that never got its name, because the
    /// rename was refused, goes from under the temporary one.
    /// </remarks>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void Remove(IFileSystem files, string blocksDirectory, Ulid ulid)
    {
        ArgumentNullException.ThrowIfNull(files);
        string path = PathOf(blocksDirectory, ulid);
        string doomed = path + DeletionSuffix;
        string unfinished = path + CreationSuffix;
        if (files.List(unfinished).Count > 0) RemoveTree(files, unfinished);
        if (files.List(doomed).Count > 0) RemoveDoomed(files, blocksDirectory, doomed);
        try
        {
            files.Rename(path, doomed);
        }
        catch (DiskException gone) when (gone.Errno == Errno.NoEntry)
        {
            RemoveIfThere(files, doomed); // a removal that was cut off may have left an empty one
            return;
        }

        RemoveDoomed(files, blocksDirectory, doomed);
    }

    /// <summary>Removes what is left of a block under a temporary name; nothing of a block that bears its own.</summary>
    /// <remarks>The caller has synced the directory, so that the name is on disk before the files go.</remarks>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void RemoveTemporary(IFileSystem files, string blocksDirectory, string name)
    {
        ArgumentNullException.ThrowIfNull(files);
        if (!IsTemporary(name)) throw new ArgumentException($"{name} is no temporary name", nameof(name));
        RemoveIfThere(files, $"{blocksDirectory}/{name}");
    }

    /// <summary>Removes what interrupted steps left. Only while no block is being written or removed: at the start.</summary>
    /// <returns>The names that were removed.</returns>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static IReadOnlyList<string> SweepTemporaries(IFileSystem files, string blocksDirectory)
    {
        ArgumentNullException.ThrowIfNull(files);
        List<string> swept = [];
        foreach (DirectoryEntry entry in files.List(blocksDirectory))
        {
            if (entry.IsDirectory && IsTemporary(entry.Name)) swept.Add(entry.Name);
        }

        // If only the process died, the renames that gave these names may still have to reach the disk.
        if (swept.Count > 0) files.SyncDir(blocksDirectory);
        foreach (string name in swept) RemoveTree(files, $"{blocksDirectory}/{name}");
        return swept;
    }

    /// <summary>Removes a directory with all that is in it.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void RemoveTree(IFileSystem files, string path)
    {
        ArgumentNullException.ThrowIfNull(files);
        foreach (DirectoryEntry entry in files.List(path))
        {
            string child = $"{path}/{entry.Name}";
            if (entry.IsDirectory) RemoveTree(files, child);
            else files.Unlink(child);
        }

        files.RemoveDir(path);
    }

    /// <summary>Removes a directory with all that is in it, if it is there. Looks at nothing beside it, however many blocks there are.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void RemoveIfThere(IFileSystem files, string path)
    {
        ArgumentNullException.ThrowIfNull(files);
        try
        {
            RemoveTree(files, path); // an absent directory lists as empty
        }
        catch (DiskException gone) when (gone.Errno == Errno.NoEntry && gone.Path == path)
        {
            // Nothing was there.
        }
    }

    private static void RemoveDoomed(IFileSystem files, string blocksDirectory, string doomed)
    {
        // Its name must be on disk before its files go: else a crash could bring back a block without them.
        files.SyncDir(blocksDirectory);
        RemoveTree(files, doomed);
    }
}
