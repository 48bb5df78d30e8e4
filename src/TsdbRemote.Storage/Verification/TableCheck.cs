using System.Globalization;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Protos.Tables;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks the tables that the manifest names: every chunk decoded, then every byte, then what the manifest and the dictionary say of them.</summary>
/// <remarks>Damaged chunks are named one by one, as each costs only itself; whatever else is damaged is named by the first place.</remarks>
internal sealed class TableCheck(VerifyRun run, ManifestState manifest, DictionaryCheck dictionary)
{
    // A table is walked for its chunks, and then read from its first byte to its last.
    private const int Passes = 2;

    private const string NotServed = "nothing is lost: that window went into a block";

    private readonly ChunkVerifier _chunks = new();

    /// <summary>Bytes that <see cref="Check"/> will read.</summary>
    public long ExpectedBytes => VerifyRun.Total(manifest.Tables.Select(ExpectedOf));

    /// <summary>Checks all of them.</summary>
    public void Check()
    {
        foreach (TableEntry entry in run.InTurn(manifest.Tables))
        {
            string path = run.Paths.Table(entry);
            run.Check(path, ExpectedOf(entry), OutOfService(entry), () => CheckNamed(entry, path), () => IsNamed(entry.Id));
        }
    }

    private static long ExpectedOf(TableEntry table) => VerifyRun.Total(Enumerable.Repeat(table.Size, Passes));

    private bool IsNamed(long id) => run.Live is not { } live || live.Manifest.Tables.Any(table => table.Id == id);

    private void CheckNamed(TableEntry entry, string path)
    {
        using IDisposable? hold = run.Live?.HoldTable(entry.Id);
        if (HasGone(entry, path)) return;
        if (run.Files.FileSize(path) is null)
        {
            if (HasGone(entry, path)) return; // one that is out of service nobody can hold
            run.Error(
                path, null, "is missing, but MANIFEST names it",
                $"a start is refused: {Contents(entry)} are gone; put the file back, or restore the whole directory from a backup");
            return;
        }

        run.Counts.Tables++;
        try
        {
            using SSTableReader table = SSTableReader.Open(run.Files, path, entry.Id, entry.Size, mmap: false, cacheMetadata: true, entry.Crc);
            Compare(entry, table.Properties, path);
            if (WalkAll(entry, table)) Verify(table);
        }
        catch (CorruptFileException corrupt)
        {
            run.Error(corrupt, OutOfService(entry));
        }
    }

    private bool HasGone(TableEntry entry, string path)
    {
        if (IsNamed(entry.Id)) return false;
        run.Skip($"{run.Relative(path)}: merged or converted by the server meanwhile");
        return true;
    }

    private void Verify(SSTableReader table)
    {
        try
        {
            table.Verify(run.Cancel);
        }
        catch (CorruptFileException corrupt)
        {
            if (table.BloomDamage is null) run.Error(corrupt, "its chunks verify and are served; the table is not what was written: let it be merged, or restore it");
            else run.Warning(corrupt, "nothing is lost: the table is served without the filter, more slowly, until a merge writes another");
        }
    }

    /// <summary>Walks every window.</summary>
    /// <returns>False if something was damaged, so that the rest need not be told it again.</returns>
    private bool WalkAll(TableEntry entry, SSTableReader table)
    {
        bool isWhole = true;
        foreach (SSTableWindow window in table.Properties.Windows)
        {
            bool isServed = entry.Windows.Contains(window.StartMs);
            try
            {
                isWhole &= Walk(table, window, isServed);
            }
            catch (CorruptFileException corrupt)
            {
                isWhole = false;
                Tell(corrupt, isServed
                    ? string.Create(CultureInfo.InvariantCulture, $"reads of its series in window {window.StartMs} fail, and the window is not merged or converted; the others are served")
                    : null);
            }
        }

        return isWhole;
    }

    private bool Walk(SSTableReader table, SSTableWindow window, bool isServed)
    {
        bool isWhole = true;
        long samples = 0;
        long unknown = 0;
        ulong firstUnknown = 0;
        string? Lost(string of) => isServed ? $"{of}, of window {window.StartMs}, is lost; reads that need it fail or leave it out, everything else is served" : null;
        using WindowCursor cursor = table.Walk(window.StartMs, rank: 0, damage =>
        {
            isWhole = false;
            Tell(damage, Lost("this chunk"));
        });
        TimeRange range = new(window.StartMs, TimeWindow.EndOf(window.StartMs, manifest.BlockDurationMs));
        while (cursor.MoveNext())
        {
            ulong id = cursor.SeriesId;
            if (isServed && dictionary.IsComplete && dictionary.Ids.BinarySearch(id) < 0 && unknown++ == 0) firstUnknown = id;
            foreach (SeriesChunk chunk in cursor.Chunks)
            {
                string? problem = ProblemOf(chunk, id, range, out int count);
                samples += count;
                if (problem is null) continue;
                isWhole = false;
                if (Lost($"a chunk of series {id}, {chunk.MinTimeMs} to {chunk.MaxTimeMs} ms") is { } lost) run.Error(table.Path, null, problem, lost);
                else run.Warning(table.Path, problem, NotServed);
            }
        }

        run.Counts.TableChunks += window.Chunks;
        run.Counts.TableSamples += samples;
        if (unknown > 0)
        {
            run.Error(
                table.Path, null, $"{unknown} series of window {window.StartMs} have no labels in the dictionary, series {firstUnknown} first",
                "what the table holds of them is not served; all others are");
        }

        if (isWhole && samples != window.Samples)
            run.Error(table.Path, null, $"window {window.StartMs} holds {samples} samples, the properties count {window.Samples}", "all that is there is served");
        return isWhole;
    }

    /// <summary>Tells damage.</summary>
    /// <param name="damage">What it is.</param>
    /// <param name="lost">What it costs; null if it is of a window that is not served from here.</param>
    private void Tell(CorruptFileException damage, string? lost)
    {
        if (lost is not null) run.Error(damage, lost);
        else run.Warning(damage, NotServed);
    }

    private string? ProblemOf(in SeriesChunk chunk, ulong id, TimeRange window, out int samples)
    {
        string? problem = _chunks.Check(chunk.Encoding, chunk.Data.Span, () => $"series {id}", out ChunkFacts facts);
        samples = problem is null ? facts.Samples : 0;
        if (problem is not null) return problem;
        if (facts.FirstMs != chunk.MinTimeMs || facts.LastMs != chunk.MaxTimeMs)
            return $"the index gives a chunk of series {id} the times {chunk.MinTimeMs} to {chunk.MaxTimeMs}, it holds {facts.FirstMs} to {facts.LastMs}";
        return window.Contains(new TimeRange(facts.FirstMs, facts.LastMs)) ? null : $"a chunk of series {id} reaches from {facts.FirstMs} to {facts.LastMs}, beyond its window";
    }

    private void Compare(TableEntry entry, SSTableProperties properties, string path)
    {
        TableEntry found = TableEntry.Of(new SSTableInfo(entry.Size, entry.Crc, properties));
        (string Name, object Here, object There)[] facts =
        [
            ("level", entry.Level, found.Level), ("min_series_id", entry.MinSeriesId, found.MinSeriesId), ("max_series_id", entry.MaxSeriesId, found.MaxSeriesId),
            ("first_sequence", entry.FirstSequence, found.FirstSequence), ("last_sequence", entry.LastSequence, found.LastSequence),
            ("series", entry.Series, found.Series), ("chunks", entry.Chunks, found.Chunks), ("samples", entry.Samples, found.Samples),
            ("min_time_ms", entry.MinTimeMs, found.MinTimeMs), ("max_time_ms", entry.MaxTimeMs, found.MaxTimeMs),
        ];
        foreach ((string name, object here, object there) in facts.Where(static fact => !fact.Here.Equals(fact.There)))
        {
            run.Error(
                path, null, string.Create(CultureInfo.InvariantCulture, $"its properties say {name} {there}, MANIFEST says {here}"),
                "samples of it may be passed over, or an older value be answered for a newer one");
        }

        foreach (long window in entry.Windows.Where(window => !found.Windows.Contains(window)))
            run.Error(path, null, $"does not hold window {window}, which MANIFEST says it does", "samples of that window may be missing");
        if (!properties.DirectoryId.Span.SequenceEqual(manifest.DirectoryId.ToByteArray(bigEndian: true)))
            run.Error(path, null, "was written by another data directory", "its series ids mean other series here");
    }

    private static string Contents(TableEntry entry) => string.Create(
        CultureInfo.InvariantCulture, $"{entry.Samples} samples of {entry.Series} series, {entry.MinTimeMs} to {entry.MaxTimeMs} ms,");

    private static string OutOfService(TableEntry entry) => $"the table is out of service: {Contents(entry)} are not served, everything else is; the file stays where it is";
}
