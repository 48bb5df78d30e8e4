using System.Globalization;

namespace TsdbRemote.Storage.Verification;

/// <summary>How much a finding matters.</summary>
public enum VerifySeverity
{
    /// <summary>Nothing is wrong: what a crash may leave, and what the next start puts right by itself. No finding.</summary>
    Note,

    /// <summary>Not as it should be, and nothing that is served is missing.</summary>
    Warning,

    /// <summary>Something is lost, not served, or keeps a server from starting.</summary>
    Error,
}

/// <summary>One thing that was found in a data directory.</summary>
/// <param name="Severity">How much it matters.</param>
/// <param name="File">The file or directory, relative to the data directory; empty for itself.</param>
/// <param name="Offset">Where in the file, in bytes; null where no place can be named.</param>
/// <param name="What">What was found, and what was expected.</param>
/// <param name="Meaning">What it means for the user: what is lost, what is served on, what to do.</param>
public sealed record VerifyFinding(VerifySeverity Severity, string File, long? Offset, string What, string Meaning)
{
    /// <summary>The finding as one line.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Severity}: {(File.Length == 0 ? "." : File)}{(Offset is { } at ? $" at {at}" : "")}: {What}; {Meaning}");
}

/// <summary>A file, or a directory with all below it, that is kept in <c>quarantine/</c>.</summary>
/// <param name="Name">Its name there.</param>
/// <param name="Bytes">Its bytes.</param>
public sealed record KeptFile(string Name, long Bytes);

/// <summary>What was counted on the way: by the bytes of the files themselves, short of the truth where damage stopped the count.</summary>
public sealed record VerifyCounts
{
    /// <summary>Files of the dictionary.</summary>
    public long Dictionaries { get; internal set; }

    /// <summary>Series in them.</summary>
    public long DictionarySeries { get; internal set; }

    /// <summary>Tables.</summary>
    public long Tables { get; internal set; }

    /// <summary>Chunks in them, those of windows that went into blocks included.</summary>
    public long TableChunks { get; internal set; }

    /// <summary>Samples in them.</summary>
    public long TableSamples { get; internal set; }

    /// <summary>Blocks.</summary>
    public long Blocks { get; internal set; }

    /// <summary>Series in them, counted in each.</summary>
    public long BlockSeries { get; internal set; }

    /// <summary>Samples in them.</summary>
    public long BlockSamples { get; internal set; }

    /// <summary>Log segments.</summary>
    public long Segments { get; internal set; }

    /// <summary>Records in them.</summary>
    public long Records { get; internal set; }

    /// <summary>Samples and histograms in these.</summary>
    public long RecordSamples { get; internal set; }

    /// <summary>Bytes read.</summary>
    public long BytesRead { get; internal set; }
}

/// <summary>What a verification of a data directory found.</summary>
public sealed record VerifyReport
{
    /// <summary>The data directory.</summary>
    public required string Directory { get; init; }

    /// <summary>True if a server was at work in it meanwhile.</summary>
    public required bool IsOnline { get; init; }

    /// <summary>Generation of the manifest that the files were held against; null if there was none to be read.</summary>
    public required long? Generation { get; init; }

    /// <summary>What was found, in the order of finding: of each severity the first thousand.</summary>
    public required IReadOnlyList<VerifyFinding> Findings { get; init; }

    /// <summary>How many errors, those that are not kept included.</summary>
    public required long Errors { get; init; }

    /// <summary>How many warnings, those that are not kept included.</summary>
    public required long Warnings { get; init; }

    /// <summary>How many notes, those that are not kept included.</summary>
    public required long Notes { get; init; }

    /// <summary>What was counted.</summary>
    public required VerifyCounts Counts { get; init; }

    /// <summary>What earlier servers put aside as damaged.</summary>
    public required IReadOnlyList<KeptFile> Quarantine { get; init; }

    /// <summary>Snapshots, which are data directories of their own and were not looked into.</summary>
    public required IReadOnlyList<string> Snapshots { get; init; }

    /// <summary>What could not be checked, and why.</summary>
    public required IReadOnlyList<string> NotChecked { get; init; }

    /// <summary>True if there is nothing but notes.</summary>
    public bool IsSound => Errors + Warnings == 0;
}

/// <summary>How far a verification is.</summary>
/// <param name="BytesDone">Bytes read, or passed over.</param>
/// <param name="BytesTotal">Bytes to be read in all: a table is read twice.</param>
/// <param name="File">What is being read, relative to the data directory.</param>
public readonly record struct VerifyProgress(long BytesDone, long BytesTotal, string File);

/// <summary>The directory cannot be verified: it is none of ours, or somebody works in it.</summary>
public sealed class CannotVerifyException : Exception
{
    /// <summary>Says why.</summary>
    public CannotVerifyException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
