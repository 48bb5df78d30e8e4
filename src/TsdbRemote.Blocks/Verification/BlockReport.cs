using System.Globalization;

namespace TsdbRemote.Blocks.Verification;

/// <summary>What was found in one block, and what was counted on the way.</summary>
public sealed record BlockReport
{
    /// <summary>The block's directory.</summary>
    public required string Directory { get; init; }

    /// <summary>
    /// What was found, in the order of reading: the first of each rule and, up to 100, the others. <see cref="Errors"/> and
    /// <see cref="Warnings"/> count all.
    /// </summary>
    public required IReadOnlyList<BlockFinding> Findings { get; init; }

    /// <summary>How many errors were found, those that are not kept included.</summary>
    public required long Errors { get; init; }

    /// <summary>How many warnings were found, those that are not kept included.</summary>
    public required long Warnings { get; init; }

    /// <summary>
    /// Rules that were not, or not wholly, checked: no option gave what they need, or damage stood in the way. Ascending.
    /// </summary>
    public required IReadOnlyList<int> NotRun { get; init; }

    /// <summary>What was counted; short of the truth where damage stopped the count.</summary>
    public required BlockCounts Counts { get; init; }

    /// <summary>Checksum of the contents, if it was asked for and the block could be read wholly.</summary>
    public required ValueChecksum? Values { get; init; }

    /// <summary>True if no error was found.</summary>
    public bool IsAcceptable => Errors == 0;

    /// <summary>The report in one line: the verdict and the first finding that explains it.</summary>
    public override string ToString()
    {
        string first = Findings.FirstOrDefault(finding => finding.IsError == !IsAcceptable)?.ToString() ?? "nothing to report";
        return string.Create(CultureInfo.InvariantCulture, $"{Directory}: {Errors} errors, {Warnings} warnings; {first}");
    }
}

/// <summary>What a block holds by its own bytes, whatever its meta.json says.</summary>
/// <param name="Series">Series of the index.</param>
/// <param name="Chunks">Chunks that the index names.</param>
/// <param name="FloatSamples">Samples of XOR chunks.</param>
/// <param name="HistogramSamples">Samples of histogram chunks of both kinds.</param>
/// <param name="Tombstones">Deleted intervals.</param>
/// <param name="MinTimeMs">Time of the earliest sample, ms; <see cref="long.MaxValue"/> if there is none.</param>
/// <param name="MaxTimeMs">Time of the latest sample, ms; <see cref="long.MinValue"/> if there is none.</param>
public sealed record BlockCounts(
    long Series, long Chunks, long FloatSamples, long HistogramSamples, long Tombstones, long MinTimeMs, long MaxTimeMs)
{
    /// <summary>Samples of all kinds.</summary>
    public long Samples => FloatSamples + HistogramSamples;
}
