using System.Text;
using TsdbRemote.Options;
using TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Otlp;

/// <summary>OpenTelemetry's names of metrics and attributes as Prometheus translates them. Thread-safe.</summary>
/// <remarks>
/// A metric's name is cut into words at what Prometheus' names do not hold; unit and, for counters, <c>total</c> become further words unless they are there. Hence
/// <c>http.server.duration</c> in <c>ms</c> is <c>http_server_duration_milliseconds</c>. Source: prometheus/otlptranslator, as of Prometheus 3.5.
/// </remarks>
internal sealed class OtlpNames(TranslationStrategy strategy)
{
    private static readonly Dictionary<string, string> Units = Table(
        "d=days h=hours min=minutes s=seconds ms=milliseconds us=microseconds ns=nanoseconds " +
        "By=bytes KiBy=kibibytes MiBy=mebibytes GiBy=gibibytes TiBy=tibibytes KBy=kilobytes MBy=megabytes GBy=gigabytes TBy=terabytes " +
        "m=meters V=volts A=amperes J=joules W=watts g=grams Cel=celsius Hz=hertz 1= %=percent");

    private static readonly Dictionary<string, string> UnitsPer = Table("s=second m=minute h=hour d=day w=week mo=month y=year");

    private readonly bool _escapes = strategy is TranslationStrategy.UnderscoreEscapingWithSuffixes or TranslationStrategy.UnderscoreEscapingWithoutSuffixes;
    private readonly bool _appends = strategy is TranslationStrategy.UnderscoreEscapingWithSuffixes or TranslationStrategy.NoUtf8EscapingWithSuffixes;

    /// <summary>The name of a metric's family.</summary>
    public string OfMetric(Metric metric)
    {
        bool isCounter = metric.Sum is { IsMonotonic: true };
        bool isRatio = metric.Gauge is not null && metric.Unit == "1";
        (string main, string per) = _appends ? UnitWords(metric.Unit) : ("", "");
        if (!_escapes) return _appends ? Append(metric.Name, main, per, isCounter, isRatio) : metric.Name;
        List<string> words = Words(metric.Name, keepUnderscores: !_appends);
        if (_appends)
        {
            AddUnit(words, Clean(main), Clean(per));
            if (isCounter) MoveToEnd(words, "total");
            if (isRatio) MoveToEnd(words, "ratio");
        }

        string name = string.Join('_', words);
        return name.Length > 0 && char.IsAsciiDigit(name[0]) ? "_" + name : name;
    }

    /// <summary>The name of an attribute's label.</summary>
    public string OfLabel(string key)
    {
        if (!_escapes || key.Length == 0) return key;
        var name = new StringBuilder(key.Length + 4);
        foreach (Rune rune in key.EnumerateRunes()) name.Append(rune.IsAscii && char.IsAsciiLetterOrDigit((char)rune.Value) ? (char)rune.Value : '_');
        if (char.IsAsciiDigit(name[0])) return name.Insert(0, "key_").ToString();
        bool isInternal = name.Length > 1 && name[1] == '_';
        return name[0] == '_' && !isInternal ? name.Insert(0, "key").ToString() : name.ToString();
    }

    private static Dictionary<string, string> Table(string pairs) =>
        pairs.Split(' ').Select(static pair => pair.Split('=')).ToDictionary(static pair => pair[0], static pair => pair[1], StringComparer.Ordinal);

    private static List<string> Words(string name, bool keepUnderscores)
    {
        List<string> words = [];
        int start = -1;
        for (int i = 0; i <= name.Length; i++)
        {
            bool belongs = i < name.Length && (char.IsAsciiLetterOrDigit(name[i]) || name[i] == ':' || (keepUnderscores && name[i] == '_'));
            if (belongs && start < 0) start = i;
            if (belongs || start < 0) continue;
            words.Add(name[start..i]);
            start = -1;
        }

        return words;
    }

    /// <summary>A unit in words, and what it is counted per: <c>By/s</c> is bytes, per_second. What stands in braces is a remark.</summary>
    private static (string Main, string Per) UnitWords(string unit)
    {
        string[] parts = unit.Split('/', 2);
        string main = WordOf(parts[0], Units);
        string per = parts.Length > 1 ? WordOf(parts[1], UnitsPer) : "";
        return (main, per.Length > 0 ? "per_" + per : "");
    }

    private static string WordOf(string unit, Dictionary<string, string> known)
    {
        string text = unit.Trim();
        return text.AsSpan().IndexOfAny('{', '}') >= 0 ? "" : known.GetValueOrDefault(text, text);
    }

    /// <summary>A word of a unit in characters of names: no two underscores in a row, none at the front.</summary>
    private static string Clean(string unit)
    {
        var text = new StringBuilder(unit.Length);
        foreach (Rune rune in unit.EnumerateRunes())
        {
            bool isFine = rune.IsAscii && (char.IsAsciiLetterOrDigit((char)rune.Value) || rune.Value == ':');
            if (isFine) text.Append((char)rune.Value);
            else if (text.Length > 0 && text[^1] != '_') text.Append('_');
        }

        return text.ToString();
    }

    private static void AddUnit(List<string> words, string main, string per)
    {
        if (words.Contains(main)) main = "";
        per = per == "per_" ? "" : TrimUnderscore(per);
        if (words.Contains(per)) per = "";
        if (per.Length > 0) main = TrimUnderscore(main);
        if (main.Length > 0) words.Add(main);
        if (per.Length > 0) words.Add(per);
    }

    private static string TrimUnderscore(string word) => word.EndsWith('_') ? word[..^1] : word;

    private static void MoveToEnd(List<string> words, string word)
    {
        words.RemoveAll(known => known == word);
        words.Add(word);
    }

    /// <summary>Where characters stay there are no words to look among, only ends of the name.</summary>
    private static string Append(string name, string main, string per, bool isCounter, bool isRatio)
    {
        if (isRatio) name = TrimEnd(name, "ratio");
        if (isCounter) name = TrimEnd(name, "total");
        if (per.Length > 0) name = TrimEnd(name, per);
        if (main.Length > 0 && !name.EndsWith(main, StringComparison.Ordinal)) name += "_" + main;
        if (per.Length > 0) name += "_" + per;
        if (isCounter) name += "_total";
        return isRatio ? name + "_ratio" : name;
    }

    /// <summary>Takes a word off the end, and the character before it.</summary>
    private static string TrimEnd(string name, string word) =>
        name.EndsWith(word, StringComparison.Ordinal) && name.Length > word.Length + 1 ? name[..^(word.Length + 1)] : name;
}
