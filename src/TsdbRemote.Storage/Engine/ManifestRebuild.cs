using System.Collections.Immutable;
using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>What a rebuild of a manifest came to, for people.</summary>
/// <param name="Manifest">The state that was committed.</param>
/// <param name="From">What it was made of.</param>
/// <param name="Aside">What is in <c>quarantine/</c> now, and why.</param>
/// <param name="Doubts">What may be lost, or may come back.</param>
public sealed record RebuiltManifest(ManifestState Manifest, IReadOnlyList<string> From, IReadOnlyList<string> Aside, IReadOnlyList<string> Doubts);

/// <summary>Makes a manifest of what is there: <c>MANIFEST.prev</c>, tables, dictionary, blocks and log each say what they are.</summary>
/// <remarks>
/// Law:    in doubt more is kept: a sample that is at two places is answered once, the newer one. Which tables, blocks and segments are named is said at <see cref="RebuildTables"/> and
///         <see cref="RebuildBlocks"/>, what becomes of labels at <see cref="RebuildDictionary"/>.
/// Deletes: only a manifest knows them. Those of <c>MANIFEST.prev</c> are kept, and apply to what that does not name as far as it is older.
/// Order:  everything is read before anything is changed. Then what is not named gets a second name in <c>quarantine/</c>; then the commit, twice, so that <c>MANIFEST.prev</c> can stand in from then
///         on; then the first names go. Cut off anywhere, it is done again and comes to the same.
/// Numbers: all that are given from here on are above those of everything that is there, the generation above those that blocks name, lest one be taken for the rest of a crash.
/// </remarks>
public sealed class ManifestRebuild
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly List<string> _from = [];
    private readonly List<string> _aside = [];
    private readonly List<string> _doubts = [];

    private ManifestRebuild(IFileSystem files, DataLayout paths)
    {
        _files = files;
        _paths = paths;
    }

    /// <summary>Rebuilds the manifest of a directory in which no server works, and keeps one from starting meanwhile.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="directory">The data directory.</param>
    /// <param name="windowMs">Length of a window, ms; null where what is there has to say it.</param>
    /// <exception cref="CannotRebuildException">There is nothing to rebuild, or not enough to rebuild it of. Nothing was changed.</exception>
    /// <exception cref="DirectoryLockedException">A server works in it.</exception>
    /// <exception cref="DiskException">The disk refused. The old state stands, and nothing is lost: it may be tried again.</exception>
    /// <exception cref="ManifestUncertainException">Whether the manifest is rebuilt shows when it is tried again.</exception>
    public static RebuiltManifest Run(IFileSystem files, string directory, long? windowMs = null)
    {
        ArgumentNullException.ThrowIfNull(files);
        var paths = new DataLayout(directory);
        if (files.FileSize(DataLayout.Join(directory, Manifest.FileName)) is null && Manifest.FindData(files, directory) is null)
            throw new CannotRebuildException($"{directory} is no data directory: there is nothing to rebuild");
        using IDisposable held = files.Lock(paths.Lock, $"pid {Environment.ProcessId}, which rebuilds the manifest");
        return new ManifestRebuild(files, paths).Run(windowMs);
    }

    private RebuiltManifest Run(long? givenWindowMs)
    {
        var found = new RebuildFindings(_files, _paths);
        if (found.DirectoryId is not { } directoryId) throw new CannotRebuildException("neither tables nor blocks nor the log nor a manifest say whose data directory this is: there is nothing to rebuild");
        long windowMs = WindowOf(found, givenWindowMs);
        var blocks = new RebuildBlocks(found);
        var tables = new RebuildTables(found, blocks, windowMs);
        long[] flushed = [.. found.Segments.Where(tables.IsFlushed)];
        TellPrevious(found);
        TellMissing(found, blocks, tables);
        using var dictionary = new RebuildDictionary(_files, _paths, directoryId, found, tables.Entries, _doubts);
        ManifestState state = StateOf(found, directoryId, windowMs, blocks, tables, dictionary, flushed);
        if (state.Problem() is { } problem) throw new CannotRebuildException($"what is there contradicts itself: {problem}");

        // From here on the disk is changed.
        _paths.MakeDirectories(_files);
        _files.SyncDir(_paths.Root);
        if (dictionary.MustWrite) dictionary.Write();
        if (dictionary.Entry is { } labels) state = state with { Dictionaries = [labels] };
        var quarantine = new RebuildQuarantine(_files, _paths);
        PutAside(found, blocks, tables, dictionary, flushed, quarantine);
        _from.Insert(0, string.Create(CultureInfo.InvariantCulture, $"{state.Tables.Length} tables, {state.Blocks.Length} blocks and {state.Segments.Length} log segments are named"));
        if (_doubts.Count > 0)
            state = state with { Losses = [.. state.Losses ?? [], $"{DataLayout.Join(_paths.Root, Manifest.FileName)} was rebuilt of what was there: {string.Join("; ", _doubts)}"] };
        Commit(state, quarantine);
        return new RebuiltManifest(state, _from, _aside, _doubts);
    }

    private static long WindowOf(RebuildFindings found, long? givenMs)
    {
        long? told = found.Previous?.BlockDurationMs ?? found.WindowMsOfBlocks ?? givenMs ?? found.OldWindowMs;
        if (told is not { } windowMs) throw new CannotRebuildException("nothing that is there says how long a window is: give the storage.block_duration that it was written with, such as --block-duration=2h");
        return givenMs is null || givenMs == windowMs
            ? windowMs
            : throw new CannotRebuildException($"windows of {givenMs} ms are given, but what is there was written with {windowMs} ms");
    }

    private void TellPrevious(RebuildFindings found)
    {
        string name = Manifest.PreviousFileName;
        if (found.Previous is not { } previous)
        {
            _doubts.Add($"{name} {found.PreviousProblem}, and nothing else knows of deletes: what was deleted may be read again, where a file that holds it was not written anew since");
            return;
        }

        _from.Add($"{name} of generation {previous.Generation} was used: its deletes, and what it says is elsewhere, count");
        long latest = found.Blocks.Where(static block => block.IsOurs).Select(static block => block.Meta!.Mark!.Generation + 1).Append(found.OldGeneration ?? 0).Max();
        if (latest > previous.Generation + 1) _doubts.Add($"{name} is of generation {previous.Generation}, and there was one of {latest}: of deletes in between nothing is known, and what they deleted may be read again");
    }

    private void TellMissing(RebuildFindings found, RebuildBlocks blocks, RebuildTables tables)
    {
        foreach (TableEntry table in tables.Missing)
        {
            _doubts.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"{_paths.Table(table)}, which {Manifest.PreviousFileName} names, is gone, and nothing that was made of it is here: its {table.Samples} samples of {table.MinTimeMs} to {table.MaxTimeMs} ms were deleted, or are lost"));
        }

        foreach (BlockEntry block in blocks.Missing)
            _doubts.Add($"block {block.Ulid}, which {Manifest.PreviousFileName} names, is gone, and nothing that was made of it is here: it went by age or size, all of it was deleted, or it is lost");
        IEnumerable<long> known = found.Previous is { } previous ? previous.Segments.Select(static segment => segment.Number) : [];
        if (found.Segments.Count > 0)
        {
            long first = found.Previous?.NextSegment ?? found.Segments[0];
            for (long number = first; number < found.Segments[^1] && number - first < 10_000; number++) known = known.Append(number);
        }

        foreach (long segment in known.Distinct().Where(number => !found.Segments.Contains(number) && !tables.WasFlushed(number)).Order())
            _doubts.Add($"{_paths.Segment(segment)} is gone, and nothing that was made of it is here: it was empty or deleted, or what was acknowledged into it is lost");
        foreach (long window in tables.Doubtful)
            _doubts.Add(string.Create(CultureInfo.InvariantCulture, $"the window of {window} ms is in tables and in a block of an early build, which does not say what went into it: of two values of one instant there the older one may be answered"));
        foreach (string damage in found.Damages) _doubts.Add(damage);
    }

    private ManifestState StateOf(
        RebuildFindings found, Guid directoryId, long windowMs, RebuildBlocks blocks, RebuildTables tables, RebuildDictionary dictionary, long[] flushed)
    {
        ManifestState? previous = found.Previous;
        IEnumerable<FoundTable> whole = found.Tables.Where(static table => table.Info is not null);
        IEnumerable<FoundBlock> own = found.Blocks.Where(static block => block.IsOurs);
        ImmutableArray<TombstoneEntry> tombstones = previous?.Tombstones ?? [];
        IEnumerable<long> quarantined = found.Numbers(_paths.Quarantine, DataLayout.TableSuffix, "table-");
        return new ManifestState
        {
            Generation = 2 + own.Select(static block => block.Meta!.Mark!.Generation).Append(previous?.Generation ?? 0).Append(found.OldGeneration ?? 0).Max(),
            DirectoryId = directoryId,
            BlockDurationMs = windowMs,
            NextSeriesId = 1 + Math.Max(Math.Max(previous?.NextSeriesId ?? 0, dictionary.LastId), whole.Select(static table => table.Info!.Properties.MaxSeriesId).DefaultIfEmpty().Max()),
            NextTableId = 1 + whole.SelectMany(static table => table.Info!.Properties.Parents).Concat(found.Tables.Select(static table => table.Id)).Concat(quarantined)
                .Append(previous?.NextTableId ?? 0).Max(),
            NextSegment = 1 + whole.Select(static table => table.To).Concat(found.Segments).Concat(tombstones.Select(static tombstone => WalFormat.SegmentOf(tombstone.Sequence)))
                .Concat(own.SelectMany(static block => block.Windows).Select(static held => held.ToSegment)).Concat(own.Select(static block => block.Meta!.Mark!.DeletesTo))
                .Append((previous?.NextSegment ?? 1) - 1).Max(),
            ConversionCounter = own.Select(static block => block.Meta!.Mark!.Rank).Concat(blocks.Entries.Select(static block => block.Rank)).Append(previous?.ConversionCounter ?? 0).Max(),
            Tables = tables.Entries,

            // Whoever left it is gone: it may lack a seal although later ones hold records.
            Segments = [.. found.Segments.Except(flushed).Select(number => new SegmentEntry(
                number, previous?.Segments.FirstOrDefault(known => known.Number == number)?.AcceptedEnd, Inherited: true))],
            Tombstones = tombstones,
            Blocks = blocks.Entries,
            DeletedBlocks = [.. previous?.DeletedBlocks ?? []],
            Losses = previous?.Losses,
        };
    }

    private void PutAside(
        RebuildFindings found, RebuildBlocks blocks, RebuildTables tables, RebuildDictionary dictionary, IEnumerable<long> flushed, RebuildQuarantine quarantine)
    {
        foreach (FoundTable table in found.Tables.Where(static table => table.Info is null)) Keep(table.Path, $"table-{table.Id}{DataLayout.TableSuffix}", "it cannot be opened");
        foreach (FoundTable table in tables.Aside) Keep(table.Path, $"table-{table.Id}{DataLayout.TableSuffix}", "everything of it is elsewhere");
        foreach (long segment in flushed) Keep(_paths.Segment(segment), $"wal-{WalFormat.FileName(segment)}", "everything of it is in tables or blocks");
        foreach (long file in dictionary.Replaced)
        {
            string path = _paths.Dictionary(file);
            Keep(path, $"series-{file}{DataLayout.DictionarySuffix}", dictionary.Entry is { } named ? $"all that can be read of it is in {_paths.Dictionary(named.Number)}" : "nothing of it can be read");
        }

        foreach (string name in (string[])[Manifest.FileName, Manifest.PreviousFileName])
        {
            string path = DataLayout.Join(_paths.Root, name);
            if (_files.FileSize(path) is not null) _aside.Add($"{path} is kept as {quarantine.Keep(path, name, keepsFirst: true)}");
        }

        quarantine.Sync();
        var store = new BlockStore(_files, _paths, mmap: false, cacheBytes: 0, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        foreach ((FoundBlock block, string why) in blocks.Aside) _aside.Add($"{_paths.Block(block.Ulid)}: {why}; kept as {store.Quarantine(block.Ulid)}");

        void Keep(string path, string name, string why) => _aside.Add($"{path}: {why}; kept as {quarantine.Keep(path, name)}");
    }

    private void Commit(ManifestState state, RebuildQuarantine quarantine)
    {
        Manifest.Commit(_files, _paths.Root, state);
        try
        {
            Manifest.Commit(_files, _paths.Root, state with { Generation = state.Generation + 1 });
            _aside.AddRange(quarantine.Release());
        }
        catch (IOException failure)
        {
            // The manifest stands, or the same one of the next generation; what has two names goes by the first with the next start.
            _aside.Add($"{failure.Message}; the manifest is rebuilt, and the next start removes what is no longer needed");
        }
    }
}
