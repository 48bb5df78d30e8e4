using System.Globalization;
using System.Text;

namespace TsdbRemote.Otlp;

/// <summary>Why a data point has no translation.</summary>
internal enum OtlpRefusal
{
    /// <summary>Its metric tells differences, or does not tell whether it does.</summary>
    Temporality,

    /// <summary>It is an exponential histogram that no native one can be.</summary>
    Histogram,

    /// <summary>It has no time.</summary>
    Time,

    /// <summary>Its name, job or instance is longer than a label's value may be.</summary>
    LabelValue,
}

/// <summary>Data points that could not be translated: counts all, explains the first few.</summary>
internal sealed class OtlpRefusals
{
    private const int MaxChars = 900;
    private const int MaxName = 128;

    private readonly StringBuilder _text = new();
    private readonly long[] _points = new long[Enum.GetValues<OtlpRefusal>().Length];
    private long _explained;

    /// <summary>Data points refused.</summary>
    public long Points => _points.Sum();

    /// <summary>Data points refused, by reason.</summary>
    public IEnumerable<(OtlpRefusal Reason, long Points)> ByReason => Enum.GetValues<OtlpRefusal>().Select(reason => (reason, _points[(int)reason])).Where(static pair => pair.Item2 > 0);

    /// <summary>Counts data points of a metric.</summary>
    public void Add(OtlpRefusal reason, string metric, long points, string why)
    {
        if (points == 0) return;
        _points[(int)reason] += points;
        if (_text.Length >= MaxChars) return;
        _explained += points;
        string name = metric.Length <= MaxName ? metric : metric[..MaxName] + "...";
        if (_text.Length > 0) _text.Append('\n');
        _text.Append(CultureInfo.InvariantCulture, $"metric \"{name}\": {points} data points refused: {why}");
    }

    /// <summary>One line for each refusal that is explained.</summary>
    public override string ToString() =>
        Points == _explained ? _text.ToString() : string.Create(CultureInfo.InvariantCulture, $"{_text}\n... and {Points - _explained} more data points");
}
