using System.Globalization;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks blocks by the rules of <c>docs/formats/block-verifier.md</c>, and those that the manifest names against what it says of them.</summary>
internal sealed class BlockCheck(VerifyRun run, ManifestState manifest)
{
    // Rules of the block verifier: a name that a writer leaves behind, and one in chunks/ that readers pass over.
    private const int LeftoverRule = 12;
    private const int SegmentRule = 13;

    private const string NotRead = "it is not read, and goes with the block: look where it comes from";

    private static readonly string[] OfBlocks = [BlockMeta.FileName, "index", "tombstones", SegmentFormat.DirectoryName];

    // What Thanos and Mimir note of a block, in the block.
    private static readonly string[] MarksOfOthers = ["deletion-mark.json", "no-compact-mark.json", "no-downsample-mark.json"];

    private readonly Dictionary<string, long> _bytes = manifest.Blocks.ToDictionary(static block => block.Ulid, block => VisibleBytes(run.Files, run.Paths.Block(block.Ulid)));

    /// <summary>Bytes that <see cref="Check"/> will read, about.</summary>
    public long ExpectedBytes => VerifyRun.Total(_bytes.Values);

    /// <summary>Bytes of a directory with all below it.</summary>
    public static long BytesOf(IFileSystem files, string directory) => files.List(directory)
        .Sum(entry => entry.IsDirectory ? BytesOf(files, DataLayout.Join(directory, entry.Name)) : entry.Length);

    /// <summary>Checks the blocks that the manifest names.</summary>
    public void Check()
    {
        foreach (BlockEntry entry in run.InTurn(manifest.Blocks))
        {
            string path = run.Paths.Block(entry.Ulid);
            run.Check(path, _bytes[entry.Ulid], OutOfService(entry), () => CheckNamed(entry, path), () => IsNamed(entry.Ulid));
        }
    }

    /// <summary>Checks a block that somebody put into the directory, and that the next start will adopt or put aside.</summary>
    public void CheckForeign(string ulid)
    {
        string path = run.Paths.Block(ulid);
        run.Check(path, 0, "it cannot be adopted", () =>
        {
            string? refusal = Open(path, out _, out bool isNewer);
            if (isNewer)
            {
                run.Warning(path, refusal!, "it is not served, and stays where it is");
                return;
            }

            BlockReport report = BlockVerifier.Verify(run.Files, path, BlockStore.Rules, run.Cancel);
            if (report.IsAcceptable) run.Note(path, null, "is no block of this store", "a server at work here adopts it within half a minute, and then its samples are served");
            else run.Warning(path, report.ToString(), "it is not served, and a server at work here moves it to quarantine/");
        });
    }

    private static long VisibleBytes(IFileSystem files, string directory)
    {
        try
        {
            return BytesOf(files, directory);
        }
        catch (DiskException)
        {
            return 0; // it is told when the block is read
        }
    }

    private bool IsNamed(string ulid) => run.Live is not { } live || live.Manifest.Blocks.Any(block => block.Ulid == ulid);

    private void CheckNamed(BlockEntry entry, string path)
    {
        using IDisposable? hold = run.Live?.HoldBlock(entry.Ulid);
        if (HasGone(entry, path)) return;
        IReadOnlyList<DirectoryEntry> there = run.Files.List(path);
        if (there.Count == 0)
        {
            if (HasGone(entry, path)) return;
            run.Error(path, null, "is missing, but MANIFEST names it", $"{OutOfService(entry)}; put the directory back, and it is served again");
            return;
        }

        BlockReport report = BlockVerifier.Verify(run.Files, path, BlockStore.Rules, run.Cancel);
        string? refusal = Open(path, out BlockMeta? meta, out bool isNewer);

        // One that is out of service nobody can hold: it may have been deleted under the check.
        if (hold is null && HasGone(entry, path)) return;
        run.Counts.Blocks++;
        run.Counts.BlockSeries += report.Counts.Series;
        run.Counts.BlockSamples += report.Counts.Samples;
        if (isNewer) run.Error(path, null, refusal!, VerifyRun.NewerMeaning);
        string meaning = isNewer ? VerifyRun.NewerMeaning : refusal is not null
            ? OutOfService(entry)
            : "the block is served: reads that need the damaged part fail, all others are answered; it is neither compacted nor worth shipping";
        foreach (BlockFinding finding in report.Findings)
        {
            string file = finding.File.Length == 0 ? path : DataLayout.Join(path, finding.File);
            if (finding.IsError) run.Error(file, finding.Offset, $"rule {finding.Rule}: {finding.What}", meaning);
            else if (finding.Rule == SegmentRule && !IsLeftover(report, finding.File)) run.Warning(file, $"rule {finding.Rule}: {finding.What}", NotRead);
            else run.Note(file, finding.Offset, $"rule {finding.Rule}: {finding.What}", "readers get along with it");
        }

        long more = report.Errors + report.Warnings - report.Findings.Count;
        if (more > 0) run.Skip($"{run.Relative(path)}: {more} more findings of the same rules are not listed");
        if (refusal is not null && report.IsAcceptable && !isNewer) run.Error(path, null, refusal, OutOfService(entry));
        if (meta is not null) Compare(entry, meta, DataLayout.Join(path, BlockMeta.FileName));
        foreach (DirectoryEntry one in there.Where(one => !OfBlocks.Contains(one.Name) && !IsLeftover(report, one.Name)))
        {
            string file = DataLayout.Join(path, one.Name);
            if (!one.IsDirectory && MarksOfOthers.Contains(one.Name)) run.Note(file, null, "is a mark of Thanos or Mimir", "it is not read, and goes with the block");
            else run.Warning(file, $"a {(one.IsDirectory ? "directory" : "file")} that nobody here knows", NotRead);
        }
    }

    private static bool IsLeftover(BlockReport report, string name) => report.Findings.Any(finding => finding.Rule == LeftoverRule && finding.File == name);

    private bool HasGone(BlockEntry entry, string path)
    {
        if (IsNamed(entry.Ulid)) return false;
        run.Skip($"{run.Relative(path)}: compacted or deleted by the server meanwhile");
        return true;
    }

    private void Compare(BlockEntry entry, BlockMeta meta, string path)
    {
        if ((entry.MinTimeMs is { } min && min != meta.MinTimeMs) || (entry.MaxTimeMs is { } max && max != meta.EndTimeMs - 1))
        {
            run.Error(
                path, null, string.Create(CultureInfo.InvariantCulture, $"says {meta.MinTimeMs} to {meta.EndTimeMs - 1} ms, MANIFEST says {entry.MinTimeMs} to {entry.MaxTimeMs}"),
                "it is not the block that was committed: retention and deletes go by the manifest's times");
        }

        if (entry.Adopted) return;
        if (meta.Mark is not { } mark)
            run.Error(path, null, "has no mark of this store, though MANIFEST says it was made here", "somebody put it there: its place in the order of versions is not its own");
        else if (mark.Directory != manifest.DirectoryId || mark.Rank != entry.Rank)
        {
            run.Error(
                path, null, string.Create(CultureInfo.InvariantCulture, $"is marked as rank {mark.Rank} of directory {mark.Directory}, MANIFEST says rank {entry.Rank} of {manifest.DirectoryId}"),
                "somebody put it there: its place in the order of versions is not its own");
        }
        else if (mark.Generation >= manifest.Generation)
        {
            run.Error(
                path, null, string.Create(CultureInfo.InvariantCulture, $"is marked as made in generation {mark.Generation}, MANIFEST, which names it, is of generation {manifest.Generation}"),
                "the file is not what was written: were MANIFEST to be restored, the block could be taken for the rest of a step and removed");
        }
    }

    /// <summary>Opens a block as the server does.</summary>
    /// <returns>Why it cannot be served, or null.</returns>
    private string? Open(string path, out BlockMeta? meta, out bool isNewer)
    {
        meta = null;
        isNewer = false;
        try
        {
            using BlockReader reader = BlockReader.Open(run.Files, path, mmap: false, postings: null);
            meta = reader.Meta;
            return null;
        }
        catch (CorruptFileException corrupt)
        {
            isNewer = corrupt is NewerFormatException;
            return corrupt.Message;
        }
    }

    private static string OutOfService(BlockEntry entry) => entry.MinTimeMs is null
        ? "the block is out of service until it can be opened: its samples are not served, everything else is"
        : string.Create(CultureInfo.InvariantCulture, $"the block is out of service until it can be opened: its samples, {entry.MinTimeMs} to {entry.MaxTimeMs} ms, are not served, everything else is");
}
