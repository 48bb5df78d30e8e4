using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks <c>MANIFEST</c> and <c>MANIFEST.prev</c>, each by itself and one against the other, and what the state says against itself.</summary>
internal sealed class ManifestCheck(VerifyRun run)
{
    private const string Refused = "a start is refused, and nothing is served until the file, or the whole directory, is restored from a backup";

    private readonly string _current = DataLayout.Join(run.Paths.Root, Manifest.FileName);
    private readonly string _previous = DataLayout.Join(run.Paths.Root, Manifest.PreviousFileName);

    // Before a file is read: what is read then is of this generation or a later one.
    private readonly ManifestState? _atWork = run.Live?.Manifest;

    /// <summary>Reads both.</summary>
    /// <returns>The state that files are to be held against; null if there is none.</returns>
    public ManifestState? Check()
    {
        // In this order: a server at work may commit in between, and the one before is then still the older of what is read.
        Found previous = Read(_previous);
        Found current = Read(_current);
        ManifestState? state = Judge(current, previous);
        if (run.Live is { } live && current.State is { } onDisk) HoldAgainst(live, onDisk);
        if (state is null) return null;
        if (state != current.State) run.Skip($"{Manifest.FileName} cannot be read; files are held against {Manifest.PreviousFileName}, which may be older than they are");
        CheckTombstones(state);
        foreach (string loss in state.Losses ?? []) run.Note(_current, null, loss, "it is told for good, and not found again");
        CheckSequences(state);
        return state;
    }

    /// <summary>Beside a server at work the file says what that has committed last, or is about to publish.</summary>
    private void HoldAgainst(ILiveStore live, ManifestState onDisk)
    {
        const string Foreign =
            "somebody put it there: the next commit of the server replaces it; do not kill the server before, for a start would go by this file";
        ManifestState before = _atWork!;

        // A commit has its name on the disk before its state is published: where the file is ahead, one may be under way.
        ManifestState atWork = onDisk.Generation > before.Generation ? live.Settle() : before;
        if (onDisk.DirectoryId != atWork.DirectoryId)
            run.Error(_current, null, $"is of data directory {onDisk.DirectoryId}, the server at work has {atWork.DirectoryId}", Foreign);
        else if (onDisk.Generation < before.Generation)
            run.Error(_current, null, $"is of generation {onDisk.Generation}, the server at work has committed {before.Generation}", Foreign);
        else if (onDisk.Generation > atWork.Generation)
        {
            run.Error(
                _current, null, $"is of generation {onDisk.Generation}, the server at work has committed no more than {atWork.Generation}",
                $"{Foreign}. Or a commit failed half-way, and the server is read-only since");
        }
        else if (onDisk.Generation == atWork.Generation && !IsSame(onDisk, atWork))
            run.Error(_current, null, $"differs from what the server at work has committed as generation {onDisk.Generation}", Foreign);
    }

    /// <summary>Whether a file says what a state says, but for what a start that has nothing to commit adds: times of blocks, and blocks that it could not remove.</summary>
    private static bool IsSame(ManifestState onDisk, ManifestState atWork)
    {
        static byte[] Told(ManifestState state) => ManifestText.Write(
            state with { DeletedBlocks = [], Blocks = [.. state.Blocks.Select(static block => new BlockEntry(block.Ulid, block.Rank, AppliedTo: block.AppliedTo))] });
        return Told(onDisk).AsSpan().SequenceEqual(Told(atWork)) && !onDisk.DeletedBlocks.Except(atWork.DeletedBlocks).Any();
    }

    /// <summary>What is in neither file but follows from a state: no two runs of a window may hold the same part of the log.</summary>
    private void CheckSequences(ManifestState state)
    {
        ulong next = TombstoneEntry.SequenceOf(state.NextSegment);
        foreach (TableEntry table in state.Tables.Where(table => table.LastSequence >= next))
            run.Error(_current, null, $"table {table.Id} holds sequence {table.LastSequence}, of a log segment that never was", "newer writes of the same samples may be hidden by it");
        foreach (TombstoneEntry tombstone in state.Tombstones.Where(tombstone => tombstone.Sequence >= next))
            run.Error(_current, null, $"a tombstone has sequence {tombstone.Sequence}, of a log segment that never was", "it may delete samples that are still to come");
        foreach (IGrouping<long, TableEntry> window in state.Tables.SelectMany(static table => table.Windows, static (table, start) => (start, table)).GroupBy(static pair => pair.start, static pair => pair.table))
            CheckWindow(window.Key, [.. window.OrderBy(static table => table.FirstSequence).ThenBy(static table => table.MinSeriesId)]);
    }

    private void CheckWindow(long startMs, TableEntry[] tables)
    {
        for (int i = 1; i < tables.Length; i++)
        {
            (TableEntry earlier, TableEntry later) = (tables[i - 1], tables[i]);
            if (later.FirstSequence > earlier.LastSequence) continue;
            bool isOneRun = later.Level == earlier.Level && later.FirstSequence == earlier.FirstSequence && later.LastSequence == earlier.LastSequence
                && later.MinSeriesId > earlier.MaxSeriesId;
            if (isOneRun) continue;
            run.Error(
                _current, null, $"tables {earlier.Id} and {later.Id} both hold window {startMs} of the same part of the log",
                "of two values for one instant the older one may be answered");
        }
    }

    private void CheckTombstones(ManifestState state)
    {
        foreach (TombstoneEntry tombstone in state.Tombstones)
        {
            try
            {
                Deletion.Of(tombstone);
            }
            catch (ManifestException refused)
            {
                run.Error(_current, null, refused.Message, Refused);
            }
        }
    }

    private ManifestState? Judge(Found current, Found previous)
    {
        if (current.State is { } state)
        {
            JudgePrevious(state, previous);
            return state;
        }

        if (!current.IsThere)
        {
            if (run.Live is null && Manifest.FindData(run.Files, run.Paths.Root) is null) return null; // a first start
            run.Error(_current, null, "is missing, but what it names is there", Refused);
            return previous.State;
        }

        if (current.Refusal is { } refusal)
        {
            run.Error(_current, null, refusal, "a start is refused; start the program that wrote it, or restore a backup");
            return null;
        }

        string? problem = previous.Problem ?? ProblemOf(previous.State!);
        run.Error(_current, null, $"is damaged: {current.Damage}", problem is null
            ? $"{Manifest.PreviousFileName} stands in at the next start, and lacks nothing: no samples are lost"
            : $"{Manifest.PreviousFileName} cannot stand in ({problem}): {Refused}");
        return previous.State;
    }

    private string? ProblemOf(ManifestState standIn)
    {
        try
        {
            return ManifestCompleteness.ProblemOf(run.Files, run.Paths.Root, standIn);
        }
        catch (DiskException refused)
        {
            return refused.Message;
        }
    }

    private void JudgePrevious(ManifestState state, Found previous)
    {
        const string Spare = "nothing is lost: it is read only where MANIFEST is damaged, and the next commit replaces it";
        if (!previous.IsThere) return; // as in a snapshot, and before the second commit
        if (previous.State is not { } older)
        {
            run.Warning(_previous, previous.Problem!, Spare);
        }
        else if (older.DirectoryId != state.DirectoryId)
        {
            run.Warning(_previous, $"is of data directory {older.DirectoryId}, not of {state.DirectoryId}", Spare);
        }
        else if (older.Generation > state.Generation)
        {
            run.Error(
                _current, null, $"is of generation {state.Generation}, and {Manifest.PreviousFileName} of {older.Generation}: it was put back, or changed places with it",
                "samples that were written since may not be served, or be deleted as rests by the next start: do not start; put the newer one in its place");
        }
    }

    private Found Read(string path)
    {
        if (run.Files.FileSize(path) is not { } size) return new Found(false, null, null, null);
        Found found = new(true, null, "it cannot be read", null);
        run.Check(path, size, Refused, () => found = ReadThere(path));
        return found;
    }

    private Found ReadThere(string path)
    {
        try
        {
            string? damage = Manifest.Read(run.Files, path, out ManifestState? state);
            return new Found(true, state, damage, null);
        }
        catch (ManifestException refused)
        {
            return new Found(true, null, null, refused.Message);
        }
    }

    /// <summary>One of the files.</summary>
    /// <param name="IsThere">False if it is missing.</param>
    /// <param name="State">What it says; null if nothing can be made of it.</param>
    /// <param name="Damage">What is damaged, or null.</param>
    /// <param name="Refusal">Why it must not be used although its checksum holds, or null.</param>
    private sealed record Found(bool IsThere, ManifestState? State, string? Damage, string? Refusal)
    {
        /// <summary>Why it is of no use, or null.</summary>
        public string? Problem => IsThere ? Damage ?? Refusal : "it is missing";
    }
}
