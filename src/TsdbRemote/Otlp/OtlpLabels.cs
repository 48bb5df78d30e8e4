using Google.Protobuf.Collections;
using TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Otlp;

/// <summary>Who sends: the labels that all data points of a resource have.</summary>
/// <param name="Job"><c>job</c>; null if the resource does not say.</param>
/// <param name="Instance"><c>instance</c>; null if the resource does not say.</param>
internal readonly record struct OtlpTarget(string? Job, string? Instance)
{
    public const string JobLabel = "job";
    public const string InstanceLabel = "instance";

    /// <summary>True for a label that this is the value of, whatever attributes say.</summary>
    public bool Sets(string label) => (label == JobLabel && Job is not null) || (label == InstanceLabel && Instance is not null);
}

/// <summary>The labels of one resource's data points, all but the name: their attributes, and who sent them.</summary>
/// <remarks>
/// <c>job</c> is <c>service.namespace/service.name</c>, <c>instance</c> is <c>service.instance.id</c>; what else is known of a resource goes to its
/// <c>target_info</c>. Attributes whose names become one label are joined by semicolons, in the order of their names as sent.
/// </remarks>
internal sealed class OtlpLabels
{
    private const string ServiceName = "service.name";
    private const string ServiceNamespace = "service.namespace";
    private const string ServiceInstance = "service.instance.id";
    private const string MetricName = "__name__";

    private readonly OtlpNames _names;
    private readonly RepeatedField<KeyValue> _resource;

    /// <summary>Looks at a resource.</summary>
    public OtlpLabels(OtlpNames names, Resource? resource)
    {
        _names = names;
        _resource = resource?.Attributes ?? [];
        string? job = Find(ServiceName);
        if (job is not null && Find(ServiceNamespace) is { } space) job = $"{space}/{job}";
        Target = new OtlpTarget(job, Find(ServiceInstance));
    }

    /// <summary>Who sends.</summary>
    public OtlpTarget Target { get; }

    /// <summary>Labels of a data point, by name; not the metric's.</summary>
    public SortedDictionary<string, string> Of(IEnumerable<KeyValue> attributes)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        IEnumerable<IGrouping<string, string>> byName = attributes.OrderBy(static pair => pair.Key, StringComparer.Ordinal)
            .GroupBy(pair => _names.OfLabel(pair.Key), static pair => OtlpValues.Print(pair.Value), StringComparer.Ordinal);
        foreach (IGrouping<string, string> label in byName) labels[label.Key] = string.Join(';', label);

        if (Target.Job is not null) labels[OtlpTarget.JobLabel] = Target.Job;
        if (Target.Instance is not null) labels[OtlpTarget.InstanceLabel] = Target.Instance;
        labels.Remove(MetricName);
        return labels;
    }

    /// <summary>Labels of the resource's <c>target_info</c>; null if it would tell nothing, or of nobody.</summary>
    public SortedDictionary<string, string>? OfTarget()
    {
        KeyValue[] others = [.. _resource.Where(static pair => pair.Key is not (ServiceName or ServiceNamespace or ServiceInstance))];
        if (others.Length == 0) return null;
        SortedDictionary<string, string> labels = Of(others);
        return labels.ContainsKey(OtlpTarget.JobLabel) || labels.ContainsKey(OtlpTarget.InstanceLabel) ? labels : null;
    }

    private string? Find(string key)
    {
        KeyValue? found = _resource.FirstOrDefault(pair => pair.Key == key);
        return found is null ? null : OtlpValues.Print(found.Value);
    }
}
