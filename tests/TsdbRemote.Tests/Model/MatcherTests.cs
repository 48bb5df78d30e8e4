using CsCheck;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

public class MatcherTests
{
    [Theory]
    [InlineData(MatcherType.Equal, "a", "a", true)]
    [InlineData(MatcherType.Equal, "a", "ab", false)]
    [InlineData(MatcherType.Equal, "", "", true)]
    [InlineData(MatcherType.Equal, "a", "", false)]
    [InlineData(MatcherType.NotEqual, "a", "", true)]
    [InlineData(MatcherType.NotEqual, "a", "a", false)]
    [InlineData(MatcherType.NotEqual, "", "", false)]
    [InlineData(MatcherType.NotEqual, "", "x", true)]
    [InlineData(MatcherType.Regex, ".*", "", true)]
    [InlineData(MatcherType.Regex, "|a", "", true)]
    [InlineData(MatcherType.Regex, ".+", "", false)]
    [InlineData(MatcherType.Regex, "", "", true)]
    [InlineData(MatcherType.Regex, "", "a", false)]
    [InlineData(MatcherType.NotRegex, ".+", "", true)]
    [InlineData(MatcherType.NotRegex, ".*", "", false)]
    [InlineData(MatcherType.NotRegex, ".*", "a", false)]
    [InlineData(MatcherType.NotRegex, "a", "", true)]
    [InlineData(MatcherType.NotRegex, "a|b", "b", false)]
    public void An_absent_label_has_the_empty_value(MatcherType type, string pattern, string value, bool expected)
    {
        Matcher matcher = Matcher.Create(type, "foo", pattern);
        Assert.Equal(expected, matcher.Matches(Utf8(value)));
        Assert.Equal(matcher.Matches([]), matcher.MatchesEmpty);
    }

    [Fact]
    public void It_says_what_it_was_made_of()
    {
        Matcher matcher = Matcher.Create(MatcherType.NotRegex, "jöb", "a\"b");
        Assert.Equal((MatcherType.NotRegex, "jöb", "a\"b"), (matcher.Type, matcher.Name, matcher.Value));
        Assert.Equal(Utf8("jöb"), matcher.NameUtf8.ToArray());
        Assert.Equal("jöb!~\"a\\\"b\"", matcher.ToString());
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("foo", "foo")]
    [InlineData("foo|bar", "bar,foo")]
    [InlineData("foo|", ",foo")]
    [InlineData("(foo|bar)-[12]", "bar-1,bar-2,foo-1,foo-2")]
    [InlineData("a{2,3}", "aa,aaa")]
    [InlineData("(ab?)?c", "abc,ac,c")]
    [InlineData("(?i)ab", "AB,Ab,aB,ab")]
    [InlineData("(?i)k", "K,k,\u212A")]
    [InlineData(@"\Qa.b\E\.c", "a.b.c")]
    [InlineData("^foo$", "foo")]
    [InlineData("^(foo|bar)$", "bar,foo")]
    [InlineData("^foo$|^bar$", "bar,foo")]
    [InlineData("a|a|b", "a,b")]
    [InlineData("[a-c]é", "aé,bé,cé")]
    [InlineData("😀|[😁-😂]", "😀,😁,😂")]
    [InlineData(@"a\x{D800}|b", "a\uFFFD,b")]
    public void Finite_sets_are_expanded(string pattern, string values)
    {
        Matcher matcher = Matcher.Create(MatcherType.Regex, "a", pattern);
        Assert.NotNull(matcher.SetMatches);
        Assert.Equal(values.Split(','), matcher.SetMatches.Select(System.Text.Encoding.UTF8.GetString));
        foreach (byte[] value in matcher.SetMatches)
        {
            Assert.True(matcher.Matches(value));
            Assert.False(matcher.Matches([.. value, (byte)'~']));
        }
    }

    [Theory]
    [InlineData("[0-9]{2}", 100)]
    [InlineData("[a-z0-9]|[A-Z]{1}", 62)]
    [InlineData("[0-9a-f]{2}", 256)]
    public void Sets_are_expanded_up_to_256_values(string pattern, int count) =>
        Assert.Equal(count, Matcher.Create(MatcherType.Regex, "a", pattern).SetMatches!.Count);

    [Theory]
    [InlineData("[0-9]{3}")]
    [InlineData("a*")]
    [InlineData("a.")]
    [InlineData(".*")]
    [InlineData("foo.*")]
    [InlineData("[0-9a-f]{2}|x")]
    [InlineData("(?i)production")]
    public void What_is_no_small_set_is_not_expanded(string pattern) =>
        Assert.Null(Matcher.Create(MatcherType.Regex, "a", pattern).SetMatches);

    [Fact]
    public void Only_positive_matchers_offer_sets_and_prefixes()
    {
        Assert.Equal([Utf8("a|b")], Matcher.Create(MatcherType.Equal, "a", "a|b").SetMatches!);
        Assert.Null(Matcher.Create(MatcherType.NotEqual, "a", "a").SetMatches);
        Assert.Null(Matcher.Create(MatcherType.NotRegex, "a", "a|b").SetMatches);
        Assert.Null(Matcher.Create(MatcherType.NotRegex, "a", "foo.*").Prefix);
    }

    [Theory]
    [InlineData("foo.*", "foo")]
    [InlineData("foo.+bar", "foo")]
    [InlineData("foo[0-9]+", "foo")]
    [InlineData("foox*", "foo")]
    [InlineData("foo(bar)+", "foobar")]
    [InlineData("^foo.+x{3,}", "foo")]
    [InlineData("foo-.*|fob-.*", "fo")]
    [InlineData("foo|fob", "fo")]
    [InlineData("é.*", "é")]
    [InlineData(".*foo", null)]
    [InlineData("(?i)foo[0-9]*", null)]
    [InlineData("a*foo[0-9]*", null)]
    [InlineData("foo.*|.*", null)]
    public void The_literal_prefix_is_known(string pattern, string? prefix) =>
        Assert.Equal(prefix is null ? null : Utf8(prefix), Matcher.Create(MatcherType.Regex, "a", pattern).Prefix);

    [Fact]
    public void Names_and_values_are_bounded()
    {
        string longest = new('a', Matcher.MaxBytes);
        Assert.True(Matcher.Create(MatcherType.Equal, "a", longest).Matches(Utf8(longest)));
        Assert.True(Matcher.Create(MatcherType.Regex, "a", longest).Matches(Utf8(longest)));
        Assert.Equal(
            "matcher value is longer than 16384 bytes",
            Assert.Throws<MatcherException>(() => Matcher.Create(MatcherType.Regex, "a", longest + ".")).Message);
        Assert.Throws<MatcherException>(() => Matcher.Create(MatcherType.Equal, "a", longest + "a"));
        string longestLiteral = new('a', Matcher.MaxLiteralsBytes);
        Assert.True(Matcher.Create(MatcherType.Regex, "a", longestLiteral).Matches(Utf8(longestLiteral)));
        Assert.Throws<MatcherException>(() => Matcher.Create(MatcherType.Regex, "a", longestLiteral + "a"));
        Assert.Throws<MatcherException>(() => Matcher.Create(MatcherType.Regex, "a", new string('é', Matcher.MaxLiteralsBytes / 2 + 1)));
        Assert.Throws<MatcherException>(() => Matcher.Create(MatcherType.Equal, "a", new string('é', Matcher.MaxBytes / 2 + 1)));
        Assert.Throws<MatcherException>(() => Matcher.Create(MatcherType.Equal, longest + "a", "a"));
    }

    [Theory]
    [InlineData("{0}")]
    [InlineData("({0})")]
    [InlineData("(?:{0})")]
    public void Thousands_of_literal_values_are_a_set_however_long_they_are_together(string form)
    {
        string[] hosts = [.. Enumerable.Range(0, 3000).Select(static i => $"host{i}.example:9100")];
        string pattern = string.Format(System.Globalization.CultureInfo.InvariantCulture, form, string.Join('|', hosts.Select(static host => host.Replace(".", "\\.", StringComparison.Ordinal))));
        Assert.True(pattern.Length > Matcher.MaxBytes);
        Matcher matcher = Matcher.Create(MatcherType.Regex, "a", pattern);
        Assert.Equal(hosts.Order(StringComparer.Ordinal), matcher.SetMatches!.Select(System.Text.Encoding.UTF8.GetString));
        Matcher not = Matcher.Create(MatcherType.NotRegex, "a", pattern);
        foreach (string host in hosts) Assert.True(matcher.Matches(Utf8(host)) && !not.Matches(Utf8(host)));
        Assert.False(matcher.Matches(Utf8("host1xexample:9100")) || matcher.Matches(Utf8("")) || matcher.Matches(Utf8("host3000.example:9100")));
    }

    [Theory]
    [InlineData("a|b||a", "", "a", "b")]
    [InlineData("(a)", "a")]
    [InlineData("()", "")]
    [InlineData("(?:)", "")]
    [InlineData(@"\(a\)|\_|é\|", "(a)", "_", "é|")]
    public void Literal_values_are_read_as_the_parser_reads_them(string pattern, params string[] values)
    {
        Assert.Equal(values, Re2Shortcuts.Literals(pattern)!.Select(System.Text.Encoding.UTF8.GetString));
        Assert.Equal(values, Re2Pattern.Compile(pattern).Values!.Select(System.Text.Encoding.UTF8.GetString));
    }

    [Theory]
    [InlineData(@"(a\)")]
    [InlineData(@"a\")]
    [InlineData(@"\d|a")]
    [InlineData(@"\é")]
    [InlineData("(a|b)(c)")]
    [InlineData("(?i)")]
    [InlineData("a|b*")]
    [InlineData("^a|b$")]
    [InlineData("a|b\\")]
    public void What_is_not_only_literal_values_is_left_to_the_parser(string pattern) => Assert.Null(Re2Shortcuts.Literals(pattern));

    [Fact]
    public void Half_a_character_is_no_literal_value() => Assert.Null(Re2Shortcuts.Literals($"a|{(char)0xD800}"));

    [Theory]
    [InlineData(-1)]
    [InlineData(4)]
    public void Unknown_types_are_refused(int type) =>
        Assert.Equal($"invalid matcher type {type}", Assert.Throws<MatcherException>(() => Matcher.Create((MatcherType)type, "a", "b")).Message);

    [Fact]
    public void Shortcuts_match_what_the_automaton_matches()
    {
        // Pieces from which patterns of every shape are put together; the x* behind them keeps the automaton in use.
        Gen<string> piece = Gen.OneOf("a", "b", "ab", "é", ".*", ".+", "(a|b)", "(|a)", "[ab]", "a?", "", "\n", "^", "$");
        Gen<string> text = Gen.OneOf("a", "b", "é", "\n", "😀").Array[0, 6].Select(static parts => string.Concat(parts));
        Gen.Select(Gen.Select(piece.Array[0, 5], static pieces => string.Concat(pieces)).Array[1, 3], text).Sample((branches, value) =>
        {
            string pattern = string.Join('|', branches);
            Matcher matcher = Matcher.Create(MatcherType.Regex, "l", pattern);
            Matcher automaton = Matcher.Create(MatcherType.Regex, "l", $"(?:{pattern})x*");
            Assert.Null(automaton.SetMatches);
            return matcher.Matches(Utf8(value)) == automaton.Matches(Utf8(value));
        }, iter: 400);
    }

    [Fact]
    public void Matching_allocates_nothing_once_warm()
    {
        Matcher[] matchers =
        [
            Matcher.Create(MatcherType.Regex, "a", "foo|bar|baz"),
            Matcher.Create(MatcherType.Regex, "a", ".*needle.*"),
            Matcher.Create(MatcherType.Regex, "a", "[a-z]+-[0-9]+"),
        ];
        byte[][] values = [Utf8("bar"), Utf8("hay needle hay"), Utf8("node-17"), Utf8(new string('x', 1000) + "-1")];
        long least = long.MaxValue;   // a collection may trim the pools at any time, so one clean round is proof enough
        for (int i = 0; i < 20; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            foreach (Matcher matcher in matchers)
            {
                foreach (byte[] value in values) matcher.Matches(value);
            }

            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    private static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text);
}
