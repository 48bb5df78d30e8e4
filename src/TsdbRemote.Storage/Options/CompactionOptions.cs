namespace TsdbRemote.Storage.Options;

/// <summary>Merging of tables. Keys: <c>storage.compaction</c>.</summary>
public sealed record CompactionOptions : IOptionsSection
{
    /// <summary>Merges at one time, each in a window of its own; never more than processors but one. More: a backlog of many windows is worked off sooner.</summary>
    public int MaxConcurrent { get; init; } = 4;

    /// <summary>Bytes at which a merged table is cut into another. Smaller: a series' reads touch fewer bytes of index; more files.</summary>
    public ByteSize TargetFileSize { get; init; } = ByteSize.Mebibytes(64);

    /// <summary>Bytes that no merged table exceeds, unless a single series does.</summary>
    public ByteSize MaxFileSize { get; init; } = ByteSize.Mebibytes(256);

    /// <summary>Fill of a level, as a part of what makes it full, that starts a merge. Less: fewer tables to read, more bytes written.</summary>
    public double CompactionThreshold { get; init; } = 0.8;

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path)
    {
        List<string> problems =
        [
            .. OptionProblem.Range(path, "max_concurrent", MaxConcurrent, 1, 64),
            .. OptionProblem.Range(path, "target_file_size", TargetFileSize, ByteSize.Kibibytes(4), ByteSize.Gibibytes(64)),
            .. OptionProblem.Range(path, "max_file_size", MaxFileSize, ByteSize.Kibibytes(4), ByteSize.Gibibytes(64)),
        ];
        if (!(CompactionThreshold is > 0 and <= 1))
            problems.Add(FormattableString.Invariant($"{path}.compaction_threshold: {CompactionThreshold} given, above 0 and up to 1 allowed"));
        if (MaxFileSize < TargetFileSize)
            problems.Add(FormattableString.Invariant($"{path}.max_file_size: {MaxFileSize} given, target_file_size ({TargetFileSize}) or more allowed"));
        return problems;
    }
}
