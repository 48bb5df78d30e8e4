namespace TsdbRemote.Storage.Engine;

/// <summary>The limits that refuse something, each under the path of the option that sets it. <c>docs/limits.md</c> lists them.</summary>
public enum Limit
{
    /// <summary><c>storage.limits.write_body</c>.</summary>
    WriteBody,

    /// <summary><c>storage.limits.write_decoded</c>.</summary>
    WriteDecoded,

    /// <summary><c>storage.limits.samples_per_request</c>.</summary>
    SamplesPerRequest,

    /// <summary><c>storage.limits.series_per_request</c>.</summary>
    SeriesPerRequest,

    /// <summary><c>storage.limits.otlp_messages</c>.</summary>
    OtlpMessages,

    /// <summary><c>storage.limits.labels</c>.</summary>
    Labels,

    /// <summary><c>storage.limits.label_name</c>.</summary>
    LabelName,

    /// <summary><c>storage.limits.label_value</c>.</summary>
    LabelValue,

    /// <summary><c>storage.limits.labels_size</c>.</summary>
    LabelsSize,

    /// <summary><c>storage.limits.series</c>.</summary>
    Series,

    /// <summary><c>storage.lsm.write_buffer_size</c>.</summary>
    WriteBufferSize,

    /// <summary><c>storage.read.max_concurrent</c>.</summary>
    ReadMaxConcurrent,

    /// <summary><c>storage.read.max_samples</c>.</summary>
    ReadMaxSamples,

    /// <summary><c>storage.read.max_series</c>.</summary>
    ReadMaxSeries,

    /// <summary><c>storage.read.memory</c>.</summary>
    ReadMemory,

    /// <summary><c>http.body_timeout</c>.</summary>
    BodyTimeout,

    /// <summary><c>http.read_timeout</c>.</summary>
    ReadTimeout,
}

/// <summary>The paths of the limits' options, as errors and metrics name them.</summary>
public static class LimitPaths
{
    /// <summary>The path of the option that sets a limit.</summary>
    public static string Path(this Limit limit) => limit switch
    {
        Limit.WriteBody => "storage.limits.write_body",
        Limit.WriteDecoded => "storage.limits.write_decoded",
        Limit.SamplesPerRequest => "storage.limits.samples_per_request",
        Limit.SeriesPerRequest => "storage.limits.series_per_request",
        Limit.OtlpMessages => "storage.limits.otlp_messages",
        Limit.Labels => "storage.limits.labels",
        Limit.LabelName => "storage.limits.label_name",
        Limit.LabelValue => "storage.limits.label_value",
        Limit.LabelsSize => "storage.limits.labels_size",
        Limit.Series => "storage.limits.series",
        Limit.WriteBufferSize => "storage.lsm.write_buffer_size",
        Limit.ReadMaxConcurrent => "storage.read.max_concurrent",
        Limit.ReadMaxSamples => "storage.read.max_samples",
        Limit.ReadMaxSeries => "storage.read.max_series",
        Limit.ReadMemory => "storage.read.memory",
        Limit.BodyTimeout => "http.body_timeout",
        Limit.ReadTimeout => "http.read_timeout",
        _ => throw new ArgumentOutOfRangeException(nameof(limit), limit, "not a limit"),
    };
}
