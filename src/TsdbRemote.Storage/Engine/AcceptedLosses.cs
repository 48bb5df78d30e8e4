using System.Collections.Immutable;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Files that an operator gives up (<c>storage.accept_data_loss</c>): of the log and of tables, for without labels nothing could be served, and blocks keep no start from its work.</summary>
internal sealed class AcceptedLosses
{
    private const string Lost = " was lost and given up";

    private readonly HashSet<string> _files;

    private AcceptedLosses(HashSet<string> files) => _files = files;

    /// <summary>Reads the option.</summary>
    /// <param name="text">Names relative to the data directory, separated by commas; null for none.</param>
    public static AcceptedLosses Parse(string? text) =>
        new([.. (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)]);

    /// <summary>What can be done about a file that is gone.</summary>
    public static string Advice(DataLayout paths, string path) =>
        "Put the file back, or restore the whole directory from a backup; or do without it, and lose what it held for good: "
        + $"--storage:accept_data_loss={Relative(paths, path)}";

    /// <summary>True if a start told the loss of a file before.</summary>
    public static bool WasGivenUp(ManifestState manifest, DataLayout paths, string path) =>
        manifest.Losses is { } losses && losses.Any(loss => loss.Contains($"/{Relative(paths, path)}{Lost}", StringComparison.Ordinal));

    /// <summary>A state without the files that are gone and given up, in which their loss is told. One that is there is kept, whatever was said.</summary>
    /// <returns>The same state if there is none.</returns>
    public ManifestState Apply(IFileSystem files, DataLayout paths, ManifestState manifest)
    {
        if (_files.Count == 0) return manifest;
        bool IsLost(string path) => _files.Contains(Relative(paths, path)) && files.FileSize(path) is null;
        ImmutableArray<SegmentEntry> segments = [.. manifest.Segments.Where(segment => IsLost(paths.Segment(segment.Number)))];
        ImmutableArray<TableEntry> tables = [.. manifest.Tables.Where(table => IsLost(paths.Table(table)))];
        if (segments.IsEmpty && tables.IsEmpty) return manifest;
        IEnumerable<string> losses = segments
            .Select(segment => $"{paths.Segment(segment.Number)}{Lost}: what was acknowledged into it and not flushed is gone")
            .Concat(tables.Select(table => FormattableString.Invariant(
                $"{paths.Table(table)}{Lost}: {table.Samples} samples of {table.Series} series, {table.MinTimeMs} to {table.MaxTimeMs} ms, are gone")));
        return manifest with
        {
            Segments = manifest.Segments.RemoveRange(segments),
            Tables = manifest.Tables.RemoveRange(tables),
            Losses = [.. manifest.Losses ?? [], .. losses],
        };
    }

    private static string Relative(DataLayout paths, string path) => path[(paths.Root.Length + 1)..];
}
