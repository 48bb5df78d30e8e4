using System.Collections.Immutable;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Protos.Tables;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Levels;

/// <summary>Whether an older manifest can stand in for a damaged one without losing what was acknowledged since.</summary>
/// <remarks>
/// The commits that it does not know took names away and gave names. What they took away was deleted only after them, so it is enough that
/// everything named is still there, whole. What they gave is safe to lose only if it was made of what is named: a table that it does not
/// know must come from segments that are there or from tables that it names, and log numbers must go on without a gap, as a missing one was
/// flushed and deleted.
/// </remarks>
public static class ManifestCompleteness
{
    /// <summary>A sequence is a segment's number, shifted by so many bits, and the index of a record in it.</summary>
    internal const int SegmentShift = 40;

    /// <summary>What keeps a state from being used, or null.</summary>
    internal static string? ProblemOf(IFileSystem fs, string dataDir, ManifestState state) =>
        MissingFiles(fs, dataDir, state).FirstOrDefault() ?? LogGap(fs, dataDir, state) ?? UncoveredTable(fs, dataDir, state);

    /// <summary>What a state names and the disk does not have: a sentence for each file that is missing or has the wrong length.</summary>
    public static IEnumerable<string> MissingFiles(IFileSystem fs, string dataDir, ManifestState state)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(state);
        foreach (TableEntry table in state.Tables)
        {
            string path = new DataLayout(dataDir).Table(table);
            if (fs.FileSize(path) is not { } size) yield return $"{path} is missing";
            else if (size != table.Size) yield return $"{path} has {size} bytes instead of {table.Size}";
        }

        foreach (DictionaryEntry dictionary in state.Dictionaries)
        {
            string path = new DataLayout(dataDir).Dictionary(dictionary.Number);
            if (fs.FileSize(path) is not { } size) yield return $"{path} is missing";
            else if (size < dictionary.Length) yield return $"{path} has {size} bytes, {dictionary.Length} are committed";
        }

        foreach (SegmentEntry segment in state.Segments)
        {
            string path = new DataLayout(dataDir).Segment(segment.Number);
            if (fs.FileSize(path) is not { } size) yield return $"{path} is missing";
            else if (size < segment.AcceptedEnd) yield return $"{path} has {size} bytes, {segment.AcceptedEnd} were accepted";
        }

        foreach (BlockEntry block in state.Blocks)
        {
            string path = new DataLayout(dataDir).Block(block.Ulid);
            if (fs.List(path).Count == 0) yield return $"{path} is missing";
        }
    }

    private static string? LogGap(IFileSystem fs, string dataDir, ManifestState state)
    {
        HashSet<long> present = Segments(fs, dataDir);
        long last = present.DefaultIfEmpty(-1).Max();
        for (long number = state.NextSegment; number <= last; number++)
        {
            if (!present.Contains(number)) return $"{new DataLayout(dataDir).Segment(number)} is missing, newer ones are there";
        }

        return null;
    }

    private static string? UncoveredTable(IFileSystem fs, string dataDir, ManifestState state)
    {
        HashSet<long> segments = Segments(fs, dataDir);
        HashSet<long> named = [.. state.Tables.Select(table => table.Id)];
        string tables = new DataLayout(dataDir).Tables;
        foreach (DirectoryEntry entry in fs.List(tables))
        {
            string path = DataLayout.Join(tables, entry.Name);
            IEnumerable<(string, DirectoryEntry)> files = entry.IsDirectory
                ? fs.List(path).Select(file => (DataLayout.Join(path, file.Name), file))
                : [(path, entry)];
            foreach ((string file, DirectoryEntry detail) in files)
            {
                if (DataLayout.NumberOf(detail.Name, DataLayout.TableSuffix) is not { } id || named.Contains(id)) continue;
                // Below the next number it was dropped by a commit that this state already knows.
                if (id < state.NextTableId) continue;
                if (!IsCovered(fs, file, id, detail.Length, segments, state.Tables)) return $"{file} holds what it does not name";
            }
        }

        return null;
    }

    /// <summary>True if everything in a table is also in log segments that are there, or in tables that are named: then nobody needs it.</summary>
    /// <remarks>
    /// It is if all its parents are named: a commit of it would have taken from each the window that it was merged of. Else if, for each of its windows, each
    /// log segment that it was made from is there, or a named table that still holds the window is complete for that segment.
    /// </remarks>
    internal static bool IsCovered(IFileSystem fs, string path, long id, long length, HashSet<long> segments, ImmutableArray<TableEntry> named)
    {
        try
        {
            using SSTableReader table = SSTableReader.Open(fs, path, id, length, mmap: false, cacheMetadata: false);
            SSTableProperties properties = table.Properties;
            if (properties.Parents.Count > 0 && properties.Parents.All(parent => named.Any(entry => entry.Id == parent))) return true;
            long first = (long)(properties.FirstSequence >> SegmentShift);
            long last = (long)(properties.LastSequence >> SegmentShift);
            for (long segment = first; segment <= last; segment++)
            {
                if (!segments.Contains(segment) && !properties.Windows.All(window => HoldsSegment(named, window.StartMs, segment))) return false;
            }

            return true;
        }
        catch (CorruptFileException)
        {
            // What cannot be read cannot be shown to be covered.
            return false;
        }
    }

    private static bool HoldsSegment(ImmutableArray<TableEntry> named, long windowStartMs, long segment) => named.Any(entry =>
        (long)(entry.FirstSequence >> SegmentShift) <= segment && segment <= (long)(entry.LastSequence >> SegmentShift) && entry.Windows.Contains(windowStartMs));

    private static HashSet<long> Segments(IFileSystem fs, string dataDir)
    {
        HashSet<long> numbers = [];
        foreach (DirectoryEntry entry in fs.List(new DataLayout(dataDir).Wal))
        {
            if (DataLayout.NumberOf(entry.Name, DataLayout.SegmentSuffix) is { } number) numbers.Add(number);
        }

        return numbers;
    }
}
