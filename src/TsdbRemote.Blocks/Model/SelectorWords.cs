using System.Collections.Frozen;

namespace TsdbRemote.Blocks.Model;

/// <summary>The words of PromQL, by what they are to a selector. Letters' case does not matter.</summary>
internal static class SelectorWords
{
    private const string NameOnly = "";
    private const string Quoted = "\"";

    /// <summary>How an error shows a word, and whether it can be the name of a metric.</summary>
    private static readonly FrozenDictionary<string, (string Kind, bool IsName)> Words = Table(
        ("op:", true, "and or unless"),
        ("op:", false, "atan2"),
        ("aggr:", true, "sum avg count min max group stddev stdvar topk bottomk count_values quantile limitk limit_ratio"),
        (NameOnly, true, "offset by without"),
        (Quoted, true, "start end"),
        (NameOnly, false, "on ignoring group_left group_right bool"));

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

    private static FrozenDictionary<string, (string Kind, bool IsName)> Table(params (string Kind, bool IsName, string Words)[] rows) => rows
        .SelectMany(static row => row.Words.Split(' '), static (row, word) => (word, row.Kind, row.IsName))
        .ToFrozenDictionary(static row => row.word, static row => (row.Kind, row.IsName), StringComparer.OrdinalIgnoreCase);
}
