using System.Collections.Frozen;

namespace TsdbRemote.Blocks.Model;

/// <summary>The words of PromQL, by what they are to a selector. Letters' case does not matter.</summary>
internal static class SelectorWords
{
    private const string NameOnly = "";
    private const string Quoted = "\"";

    private static readonly FrozenSet<string> Symbols = FrozenSet.Create("+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=");

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
            return new SelectorToken(SelectorTokenKind.Number, position, word, $"number \"{word}\"");
        if (Words.TryGetValue(word, out (string Kind, bool IsName) known))
        {
            string shown = known.Kind == Quoted ? $"\"{word}\"" : $"<{known.Kind}{word}>";
            return new SelectorToken(known.IsName ? SelectorTokenKind.Name : SelectorTokenKind.Other, position, word, shown);
        }

        string kind = word.Contains(':', StringComparison.Ordinal) ? "metric identifier" : "identifier";
        return new SelectorToken(SelectorTokenKind.Name, position, word, $"{kind} \"{word}\"");
    }

    /// <summary>Whether a word names an aggregation.</summary>
    public static bool IsAggregation(string word) => Words.TryGetValue(word, out (string Kind, bool IsName) known) && known.Kind == "aggr:";

    /// <summary>Whether a token is a word, of whatever use.</summary>
    public static bool IsWord(SelectorToken token) => token.Kind == SelectorTokenKind.Name || (token.Kind == SelectorTokenKind.Other && Words.ContainsKey(token.Text));

    /// <summary>Whether a token stands between two operands.</summary>
    public static bool IsOperator(SelectorToken token) => token.Kind == SelectorTokenKind.Other && Symbols.Contains(token.Text)
        || (token.Kind is SelectorTokenKind.Name or SelectorTokenKind.Other && Words.TryGetValue(token.Text, out (string Kind, bool IsName) known) && known.Kind == "op:");

    private static FrozenDictionary<string, (string Kind, bool IsName)> Table(params (string Kind, bool IsName, string Words)[] rows) => rows
        .SelectMany(static row => row.Words.Split(' '), static (row, word) => (word, row.Kind, row.IsName))
        .ToFrozenDictionary(static row => row.word, static row => (row.Kind, row.IsName), StringComparer.OrdinalIgnoreCase);
}
