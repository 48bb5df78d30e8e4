using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Verification;

/// <summary>Finds what lies in a data directory and is named by nobody: rests that the next start removes, and strays.</summary>
/// <remarks>
/// Beside a server at work only names are looked at, and of these only such as no file here ever has: whatever has a name of ours may be about to be named, or on its way out.
/// </remarks>
internal sealed class StrayCheck(VerifyRun run, ManifestState manifest)
{
    private const string Rest = "the rest of a step that was cut off: what it was made of is still there, and the next start removes it";

    private static readonly string[] RootFiles =
        ["LOCK", DataLayout.ReplayName, Manifest.FileName, Manifest.PreviousFileName, Series.MetadataFile.Kind.Name, Exemplars.ExemplarFile.Kind.Name];

    private bool IsOffline => run.Live is null;

    /// <summary>True if nothing in a root is ours, and something else is: then it is no data directory.</summary>
    public static bool IsElsewhere(IReadOnlyList<DirectoryEntry> root, DataLayout paths)
    {
        HashSet<string> ours = [.. RootFiles, .. paths.Directories.Select(static path => path[(path.LastIndexOf('/') + 1)..])];
        return root.Count > 0 && !root.Any(entry => ours.Contains(entry.Name));
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

    private static bool IsTemporary(DirectoryEntry entry) => entry.Name.EndsWith(DataLayout.TemporarySuffix, StringComparison.Ordinal);

    private void TellUnknown(string directory, DirectoryEntry entry)
    {
        string path = DataLayout.Join(directory, entry.Name);
        bool isRest = IsTemporary(entry) && entry.IsDirectory == (directory == run.Paths.Snapshots);
        if (!isRest) run.Warning(path, $"a {(entry.IsDirectory ? "directory" : "file")} that nobody here knows", "it is not read, and nothing removes it: look where it comes from");
        else if (IsOffline) run.Note(path, null, "a temporary name", Rest);
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
        if (!IsOffline || manifest.Dictionaries.Any(named => named.Number == number)) return;
        run.Note(path, null, "MANIFEST does not name it", "what it holds is in the dictionary that is named, or in the log; the next start removes it, if nothing is damaged");
    }

    private void CheckTables(HashSet<long> segments)
    {
        HashSet<string> named = [.. manifest.Tables.Select(run.Paths.Table)];
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
            if (IsOffline && !named.Contains(path)) run.Check(path, 0, "nobody names it, and it cannot be told whether it is needed", () => CheckUnnamedTable(path, number, segments));
        }
    }

    private void CheckUnnamedTable(string path, long number, HashSet<long> segments)
    {
        if (manifest.Tables.FirstOrDefault(table => table.Id == number) is { } elsewhere)
            run.Warning(path, $"table {number} is named, but as {run.Relative(run.Paths.Table(elsewhere))}", "it is not read, and nothing removes it: if the other is missing, put it there");
        else if (number < manifest.NextTableId)
            run.Note(path, null, "MANIFEST does not name it any more", "what it holds was merged, converted or deleted; the next start removes it, if nothing is damaged");
        else if (run.Files.FileSize(path) is { } size && ManifestCompleteness.IsCovered(run.Files, path, number, size, segments, manifest.Tables))
            run.Note(path, null, "MANIFEST does not name it yet", Rest);
        else
            run.Warning(path, "MANIFEST does not name it, and what it was made from is not there", "it may be the only copy, as after a restore in parts; it is not served, and the next start keeps it in quarantine/");
    }

    private void CheckBlocks(BlockCheck blocks)
    {
        HashSet<string> named = [.. manifest.Blocks.Select(static block => block.Ulid)];
        HashSet<string> none = [];
        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Blocks))
        {
            string path = DataLayout.Join(run.Paths.Blocks, entry.Name);
            bool isBlock = BlockDirectory.IsBlock(entry.Name, out _);
            if (entry.IsDirectory && named.Contains(entry.Name)) continue;
            if (isBlock && !entry.IsDirectory) run.Warning(path, "has the name of a block and is no directory", "it is not followed, and not served");
            else if (!isBlock && !(entry.IsDirectory && BlockDirectory.IsTemporary(entry.Name))) run.Warning(path, "is no block", "it is not read, and nothing removes it: look where it comes from");
            else if (!IsOffline) continue;
            else if (!isBlock || manifest.DeletedBlocks.Contains(entry.Name) || BlockStore.IsUnnamed(run.Files, run.Paths, entry.Name, manifest, none)) run.Note(path, null, "the rest of a block", Rest);
            else blocks.CheckForeign(entry.Name);
        }
    }
}
