using CsCheck;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

/// <summary>Which selectors an expression has. What Prometheus says to a hundred expressions is in <c>Data/api/exemplars.txt</c>.</summary>
public sealed class ExpressionSelectorsTests
{
    [Theory]
    [InlineData("up", "1:1 up")]
    [InlineData("1 + up{a=\"b\"} * \n  {c!=\"d\"}", "1:5 up{a=b}|2:3 {c!=d}")]
    [InlineData("sum by (le, \"x.y\") (rate(a[5m])) / on (le) group_left (b) c offset -1h", "1:26 a|1:59 c")]
    [InlineData("by and offset or (start unless bottomk)", "1:1 by|1:8 offset|1:19 start|1:32 bottomk")]
    [InlineData("quantile(.5, (a)) without (b, c,)", "1:15 a")]
    [InlineData("max_over_time((-a)[1h:5m] offset 1d @ end()) > bool 1e-3", "1:17 a")]
    [InlineData("a[5m : ]", "1:1 a")]
    [InlineData("a @ -1.5 offset +1h30m", "1:1 a")]
    [InlineData("absent(a{b=\"} # (\"}) # ) {", "1:8 a{b=} # (}")]
    [InlineData("job:rate:5m", "1:1 job:rate:5m")]
    [InlineData("time() - 0x1f", "")]
    [InlineData("sum(\"a\" + `b`)", "")]
    [InlineData("a SUM b", null)]
    [InlineData("a:b(c)", "1:5 c")]
    [InlineData("a b", null)]
    [InlineData("a +", null)]
    [InlineData("(a, b)", null)]
    [InlineData("sum(a) by (b) by (c)", null)]
    [InlineData("rate(a) by (b)", null)]
    [InlineData("a[5m][5m]", null)]
    [InlineData("(a)[5m]", null)]
    [InlineData("a offset 5m [5m]", null)]
    [InlineData("a @ start(", null)]
    [InlineData("a @ start)", null)]
    [InlineData("a and on b", null)]
    [InlineData("a[5m:1m", null)]
    [InlineData("{__name__=\"a\",__name__=\"b\"}", null)]
    public void Selectors_are_found_where_they_are(string expression, string? expected)
    {
        if (expected is null) Assert.Contains("parse error: ", Assert.Throws<SelectorException>(() => ExpressionSelectors.Find(expression)).Message, StringComparison.Ordinal);
        else Assert.Equal(expected, Print(ExpressionSelectors.Find(expression)));
    }

    [Fact]
    public void Of_any_expression_the_selectors_are_found_that_were_put_into_it() => Gen.Int.Sample(seed =>
    {
        var random = new Random(seed);
        var expected = new List<string>();
        string expression = Expression(random, depth: 0, expected);
        Assert.Equal(expected, ExpressionSelectors.Find(expression).Select(static selector => Print(selector)));
    });

    [Fact]
    public void Whatever_is_done_to_an_expression_it_is_read_or_refused() => Gen.Int.Sample(
        seed =>
        {
            var random = new Random(seed);
            char[] text = Expression(random, depth: 0, []).ToCharArray();
            const string Letters = "(){}[]\"'`\\=!~@:,#\n+-. a5ü";
            for (int i = random.Next(4); i >= 0; i--) text[random.Next(text.Length)] = Letters[random.Next(Letters.Length)];
            try
            {
                ExpressionSelectors.Find(new string(text, 0, random.Next(text.Length + 1)));
            }
            catch (SelectorException)
            {
                // And nothing else.
            }
        },
        iter: 20_000);

    [Fact]
    public void Depth_and_number_are_bounded_by_no_stack()
    {
        string deep = new('(', 100_000);
        Assert.Equal("1:200001 a", Print(ExpressionSelectors.Find(deep + deep + "a" + new string(')', 200_000))));
        Assert.Throws<SelectorException>(() => ExpressionSelectors.Find(string.Join('+', Enumerable.Repeat("a", ExpressionSelectors.MaxSelectors + 1))));
        Assert.Throws<SelectorException>(() => ExpressionSelectors.Find(new string(' ', SelectorParser.MaxBytes) + "a"));
    }

    private static string Expression(Random random, int depth, List<string> expected)
    {
        string left = Operand(random, depth, expected);
        if (random.Next(3) > 0 || depth > 5) return left;
        string[] operators = ["+", "-", "*", "/", "%", "^", "==", "!= bool", "<", ">= bool ignoring(a)", "and", "OR", "unless on()", "atan2", "* on(a, b) group_left ()", "/ ignoring (x) group_right(y,)"];
        return $"{left} {operators[random.Next(operators.Length)]} {Operand(random, depth, expected)}";
    }

    private static string Operand(Random random, int depth, List<string> expected)
    {
        string blank = random.Next(6) switch { 0 => " ", 1 => "\n# {a} (\n", _ => "" };
        switch (depth > 4 ? random.Next(3) : random.Next(9))
        {
            case 0: return blank + new[] { "1", "0x1F", "1.5e-3", "Inf", "-.5", "\"a{b}\"", "`(`", "+ nan" }[random.Next(8)];
            case 1 or 2: return blank + Selector(random, expected) + new[] { "", "[5m]", "[1h:5m]", "[1d:] offset 5m", " offset -5m", " @ 1.5", " @ end() offset 1w" }[random.Next(7)];
            case 3: return $"{blank}({Expression(random, depth + 1, expected)})";
            case 4: return $"-({Expression(random, depth + 1, expected)})[1h:5m]";
            case 5: return $"sum by (a, job) ({Expression(random, depth + 1, expected)})";
            case 6: return $"{blank}topk(3, {Expression(random, depth + 1, expected)}) without (le)";
            case 7: return "time()";
            default: return $"f(\"x\", {Expression(random, depth + 1, expected)}, {Expression(random, depth + 1, expected)})";
        }
    }

    private static string Selector(Random random, List<string> expected)
    {
        string[] names = ["up", "sum", "by", "a:b", "offset", "start", "f"];
        string name = names[random.Next(names.Length)];
        switch (random.Next(4))
        {
            case 0:
                expected.Add(name);
                return name;
            case 1:
                expected.Add($"{name}{{a=x)}}");
                return $"{name}{{a=\"x)\"}}";
            case 2:
                expected.Add("{b!~c.*,d=}");
                return "{b !~ 'c.*', \"d\"=``,}";
            default:
                expected.Add("{__name__=my.metric}");
                return "{\"my.metric\"}";
        }
    }

    private static string Print(IReadOnlyList<ExpressionSelector> selectors) => string.Join('|', selectors.Select(static selector => $"{selector.Place} {Print(selector)}"));

    private static string Print(ExpressionSelector selector)
    {
        SelectorTerm? name = selector.Terms.LastOrDefault(static term => term.Name == "__name__");
        bool isInside = name is not null && (name.Value.Contains('.', StringComparison.Ordinal) || selector.Terms[^1] != name);
        IEnumerable<string> terms = selector.Terms.Where(term => isInside || term != name).Select(static term => $"{term.Name}{Sign(term.Type)}{term.Value}");
        string braces = string.Join(',', terms);
        return (isInside ? "" : name?.Value) + (braces.Length > 0 ? $"{{{braces}}}" : "");
    }

    private static string Sign(MatcherType type) => type switch { MatcherType.Equal => "=", MatcherType.NotEqual => "!=", MatcherType.Regex => "=~", _ => "!~" };
}
