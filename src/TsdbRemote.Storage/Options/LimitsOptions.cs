namespace TsdbRemote.Storage.Options;

/// <summary>What a request or a series may ask for at most. Keys: <c>storage.limits</c>.</summary>
/// <remarks>
/// The limits of a request refuse all of it with a 413 (the decoded size with a 400); those of one series refuse that series and keep the rest.
/// </remarks>
public sealed record LimitsOptions : IOptionsSection
{
    // A log record holds 64 MiB. What is accepted of a refused-in-part request is compressed anew, and snappy may make a sixth more of it than it was.
    private static readonly ByteSize MaxBody = ByteSize.Mebibytes(64);
    private static readonly ByteSize MaxDecoded = ByteSize.Mebibytes(48);

    /// <summary>Bytes of a write request as sent, compressed.</summary>
    public ByteSize WriteBody { get; init; } = ByteSize.Mebibytes(32);

    /// <summary>Bytes of a write request once decompressed; compared before anything is allocated.</summary>
    public ByteSize WriteDecoded { get; init; } = ByteSize.Mebibytes(32);

    /// <summary>Labels of one series, the metric name included.</summary>
    public int Labels { get; init; } = 64;

    /// <summary>Bytes of one label's name in UTF-8.</summary>
    public ByteSize LabelName { get; init; } = ByteSize.Kibibytes(1);

    /// <summary>Bytes of one label's value in UTF-8.</summary>
    public ByteSize LabelValue { get; init; } = ByteSize.Kibibytes(4);

    /// <summary>Bytes of all labels of one series as the wire carries them.</summary>
    public ByteSize LabelsSize { get; init; } = ByteSize.Kibibytes(16);

    /// <summary>Series known to the dictionary; new ones beyond it are refused, known ones go on.</summary>
    public long Series { get; init; } = 5_000_000;

    /// <summary>Samples of one write request.</summary>
    public int SamplesPerRequest { get; init; } = 500_000;

    /// <summary>Series of one write request.</summary>
    public int SeriesPerRequest { get; init; } = 100_000;

    /// <summary>
    /// Messages of one OTLP export: data points, attributes, values, exemplars; sixteen counts of buckets count as one. A message takes some 128 bytes once
    /// it is parsed, however few it was sent in.
    /// </summary>
    public int OtlpMessages { get; init; } = 1_000_000;

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
    [
        .. OptionProblem.Range(path, "write_body", WriteBody, ByteSize.Kibibytes(1), MaxBody),
        .. OptionProblem.Range(path, "write_decoded", WriteDecoded, ByteSize.Kibibytes(1), MaxDecoded),
        .. OptionProblem.Range(path, "labels", Labels, 1, 4096),
        .. OptionProblem.Range(path, "label_name", LabelName, new ByteSize(8), ByteSize.Kibibytes(64)),
        .. OptionProblem.Range(path, "label_value", LabelValue, new ByteSize(1), ByteSize.Kibibytes(64)),
        .. OptionProblem.Range(path, "labels_size", LabelsSize, new ByteSize(32), ByteSize.Kibibytes(64)),
        .. OptionProblem.Range(path, "series", Series, 1, 4_000_000_000),
        .. OptionProblem.Range(path, "samples_per_request", SamplesPerRequest, 1, 100_000_000),
        .. OptionProblem.Range(path, "series_per_request", SeriesPerRequest, 1, 100_000_000),
        .. OptionProblem.Range(path, "otlp_messages", OtlpMessages, 1, 100_000_000),
    ];
}
