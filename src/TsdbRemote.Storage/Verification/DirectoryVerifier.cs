using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks a data directory from the manifest to the last chunk: every checksum, every rule, every reference, counts against what was counted.</summary>
/// <remarks>
/// Changes nothing and takes no memory for a length that a file does not bear out. Damage is a finding, never an exception, and keeps nothing else from being checked;
/// only cancellation, and a directory that cannot be listed, end it. Every file is read once, tables twice.
/// Memory: 8 bytes a series of the dictionary (up to 24 while it is read), what <c>BlockVerifier</c> takes for one block, what a table's reader takes for one table.
/// Stateless; thread-safe.
/// </remarks>
public static class DirectoryVerifier
{
    /// <summary>Verifies a directory in which no server works, and keeps one from starting meanwhile.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="directory">The data directory.</param>
    /// <param name="progress">Told after each read; null if nobody wants to know.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="CannotVerifyException">It is no data directory, or somebody works in it.</exception>
    /// <exception cref="OperationCanceledException">Given up.</exception>
    public static VerifyReport Verify(IFileSystem files, string directory, Action<VerifyProgress>? progress, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(files);
        var paths = new DataLayout(directory);
        try
        {
            IReadOnlyList<DirectoryEntry> root = files.List(directory);
            if (StrayCheck.IsElsewhere(root, paths))
                throw new CannotVerifyException($"{directory} is no data directory: {(root.Count == 0 ? "it is empty; is its volume mounted?" : "nothing in it is of this program")}");
            using IDisposable? hold = files.LockUnchanged(paths.Lock);
            VerifyReport report = Verify(new VerifyRun(files, paths, live: null, progress, cancel));
            if (hold is null && files.FileSize(paths.Lock) is not null) throw new CannotVerifyException($"a server was started in {directory} meanwhile: nothing that was found holds");
            return report;
        }
        catch (DirectoryLockedException held)
        {
            throw new CannotVerifyException($"{held.Message}. Stop it, or ask it to check itself: POST /api/v1/admin/verify", held);
        }
        catch (DiskException refused)
        {
            throw new CannotVerifyException(refused.Message, refused);
        }
    }

    /// <summary>Verifies a directory, beside the store at work in it if there is one.</summary>
    /// <exception cref="DiskException">A directory cannot be listed.</exception>
    /// <exception cref="OperationCanceledException">Given up.</exception>
    internal static VerifyReport Verify(VerifyRun run)
    {
        ManifestState? onDisk = new ManifestCheck(run).Check();
        ManifestState? state = run.Live is { } live ? live.Manifest : onDisk;
        if (state is not null) CheckNamed(run, state);
        else CheckUnnamed(run);
        return new VerifyReport
        {
            Directory = run.Paths.Root,
            IsOnline = run.Live is not null,
            Generation = state?.Generation,
            Findings = run.Findings,
            Errors = run.Count(VerifySeverity.Error),
            Warnings = run.Count(VerifySeverity.Warning),
            Notes = run.Count(VerifySeverity.Note),
            Counts = run.Counts,
            Quarantine = [.. run.Files.List(run.Paths.Quarantine).Select(entry => Kept(run, entry))],
            Snapshots = [.. run.Files.List(run.Paths.Snapshots).Where(static entry => entry.IsDirectory).Select(static entry => entry.Name)],
            NotChecked = run.NotChecked,
        };
    }

    private static void CheckNamed(VerifyRun run, ManifestState state)
    {
        // In this order: a server at work may replace the dictionary, and tables of a state are understood by the dictionary of that state only.
        var dictionary = new DictionaryCheck(run, state);
        var tables = new TableCheck(run, state, dictionary);
        var sideFiles = new SideFileCheck(run, state);
        var blocks = new BlockCheck(run, state);
        using var log = new LogCheck(run, state);
        run.Expect(dictionary.ExpectedBytes, tables.ExpectedBytes, blocks.ExpectedBytes, log.ExpectedBytes, sideFiles.ExpectedBytes);
        dictionary.Check();
        if (!dictionary.IsComplete) run.Skip("whether all series of tables are in the dictionary: it could not be read to its end");
        log.Check();
        sideFiles.Check();
        tables.Check();
        blocks.Check();
        new StrayCheck(run, state).Check(blocks, log.Numbers);
    }

    /// <summary>Without a manifest tables and blocks can still be checked by themselves: what is whole of them can be saved.</summary>
    private static void CheckUnnamed(VerifyRun run)
    {
        var blocks = new BlockCheck(run, Nothing);
        var strays = new StrayCheck(run, manifest: null);
        strays.Check(blocks, []);
        if (run.Count(VerifySeverity.Error) == 0)
        {
            strays.CheckRemains(); // and else there was no start yet
            return;
        }

        run.Skip("the dictionary, the log, and what belongs together: there is no manifest to say so");
        foreach (string directory in WindowDirectories.All(run.Files, run.Paths).Select(window => run.Paths.TableDirectory(level: 1, window)).Prepend(run.Paths.Tables))
        {
            foreach (DirectoryEntry entry in run.Files.List(directory).Where(static entry => !entry.IsDirectory))
            {
                if (DataLayout.NumberOf(entry.Name, DataLayout.TableSuffix) is { } number) CheckTable(run, DataLayout.Join(directory, entry.Name), number, entry.Length);
            }
        }

        foreach (DirectoryEntry entry in run.Files.List(run.Paths.Blocks).Where(static entry => entry.IsDirectory && Blocks.BlockDirectory.IsBlock(entry.Name, out _)))
            blocks.CheckForeign(entry.Name);
    }

    private static ManifestState Nothing { get; } = new()
    {
        Generation = 1,
        DirectoryId = Guid.Empty,
        BlockDurationMs = 1,
        NextSeriesId = 1,
        NextTableId = 1,
        NextSegment = 1,
        ConversionCounter = 0,
    };

    private static void CheckTable(VerifyRun run, string path, long number, long length) => run.Check(path, length, "the table cannot be read", () =>
    {
        try
        {
            SSTableVerifier.Verify(run.Files, path, number, length, expectedCrc: null, run.Cancel);
            run.Counts.Tables++;
        }
        catch (CorruptFileException corrupt)
        {
            run.Error(corrupt, "the table is damaged");
        }
    });

    private static KeptFile Kept(VerifyRun run, DirectoryEntry entry) => new(
        entry.Name, entry.IsDirectory ? BlockCheck.BytesOf(run.Files, DataLayout.Join(run.Paths.Quarantine, entry.Name)) : entry.Length);
}
