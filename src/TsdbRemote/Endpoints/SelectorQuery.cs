using System.Globalization;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Endpoints;

/// <summary>Selectors as parameters have them: <c>match[]</c>.</summary>
internal static class SelectorQuery
{
    /// <summary>What a call that needs one is told.</summary>
    public const string Missing = "no match[] parameter provided";

    private const int MaxSelectors = 32;

    /// <summary>Null, or what is wrong with their number.</summary>
    public static string? TooMany(IReadOnlyList<string> selectors) => selectors.Count <= MaxSelectors
        ? null
        : string.Create(CultureInfo.InvariantCulture, $"too many match[] in a request: {selectors.Count} given, {MaxSelectors} allowed");

    /// <summary>Reads and compiles selectors, in the time that the matchers of any read may take.</summary>
    /// <param name="texts">The selectors.</param>
    /// <param name="selectors">Added to.</param>
    /// <param name="clock">Tells how long it takes.</param>
    /// <param name="namesParameter">True to have an error name the parameter.</param>
    /// <param name="stop">Ends it between two of them.</param>
    /// <returns>Null, or the refusal.</returns>
    public static HttpAnswer? Compile(
        IReadOnlyList<string> texts, List<IReadOnlyList<Matcher>> selectors, TimeProvider clock, bool namesParameter, CancellationToken stop)
    {
        HttpAnswer? refused = Compile(texts, selectors, clock, stop);
        bool isBad = namesParameter && refused?.Status == StatusCodes.Status400BadRequest;
        return isBad ? refused!.Value with { Text = $"invalid parameter \"match[]\": {refused.Value.Text}" } : refused;
    }

    private static HttpAnswer? Compile(IReadOnlyList<string> texts, List<IReadOnlyList<Matcher>> selectors, TimeProvider clock, CancellationToken stop)
    {
        var parsed = new List<IReadOnlyList<SelectorTerm>>(texts.Count);
        try
        {
            foreach (string text in texts)
            {
                stop.ThrowIfCancellationRequested();
                parsed.Add(SelectorParser.Parse(text));
            }
        }
        catch (SelectorException refused)
        {
            return HttpAnswers.BadRead(refused.Message);
        }

        if (ReadQueries.Of(parsed).TryCompile(clock, stop, out IReadOnlyList<ReadQuery> compiled) is { } tooMuch) return tooMuch;
        foreach (ReadQuery query in compiled)
        {
            if (query.Matchers.All(static matcher => matcher.MatchesEmpty)) return HttpAnswers.BadRead("match[] must contain at least one non-empty matcher");
            selectors.Add(query.Matchers);
        }

        return null;
    }
}
