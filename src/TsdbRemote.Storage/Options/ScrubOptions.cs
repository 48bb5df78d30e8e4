namespace TsdbRemote.Storage.Options;

/// <summary>The check of everything stored that begins by itself. Keys: <c>storage.scrub</c>.</summary>
public sealed record ScrubOptions : IOptionsSection
{
    // What a timer can wait is some hours more.
    private const int MaxDays = 49;

    /// <summary>Time from the beginning of one check to that of the next; the first begins an hour after the start, or after this time if that is less. Null: none begins by itself.</summary>
    [NullWord("never")]
    public Duration? Interval { get; init; } = Duration.Hours(7 * 24);

    /// <summary>Bytes that it reads in a second at most.</summary>
    public ByteSize Rate { get; init; } = ByteSize.Mebibytes(10);

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path)
    {
        List<string> problems = [.. OptionProblem.Range(path, "rate", Rate, ByteSize.Kibibytes(64), ByteSize.Gibibytes(64))];
        if (Interval is { } interval) problems.AddRange(OptionProblem.Range(path, "interval", interval, Duration.Minutes(1), Duration.Hours(MaxDays * 24)));
        return problems;
    }
}
