using System.Text.Json;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

/// <summary>Selectors, against what a real Prometheus 3.5 said to each (<c>Data/selectors/outcomes.txt</c>).</summary>
public class SelectorParserTests
{
    private const string SaysTooLittle = "match[] must contain at least one non-empty matcher";

    public static TheoryData<string, string> Recorded
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (string line in File.ReadAllLines(Repository.TestData("selectors/outcomes.txt")))
            {
                string[] parts = line.Split('\t', 2);
                data.Add(JsonSerializer.Deserialize<string>(parts[0])!, parts[1]);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Recorded))]
    public void Selectors_are_taken_and_refused_as_by_Prometheus(string selector, string outcome)
    {
        if (outcome is "ok" or SaysTooLittle)
        {
            IReadOnlyList<SelectorTerm> terms = SelectorParser.Parse(selector);
            bool saysEnough = terms.Any(static term => !Matcher.Create(term.Type, term.Name, term.Value).MatchesEmpty);
            Assert.Equal(outcome == "ok", saysEnough);
        }
        else
        {
            Assert.Equal(outcome, Assert.Throws<SelectorException>(() => SelectorParser.Parse(selector)).Message);
        }
    }

    [Theory]
    [InlineData("up", "__name__=up")]
    [InlineData("up{}", "__name__=up")]
    [InlineData("{a=\"b\"}", "a=b")]
    [InlineData("up{a=\"b\",c!=\"d\",e=~\"f|g\",h!~\"i\",}", "a=b c!=d e=~f|g h!~i __name__=up")]
    [InlineData("{\"my.metric\", \"a label\"='x'}", "__name__=my.metric a label=x")]
    [InlineData("up{\"up\"}", "__name__=up __name__=up")]
    [InlineData("a:b{ c = `d\\n` } # end", "c=d\\n __name__=a:b")]
    [InlineData("sum{by=\"x\"}", "by=x __name__=sum")]
    public void Terms_come_as_written_and_the_name_in_front_last(string selector, string terms) => Assert.Equal(terms, Print(selector));

    [Theory]
    [InlineData("\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"'\"", "\a\b\f\n\r\t\v\\\"'")]
    [InlineData("'\\'\"'", "'\"")]
    [InlineData("`\\n\"'`", "\\n\"'")]
    [InlineData("\"\\101\\x42\\u00e9\\U0001F600\\xc3\\xa9\"", "AB\u00e9\U0001F600\u00e9")]
    [InlineData("\"\\000\"", "\0")]
    public void Strings_are_those_of_Go(string literal, string value) =>
        Assert.Equal(value, Assert.Single(SelectorParser.Parse($"{{a={literal}}}")).Value);

    [Fact]
    public void A_string_that_is_no_UTF_8_is_refused_because_no_label_can_be_that() => Assert.Equal(
        "1:4: parse error: a string that is not valid UTF-8 matches no label", Refusal("{a=\"\\xff\"}"));

    [Fact]
    public void Too_many_terms_and_too_long_texts_are_refused()
    {
        string full = string.Join(',', Enumerable.Repeat("a=\"b\"", SelectorParser.MaxTerms));
        Assert.Equal(SelectorParser.MaxTerms, SelectorParser.Parse($"{{{full}}}").Count);
        Assert.Equal("1:602: parse error: more than 100 matchers", Refusal($"{{{full},c=\"d\"}}"));
        Assert.Contains("longer than", Refusal(new string('a', SelectorParser.MaxBytes + 1)), StringComparison.Ordinal);
    }

    [Fact]
    public void Whatever_is_cut_off_or_changed_is_taken_or_refused_and_nothing_else()
    {
        string[] selectors = [.. Recorded.Select(static row => (string)((object[])row)[0])];
        var random = new Random(20);
        const string Alphabet = "{}()[],=!~\"'`\\ab_:.019 #\n\u00e9xuU*";
        for (int round = 0; round < 20_000; round++)
        {
            char[] text = selectors[random.Next(selectors.Length)].ToCharArray();
            for (int i = 0; i < random.Next(3) && text.Length > 0; i++) text[random.Next(text.Length)] = Alphabet[random.Next(Alphabet.Length)];
            try
            {
                Assert.InRange(SelectorParser.Parse(new string(text, 0, random.Next(text.Length + 1))).Count, 0, SelectorParser.MaxTerms);
            }
            catch (SelectorException refused)
            {
                Assert.Contains(": parse error: ", refused.Message, StringComparison.Ordinal);
            }
        }
    }

    private static string Refusal(string selector) => Assert.Throws<SelectorException>(() => SelectorParser.Parse(selector)).Message;

    private static string Print(string selector) => string.Join(' ', SelectorParser.Parse(selector).Select(static term =>
        $"{term.Name}{term.Type switch { MatcherType.Equal => "=", MatcherType.NotEqual => "!=", MatcherType.Regex => "=~", _ => "!~" }}{term.Value}"));
}
