using System.Collections.Frozen;

namespace TsdbRemote.Blocks.Model;

/// <summary>The words of PromQL, by what they are to a selector. Letters' case does not matter.</summary>
internal static class SelectorWords
{
    private const string NameOnly = "";
    private const string Quoted = "\"";

    /// <summary>How an error shows a word, and whether it can be the name of a metric.</summary>
    private static readonly FrozenDictionary<string, (string Kind, bool IsName)> Words = new Dictionary<string, (string, bool)>
    {
        ["and"] = ("op:", true), ["or"] = ("op:", true), ["unless"] = ("op:", true), ["atan2"] = ("op:", false),
        ["sum"] = ("aggr:", true), ["avg"] = ("aggr:", true), ["count"] = ("aggr:", true), ["min"] = ("aggr:", true), ["max"] = ("aggr:", true),
        ["group"] = ("aggr:", true), ["stddev"] = ("aggr:", true), ["stdvar"] = ("aggr:", true), ["topk"] = ("aggr:", true), ["bottomk"] = ("aggr:", true),
        ["count_values"] = ("aggr:", true), ["quantile"] = ("aggr:", true), ["limitk"] = ("aggr:", true), ["limit_ratio"] = ("aggr:", true),
        ["offset"] = (NameOnly, true), ["by"] = (NameOnly, true), ["without"] = (NameOnly, true), ["start"] = (Quoted, true), ["end"] = (Quoted, true),
        ["on"] = (NameOnly, false), ["ignoring"] = (NameOnly, false), ["group_left"] = (NameOnly, false), ["group_right"] = (NameOnly, false), ["bool"] = (NameOnly, false),
    }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    /// <summary>The token that a word outside of braces is.</summary>
    public static SelectorToken TokenOf(int position, string word)
    {
        if (word.Equals("inf", StringComparison.OrdinalIgnoreCase) || word.Equals("nan", StringComparison.OrdinalIgnoreCase))
            return new SelectorToken(SelectorTokenKind.Other, position, word, $"number \"{word}\"");
        if (Words.TryGetValue(word, out (string Kind, bool IsName) known))
        {
            string shown = known.Kind == Quoted ? $"\"{word}\"" : $"<{known.Kind}{word}>";
            return new SelectorToken(known.IsName ? SelectorTokenKind.Name : SelectorTokenKind.Other, position, word, shown);
        }

        string kind = word.Contains(':', StringComparison.Ordinal) ? "metric identifier" : "identifier";
        return new SelectorToken(SelectorTokenKind.Name, position, word, $"{kind} \"{word}\"");
    }
}
