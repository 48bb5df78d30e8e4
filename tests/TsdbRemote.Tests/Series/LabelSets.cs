using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

/// <summary>Small label sets that often share names and values, and the naive answers about them.</summary>
internal static class LabelSets
{
    private static readonly string[] Names = ["__name__", "a", "b", "instance", "Z"];
    private static readonly string[] Values = ["", "x", "y", "xy", "x1", "yy", "é"];

    /// <summary>A value for each of the five names; "" leaves the label out.</summary>
    public static readonly Gen<byte[]> Run = Gen.Int[0, Values.Length - 1].Array[Names.Length].Select(
        picks => Labels.Encode([.. picks.Select((pick, i) => (Names[i], Values[pick])), ("always", "1")]));

    public static readonly Gen<Matcher> AnyMatcher = Gen.Select(
        OneOf(MatcherType.Equal, MatcherType.NotEqual, MatcherType.Regex, MatcherType.NotRegex),
        OneOf("__name__", "a", "b", "instance", "Z", "always", "absent"),
        OneOf("", "x", "y", "x|y", "x.*", ".*", ".+", "x?", "|x", "(x|y)y?", "nothing", "é|yy"),
        Matcher.Create);

    private static Gen<T> OneOf<T>(params T[] choices) => Gen.Int[0, choices.Length - 1].Select(pick => choices[pick]);

    /// <summary>Adds runs one by one.</summary>
    public static void AddAll(this SeriesDictionary series, IEnumerable<byte[]> runs)
    {
        foreach (byte[] run in runs) series.GetOrAdd(run, Labels.Hash(run), out _);
    }

    /// <summary>What a selection must answer, by asking each series.</summary>
    public static uint[] SelectNaively(SeriesDictionary series, IReadOnlyList<Matcher> matchers, uint limit)
    {
        var selected = new List<uint>();
        for (uint ordinal = 0; ordinal < limit && matchers.Count > 0; ordinal++)
        {
            if (Satisfies(series.LabelsOf(ordinal), matchers)) selected.Add(ordinal);
        }

        return [.. selected];
    }

    /// <summary>True if the labels satisfy all matchers, an absent label being "".</summary>
    public static bool Satisfies(ReadOnlySpan<byte> run, IReadOnlyList<Matcher> matchers)
    {
        foreach (Matcher matcher in matchers)
        {
            Labels.TryGet(run, matcher.NameUtf8.Span, out ReadOnlySpan<byte> value);
            if (!matcher.Matches(value)) return false;
        }

        return true;
    }

    /// <summary>All ordinals of a list.</summary>
    public static List<uint> Ids(this PostingList list)
    {
        var ids = new List<uint>();
        PostingList.Reader chunks = list.Read();
        while (chunks.MoveNext()) ids.AddRange(chunks.Current);
        return ids;
    }
}
