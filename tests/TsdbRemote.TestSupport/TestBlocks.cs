using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;

namespace TsdbRemote.TestSupport;

/// <summary>Blocks as somebody else puts them into a directory, and what the verifier says of those that are there.</summary>
public static class TestBlocks
{
    /// <summary>Where an engine with <see cref="EngineHarness.SmallOptions"/> keeps its blocks.</summary>
    public const string Directory = "/disk/data/blocks";

    /// <summary>A name: the same number gives the same one, a higher number a later one.</summary>
    public static Ulid Name(int number) => Ulid.Create(1_600_000_000_000 + number, new Random(number));

    /// <summary>Writes a block, durably. Series in any order, samples of each ascending.</summary>
    public static Ulid Put(
        IFileSystem files, string blocksDirectory, Ulid ulid, IEnumerable<(byte[] Labels, Sample[] Samples)> series, BlockMark? mark = null)
    {
        using BlockWriter writer = Finish(files, blocksDirectory, ulid, series);
        writer.Commit(writer.NewMeta() with { Mark = mark });
        return ulid;
    }

    /// <summary>Writes all of a block but <c>meta.json</c> and its name; the caller's. Series in any order, samples of each ascending.</summary>
    public static BlockWriter Finish(IFileSystem files, string blocksDirectory, Ulid ulid, IEnumerable<(byte[] Labels, Sample[] Samples)> series)
    {
        var writer = new BlockWriter(files, blocksDirectory, ulid);
        using var arena = new NativeArena();
        (byte[] Labels, Sample[] Samples)[] sorted = [.. series.OrderBy(static one => one.Labels, Comparer<byte[]>.Create(static (left, right) => Labels.Compare(left, right)))];
        foreach ((byte[] labels, _) in sorted) writer.Declare(labels);
        foreach ((byte[] labels, Sample[] samples) in sorted)
        {
            List<SeriesChunk> chunks = [];
            ChunkMerge.Encode(samples, windowMs: 0, rank: 0, arena, chunks);
            writer.Add(labels, [.. chunks]);
        }

        writer.FinishData();
        return writer;
    }

    /// <summary>Copies a directory with all below it, durably.</summary>
    public static void Copy(IFileSystem source, string from, IFileSystem target, string to)
    {
        target.MakeDir(to);
        foreach (DirectoryEntry entry in source.List(from))
        {
            if (entry.IsDirectory) Copy(source, $"{from}/{entry.Name}", target, $"{to}/{entry.Name}");
            else target.WriteNew($"{to}/{entry.Name}", source.ReadAll($"{from}/{entry.Name}"), sync: true);
        }

        target.SyncDir(to);
        target.SyncDir(to[..to.LastIndexOf('/')]);
    }

    /// <summary>What is wrong with a directory of blocks at rest: whatever the verifier finds, and whatever is no block.</summary>
    public static IReadOnlyList<string> Problems(IFileSystem files, string blocksDirectory = Directory)
    {
        List<string> problems = [];
        foreach (DirectoryEntry entry in files.List(blocksDirectory))
        {
            if (!entry.IsDirectory || !BlockDirectory.IsBlock(entry.Name, out _))
            {
                problems.Add($"{entry.Name} is left in {blocksDirectory}");
                continue;
            }

            BlockReport report = BlockVerifier.Verify(
                files, $"{blocksDirectory}/{entry.Name}", new BlockVerifyOptions { CheckTimeUnits = false }, CancellationToken.None);
            problems.AddRange(report.Findings.Where(static finding => finding.IsError).Select(finding => $"{entry.Name}: {finding}"));
        }

        return problems;
    }

    /// <summary>What is read between a new block's <c>meta.json</c> and the manifest that names it, when all other commits wait.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="files">It, as the engine sees it.</param>
    /// <param name="work">Makes a block, whose data has to be opened before.</param>
    /// <returns>Files opened and pieces read; -1 if there was no such commit, or nothing was read before it.</returns>
    public static long ReadsInCommit(CrashFileSystem disk, FaultInjector files, Action work)
    {
        var reads = new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.OpenRead, FileOperationKind.Read) { OnCall = int.MaxValue };
        files.Add(reads);
        long before = -1;
        long inTurn = -1;
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind != FileOperationKind.CreateNew) return;
            if (operation.Path.EndsWith("meta.json.tmp", StringComparison.Ordinal)) before = reads.Calls;
            if (operation.Path.EndsWith("data/MANIFEST.tmp", StringComparison.Ordinal) && before >= 0 && inTurn < 0) inTurn = reads.Calls - before;
        };
        work();
        disk.BeforeOperation = null;
        files.Remove(reads);
        return before > 0 ? inTurn : -1;
    }
}
