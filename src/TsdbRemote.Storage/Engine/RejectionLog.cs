using System.Globalization;
using System.Text;

namespace TsdbRemote.Storage.Engine;

/// <summary>Why samples were refused.</summary>
public enum RejectionReason
{
    /// <summary>Labels break a rule.</summary>
    Labels,

    /// <summary>A symbol reference of remote write 2.0 is out of its table, or a series holds no sample.</summary>
    Series,

    /// <summary>The time is too far in the future.</summary>
    Future,

    /// <summary>Older than the out-of-order window allows.</summary>
    OutOfOrder,

    /// <summary>Another value at the same time exists, and the first one stays.</summary>
    Conflict,

    /// <summary>A native histogram contradicts itself.</summary>
    Histogram,

    /// <summary>A limit on the number of series is reached.</summary>
    SeriesLimit,

    /// <summary>An exemplar of remote write 2.0 comes before the newest of its series, or a symbol reference of it is out of the table; its samples are kept.</summary>
    Exemplar,
}

/// <summary>Collects what a request's refusals were: counts all, explains the first few. Reused; not thread-safe.</summary>
public sealed class RejectionLog
{
    /// <summary>Senders keep 1,024 bytes of a body, so more would be cut by them.</summary>
    private const int MaxChars = 900;

    private readonly StringBuilder _text = new();
    private readonly long[] _samples = new long[Enum.GetValues<RejectionReason>().Length];
    private long _explained;

    /// <summary>Refusals so far: samples, or series where a whole series was refused without samples.</summary>
    public long Count { get; private set; }

    /// <summary>True if anything was refused.</summary>
    public bool Any => Count > 0;

    /// <summary>Samples refused for a reason.</summary>
    public long SamplesOf(RejectionReason reason) => _samples[(int)reason];

    /// <summary>Starts anew.</summary>
    public void Clear()
    {
        Count = 0;
        _explained = 0;
        _text.Clear();
        _samples.AsSpan().Clear();
    }

    /// <summary>Counts a refusal.</summary>
    /// <returns>True if there is still room to explain it: build the text only then, and pass it to <see cref="Explain"/>.</returns>
    public bool Add(RejectionReason reason, long samples)
    {
        Count += Math.Max(samples, 1);
        _samples[(int)reason] += Math.Max(samples, 1);
        return _text.Length < MaxChars;
    }

    /// <summary>Explains the refusal just counted.</summary>
    public void Explain(string line, long samples)
    {
        if (_text.Length > 0) _text.Append('\n');
        int room = MaxChars - _text.Length;
        _text.Append(line.Length <= room ? line : string.Concat(line.AsSpan(0, Math.Max(0, room)), "..."));
        _explained += Math.Max(samples, 1);
    }

    /// <summary>The body of the answer: one line a refusal, then how much was kept.</summary>
    public string Message(long stored, long sent)
    {
        var text = new StringBuilder().Append(_text);
        if (Count > _explained) text.Append(CultureInfo.InvariantCulture, $"\n... and {Count - _explained} more");
        return text.Append(CultureInfo.InvariantCulture, $"\n{stored} of {sent} samples stored").ToString();
    }
}
