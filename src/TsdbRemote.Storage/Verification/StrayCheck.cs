using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Verification;

/// <summary>Finds what lies in a data directory and is named by nobody: rests that the next start removes, and strays.</summary>
/// <remarks>
/// Beside a server at work only names are looked at, and of these only such as no file here ever has: whatever has a name of ours may be about to be named, or on its way out.
/// </remarks>
/// <param name="run">The verification.</param>
/// <param name="manifest">What is named; null if nothing says so: then, too, only names are looked at.</param>
internal sealed class StrayCheck(VerifyRun run, ManifestState? manifest)
{
    private const string Rest = "the rest of a step that was cut off: what it was made of is still there, and the next start removes it";

    private static readonly string[] RootFiles =
        ["LOCK", DataLayout.ReplayName, Manifest.FileName, Manifest.PreviousFileName, Series.MetadataFile.Kind.Name, Exemplars.ExemplarFile.Kind.Name];

    // What others put beside blocks: Thanos and Mimir note there what they have shipped, and link there what they are about to ship.
    private static readonly string[] OfShippers = ["thanos.shipper.json", "mimir.shipper.json", "thanos"];

    private ManifestState? Named => run.Live is null ? manifest : null;

    /// <summary>True if nothing in a root is ours: then it is no data directory, or its volume is not mounted.</summary>
    public static bool IsElsewhere(IReadOnlyList<DirectoryEntry> root, DataLayout paths)
    {
        HashSet<string> ours = [.. RootFiles, .. paths.Directories.Select(static path => path[(path.LastIndexOf('/') + 1)..])];
        return !root.Any(entry => ours.Contains(entry.Name));
    }

    /// <summary>Looks at every directory.</summary>
    /// <param name="blocks">Checks blocks that are not named.</param>
    /// <param name="segments">Numbers of the log segments that are replayed.</param>
    public void Check(BlockCheck blocks, IEnumerable<long> segments)
    {
        HashSet<string> directories = [.. run.Paths.Directories.Select(static path => path[(path.LastIndexOf('/') + 1)..])];
        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Root))
        {
            bool isOurs = entry.IsDirectory ? directories.Contains(entry.Name) : RootFiles.Contains(entry.Name);
            if (!isOurs) TellUnknown(run.Paths.Root, entry);
        }

        CheckNumbered(run.Paths.Wal, DataLayout.SegmentSuffix, static (_, _) => { }); // of segments the log's own check tells
        CheckNumbered(run.Paths.Series, DataLayout.DictionarySuffix, CheckDictionary);
        CheckTables([.. segments]);
        CheckBlocks(blocks);
        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Snapshots).Where(static entry => !entry.IsDirectory || IsTemporary(entry))) TellUnknown(run.Paths.Snapshots, entry);
    }

    /// <summary>Where nothing says that there ever was a store, and nothing that it could have served is there: what else of it is.</summary>
    public void CheckRemains()
    {
        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Root))
        {
            string path = DataLayout.Join(run.Paths.Root, entry.Name);
            bool isRemains = entry.IsDirectory
                ? (path == run.Paths.Quarantine || path == run.Paths.Snapshots) && run.Files.List(path).Count > 0
                : path == run.Paths.Metadata || path == run.Paths.Exemplars;
            if (!isRemains) continue;
            run.Warning(
                path, $"is there, and {Manifest.FileName} and all that it could name are not",
                "a store was here: a start would begin an empty one; restore the whole directory from a backup or a snapshot first");
        }
    }

    private static bool IsTemporary(DirectoryEntry entry) => entry.Name.EndsWith(DataLayout.TemporarySuffix, StringComparison.Ordinal);

    private void TellUnknown(string directory, DirectoryEntry entry)
    {
        string path = DataLayout.Join(directory, entry.Name);
        bool isRest = IsTemporary(entry) && entry.IsDirectory == (directory == run.Paths.Snapshots);
        if (!isRest) run.Warning(path, $"a {(entry.IsDirectory ? "directory" : "file")} that nobody here knows", "it is not read, and nothing removes it: look where it comes from");
        else if (run.Live is null) run.Note(path, null, "a temporary name", Rest);
    }

    private void CheckNumbered(string directory, string suffix, Action<string, long> check)
    {
        foreach (DirectoryEntry entry in run.Files.List(directory))
        {
            if (!entry.IsDirectory && DataLayout.NumberOf(entry.Name, suffix) is { } number) check(DataLayout.Join(directory, entry.Name), number);
            else TellUnknown(directory, entry);
        }
    }

    private void CheckDictionary(string path, long number)
    {
        if (Named is not { } state || state.Dictionaries.Any(named => named.Number == number)) return;
        run.Note(path, null, "MANIFEST does not name it", "what it holds is in the dictionary that is named, or in the log; the next start removes it, if nothing is damaged");
    }

    private void CheckTables(HashSet<long> segments)
    {
        HashSet<string> named = [.. Named?.Tables.Select(run.Paths.Table) ?? []];
        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Tables))
        {
            string path = DataLayout.Join(run.Paths.Tables, entry.Name);
            bool isWindow = entry.IsDirectory && long.TryParse(entry.Name, out long window) && path == run.Paths.TableDirectory(level: 1, window);
            if (isWindow) CheckNumbered(path, DataLayout.TableSuffix, Check);
            else if (!entry.IsDirectory && DataLayout.NumberOf(entry.Name, DataLayout.TableSuffix) is { } number) Check(path, number);
            else TellUnknown(run.Paths.Tables, entry);
        }

        void Check(string path, long number)
        {
            if (Named is { } state && !named.Contains(path))
                run.Check(path, 0, "nobody names it, and it cannot be told whether it is needed", () => CheckUnnamedTable(state, path, number, segments));
        }
    }

    private void CheckUnnamedTable(ManifestState state, string path, long number, HashSet<long> segments)
    {
        if (state.Tables.FirstOrDefault(table => table.Id == number) is { } elsewhere)
            run.Warning(path, $"table {number} is named, but as {run.Relative(run.Paths.Table(elsewhere))}", "it is not read, and nothing removes it: if the other is missing, put it there");
        else if (number < state.NextTableId)
            run.Note(path, null, "MANIFEST does not name it any more", "what it holds was merged, converted or deleted; the next start removes it, if nothing is damaged");
        else if (run.Files.FileSize(path) is { } size && ManifestCompleteness.IsCovered(run.Files, path, number, size, segments, state.Tables))
            run.Note(path, null, "MANIFEST does not name it yet", Rest);
        else
            run.Warning(path, "MANIFEST does not name it, and what it was made from is not there", "it may be the only copy, as after a restore in parts; it is not served, and the next start keeps it in quarantine/");
    }

    private void CheckBlocks(BlockCheck blocks)
    {
        HashSet<string> named = [.. manifest?.Blocks.Select(static block => block.Ulid) ?? []];
        HashSet<string> none = [];
        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Blocks))
        {
            string path = DataLayout.Join(run.Paths.Blocks, entry.Name);
            bool isBlock = BlockDirectory.IsBlock(entry.Name, out _);
            if (entry.IsDirectory && named.Contains(entry.Name)) continue;
            if (OfShippers.Contains(entry.Name)) run.Note(path, null, "is of a shipper of blocks", "it is not read, and nothing removes it");
            else if (isBlock && !entry.IsDirectory) run.Warning(path, "has the name of a block and is no directory", "it is not followed, and not served");
            else if (!isBlock && !(entry.IsDirectory && BlockDirectory.IsTemporary(entry.Name))) run.Warning(path, "is no block", "it is not read, and nothing removes it: look where it comes from");
            else if (Named is not { } state) continue;
            else if (!isBlock || state.DeletedBlocks.Contains(entry.Name) || BlockStore.IsUnnamed(run.Files, run.Paths, entry.Name, state, none)) run.Note(path, null, "the rest of a block", Rest);
            else blocks.CheckForeign(entry.Name);
        }
    }
}
