using Google.Protobuf.Collections;
using TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Otlp;

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
    private const string Job = "job";
    private const string Instance = "instance";
    private const string MetricName = "__name__";

    private readonly OtlpNames _names;
    private readonly RepeatedField<KeyValue> _resource;
    private readonly string? _job;
    private readonly string? _instance;

    /// <summary>Looks at a resource.</summary>
    public OtlpLabels(OtlpNames names, Resource? resource)
    {
        _names = names;
        _resource = resource?.Attributes ?? [];
        _instance = Find(ServiceInstance);
        if (Find(ServiceName) is not { } name) return;
        _job = Find(ServiceNamespace) is { } space ? $"{space}/{name}" : name;
    }

    /// <summary>Labels of a data point, by name; not the metric's.</summary>
    public SortedDictionary<string, string> Of(IEnumerable<KeyValue> attributes)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        IEnumerable<IGrouping<string, string>> byName = attributes.OrderBy(static pair => pair.Key, StringComparer.Ordinal)
            .GroupBy(pair => _names.OfLabel(pair.Key), static pair => OtlpValues.Print(pair.Value), StringComparer.Ordinal);
        foreach (IGrouping<string, string> label in byName) labels[label.Key] = string.Join(';', label);

        if (_job is not null) labels[Job] = _job;
        if (_instance is not null) labels[Instance] = _instance;
        labels.Remove(MetricName);
        return labels;
    }

    /// <summary>Labels of the resource's <c>target_info</c>; null if it would tell nothing, or of nobody.</summary>
    public SortedDictionary<string, string>? OfTarget()
    {
        KeyValue[] others = [.. _resource.Where(static pair => pair.Key is not (ServiceName or ServiceNamespace or ServiceInstance))];
        if (others.Length == 0) return null;
        SortedDictionary<string, string> labels = Of(others);
        return labels.ContainsKey(Job) || labels.ContainsKey(Instance) ? labels : null;
    }

    private string? Find(string key)
    {
        KeyValue? found = _resource.FirstOrDefault(pair => pair.Key == key);
        return found is null ? null : OtlpValues.Print(found.Value);
    }
}
