using System.Text.RegularExpressions;
using CsCheck;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

/// <summary>RE2's meaning, row by row of the protocol page's section 7. Expectations are Go's.</summary>
public class MatcherRegexTests
{
    [Theory]

    // Anchoring and the dot
    [InlineData("foo", "foo", true)]
    [InlineData("foo", "xfoo", false)]
    [InlineData("foo", "foo\n", false)]
    [InlineData("foo$", "foo\n", false)]
    [InlineData("fo*$", "foo\n", false)]
    [InlineData("a|b*", "ab", false)]
    [InlineData("a.c", "a\nc", true)]
    [InlineData("a.+", "a\n", true)]
    [InlineData("(?-s:a.c)", "a\nc", false)]
    [InlineData("(?-s:a.*)", "ab\n", false)]
    [InlineData("(?-s)a.*", "abc", true)]
    [InlineData("foo.*bar", "foobar", true)]
    [InlineData("foo.*bar", "fobar", false)]
    [InlineData("foo.*oo", "foo", false)]
    [InlineData("foo.+bar", "foobar", false)]
    [InlineData("foo.+bar", "foo\nbar", true)]
    [InlineData("a.*b.*c", "axbybzc", true)]
    [InlineData("a.*b.*c", "acb", false)]
    [InlineData("a.+b.+c", "abbbc", true)]
    [InlineData("a.+b.+c", "abbc", false)]
    [InlineData(".*foo.*|bar", "xfoox", true)]
    [InlineData(".*foo.*|bar", "barx", false)]
    [InlineData("5..", "503", true)]
    [InlineData("5..", "5033", false)]

    // Astral code points are one character
    [InlineData(".", "😀", true)]
    [InlineData("..", "😀", false)]
    [InlineData(".+.+", "😀", false)]
    [InlineData(".+.+", "😀a", true)]
    [InlineData(".?x?", "😀", true)]
    [InlineData("a.b[0-9]*", "a😀b", true)]
    [InlineData("[^a]", "😀", true)]
    [InlineData("[^a][^a]", "😀", false)]
    [InlineData("[^😀]", "😀", false)]
    [InlineData("[^😀]", "😁", true)]
    [InlineData("[😀-😂]+", "😁😂", true)]
    [InlineData("[😀-😂]+", "😃", false)]
    [InlineData("[\U00010000-\U0010FFFF]+", "\U00010000\U000103FF\U00010400\U0010FFFF😀", true)]
    [InlineData("[\U00010400-\U00020000]+", "\U00010400\U0001FFFF\U00020000", true)]
    [InlineData("[\U00010400-\U00020000]+", "\U000103FF", false)]
    [InlineData("[\U00010400-\U00020000]+", "\U00020001", false)]
    [InlineData("[\uFFF0-\U00010001]+", "\uFFF0\uFFFF\U00010000\U00010001", true)]
    [InlineData("😀*", "😀😀", true)]
    [InlineData(@"\x{1F600}+", "😀😀", true)]
    [InlineData("\\D+", "😀", true)]

    // Perl and POSIX classes are ASCII
    [InlineData(@"\d+", "12", true)]
    [InlineData(@"\d+", "٣", false)]
    [InlineData(@"\w+", "aZ_9", true)]
    [InlineData(@"\w+", "é", false)]
    [InlineData(@"\W+", "é", true)]
    [InlineData(@"\s+", "\t\n\f\r ", true)]
    [InlineData(@"\s", "\v", false)]
    [InlineData(@"\s", "\u0085", false)]
    [InlineData(@"\s", "\u00a0", false)]
    [InlineData(@"\S+", "\v\u00a0", true)]
    [InlineData(@"[\d\-x]+", "1-x", true)]
    [InlineData(@"[^\d]+", "abc", true)]
    [InlineData(@"[^\d]+", "a1", false)]
    [InlineData("[[:alpha:]]+", "aZ", true)]
    [InlineData("[[:alpha:]]+", "é", false)]
    [InlineData("[[:^alpha:]]+", "é1", true)]
    [InlineData("[[:space:]]+", "\v ", true)]
    [InlineData("[[:word:][:punct:]]+", "a_!~", true)]
    [InlineData("[[:xdigit:]]+", "0aF", true)]
    [InlineData("[[:xdigit:]]+", "g", false)]

    // Classes
    [InlineData("[a-z-[aeiou]]+", "b-[]", false)]
    [InlineData("[a-z-[aeiou]+", "b-[", true)]
    [InlineData("[a-z-[aeiou]]", "b]", true)]
    [InlineData("[]a]+", "]a", true)]
    [InlineData("[^]a]+", "b", true)]
    [InlineData("[^]a]+", "]", false)]
    [InlineData("[a-]+", "a-", true)]
    [InlineData("[-a]+", "a-", true)]
    [InlineData("[a\\]b]+", "a]b", true)]
    [InlineData("[.*+]{3}x?", ".*+", true)]
    [InlineData("[&&]+", "&", true)]
    [InlineData(@"[\x41-\x43]+", "ABC", true)]
    [InlineData(@"[\n]+", "\n", true)]
    [InlineData("[^a]+", "\n", true)]
    [InlineData(@"\pL+", "aé中", true)]
    [InlineData(@"\pL+", "1", false)]
    [InlineData(@"\p{Lu}+", "AÉ", true)]
    [InlineData(@"\p{Lu}+", "a", false)]
    [InlineData(@"\p{^Lu}+", "a", true)]
    [InlineData(@"\PN+", "a", true)]
    [InlineData(@"\P{N}+", "1", false)]
    [InlineData(@"[\p{Nd}x]+", "٣x", true)]
    [InlineData(@"\p{L}+", "𝒜", true)]
    [InlineData(@"\p{Any}+", "a😀\n", true)]

    // Escapes
    [InlineData(@"\Qa.b\E+", "a.bb", true)]
    [InlineData(@"\Qa.b\E+", "axb", false)]
    [InlineData(@"\Qa*\E", "a*", true)]
    [InlineData(@"\x41\x{42}\103", "ABC", true)]
    [InlineData(@"\101+", "AA", true)]
    [InlineData(@"\0", "\0", true)]
    [InlineData(@"\07+", "\a", true)]
    [InlineData(@"\a\f\n\r\t\v", "\a\f\n\r\t\v", true)]
    [InlineData(@"\.\*\_\-\/\#", ".*_-/#", true)]
    [InlineData(@"\Afoo\z", "foo", true)]
    [InlineData(@"a\zb*", "a", true)]
    [InlineData(@"a*\Ab*", "bb", true)]
    [InlineData(@"a*\Ab*", "ab", false)]

    // Word boundaries are ASCII
    [InlineData(@"a+\b.+", "aa b", true)]
    [InlineData(@"a+\b.+", "aab", false)]
    [InlineData(@"a+\b.+", "aé", true)]
    [InlineData(@"é+\b.+", "éa", true)]
    [InlineData(@"é+\b.+", "éé", false)]
    [InlineData(@"é+\B.+", "éé", true)]
    [InlineData(@"\bfoo\b", "foo", true)]
    [InlineData(@"\b", "", false)]
    [InlineData(@"\B", "", true)]
    [InlineData(@".*\b1_z\b.*", "a-1_z😀", true)]
    [InlineData(@".*\b1_z\b.*", "a-1_zA", false)]

    // Anchors inside
    [InlineData("^^foo$$", "foo", true)]
    [InlineData("(^foo|bar$)x*", "foo", true)]
    [InlineData("(^foo|bar$)x*", "barx", false)]
    [InlineData("(a$|b)*", "ba", true)]
    [InlineData("(a$|b)*", "ab", false)]
    [InlineData("(?m)a$\n^b*", "a\nbb", true)]
    [InlineData("(?m:^a$\n)+", "a\na\n", true)]
    [InlineData("a$\nb*", "a\nb", false)]
    [InlineData("^*a+", "a", true)]

    // Groups and flags
    [InlineData("(?P<n>a)(?<m>b)+", "abb", true)]
    [InlineData("(?P<n>a)(?P<n>b)+", "abb", true)]
    [InlineData("(?:a|b)+", "abab", true)]
    [InlineData("(?i)foo[0-9]*", "FoO1", true)]
    [InlineData("(?i)k+", "kK\u212A", true)]
    [InlineData("(?i)s+", "sS\u017F", true)]
    [InlineData("(?i)σ+", "σςΣ", true)]
    [InlineData("(?i)[k]+", "\u212A", true)]
    [InlineData("(?i)[^k]+", "\u212A", false)]
    [InlineData("(?i)[^k]+", "K", false)]
    [InlineData("(?i)[B-\u2000]+", "aA\u212A", true)]
    [InlineData("(?i)[^B-\u2000]+", "A", false)]
    [InlineData("(?i)[b-d[:digit:]x-z]+", "BCD5XZ", true)]
    [InlineData("(?i)[[:^lower:]]+", "A", false)]
    [InlineData(@"(?i)\w+", "\u017F\u212A", true)]
    [InlineData(@"(?i)\p{Lu}+", "a", true)]
    [InlineData("(?i)ß+", "ẞ", true)]
    [InlineData("(?i)ß+", "ss", false)]
    [InlineData("(?i)i+", "İ", false)]
    [InlineData("(?i)i+", "ı", false)]
    [InlineData("(?i)𐐀+", "𐐨", true)]
    [InlineData("(?i:a)b+", "Ab", true)]
    [InlineData("(?i:a)b+", "AB", false)]
    [InlineData("a(?i)b|c+", "C", true)]
    [InlineData("(a(?i)b)c+", "aBc", true)]
    [InlineData("(a(?i)b)c+", "aBC", false)]
    [InlineData("(?U)a+", "aa", true)]
    [InlineData("(?i-s)a.+", "A\n", false)]
    [InlineData("()+x*", "", true)]
    [InlineData("(a|)+", "aa", true)]

    // Repetition
    [InlineData("a*?b+?c??", "aab", true)]
    [InlineData("a{2}x*", "aa", true)]
    [InlineData("a{2,}", "a", false)]
    [InlineData("a{2,}", "aaa", true)]
    [InlineData("a{0}b*", "b", true)]
    [InlineData("a{,2}", "a{,2}", true)]
    [InlineData("a{,2}x*", "aa", false)]
    [InlineData("{x}*", "{x}", true)]
    [InlineData("a{01}", "a{01}", true)]
    [InlineData("a{1,x}", "a{1,x}", true)]
    [InlineData("(?:a{3}){4}x*", "aaaaaaaaaaaa", true)]
    [InlineData("]}", "]}", true)]
    public void Matches_as_Go_does(string pattern, string value, bool expected)
    {
        Assert.Equal(expected, Matches(pattern, value));

        // Once more with the shortcuts out of the way.
        Assert.Equal(expected, Matches($"(?:{pattern}){NoShortcut}", value));
    }

    [Theory]
    [InlineData("(?=a)", "invalid or unsupported Perl syntax: `(?=`")]
    [InlineData("(?!a)", "invalid or unsupported Perl syntax: `(?!`")]
    [InlineData("(?<=a)b", "invalid named capture: `(?<=a)b`")]
    [InlineData("(?<!a)b>c", "invalid named capture: `(?<!a)b>`")]
    [InlineData("(?<", "invalid or unsupported Perl syntax: `(?<`")]
    [InlineData("(?P<", "invalid or unsupported Perl syntax: `(?P`")]
    [InlineData("(?i-😀)", "invalid or unsupported Perl syntax: `(?i-😀`")]
    [InlineData("(?>a)", "invalid or unsupported Perl syntax: `(?>`")]
    [InlineData("(?(1)a|b)", "invalid or unsupported Perl syntax: `(?(`")]
    [InlineData("(?#x)", "invalid or unsupported Perl syntax: `(?#`")]
    [InlineData("(?'n'a)", "invalid or unsupported Perl syntax: `(?'`")]
    [InlineData("(?n)a", "invalid or unsupported Perl syntax: `(?n`")]
    [InlineData("(?x)a", "invalid or unsupported Perl syntax: `(?x`")]
    [InlineData("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`")]
    [InlineData("(?P=n)", "invalid or unsupported Perl syntax: `(?P`")]
    [InlineData("(?P<n-m>a)", "invalid named capture: `(?P<n-m>`")]
    [InlineData("(?P<n", "invalid named capture: `(?P<n`")]
    [InlineData("(?P<>a)", "invalid named capture: `(?P<>`")]
    [InlineData(@"(a)\1", @"invalid escape sequence: `\1`")]
    [InlineData(@"\8", @"invalid escape sequence: `\8`")]
    [InlineData(@"\Z", @"invalid escape sequence: `\Z`")]
    [InlineData(@"\G", @"invalid escape sequence: `\G`")]
    [InlineData(@"\e", @"invalid escape sequence: `\e`")]
    [InlineData(@"\cA", @"invalid escape sequence: `\c`")]
    [InlineData(@"\C", @"invalid escape sequence: `\C`")]
    [InlineData(@"\u0041", @"invalid escape sequence: `\u`")]
    [InlineData(@"\k<n>", @"invalid escape sequence: `\k`")]
    [InlineData(@"\é", @"invalid escape sequence: `\é`")]
    [InlineData(@"\x4", @"invalid escape sequence: `\x4`")]
    [InlineData(@"\x", @"invalid escape sequence: `\x`")]
    [InlineData(@"\xg1", @"invalid escape sequence: `\xg1`")]
    [InlineData(@"\x4é", @"invalid escape sequence: `\x4é`")]
    [InlineData(@"\x{}", @"invalid escape sequence: `\x{}`")]
    [InlineData(@"\x{4g}", @"invalid escape sequence: `\x{4g`")]
    [InlineData(@"\x{41", @"invalid escape sequence: `\x{41`")]
    [InlineData(@"\x{110000}", @"invalid escape sequence: `\x{110000`")]
    [InlineData(@"[\b]", @"invalid escape sequence: `\b`")]
    [InlineData(@"[a-\d]", @"invalid escape sequence: `\d`")]
    [InlineData(@"\", "trailing backslash at end of expression: ``")]
    [InlineData("a**", "invalid nested repetition operator: `**`")]
    [InlineData("a*+", "invalid nested repetition operator: `*+`")]
    [InlineData("a++", "invalid nested repetition operator: `++`")]
    [InlineData("a*??", "invalid nested repetition operator: `*??`")]
    [InlineData("a{2}{3}", "invalid nested repetition operator: `{2}{3}`")]
    [InlineData("*a", "missing argument to repetition operator: `*`")]
    [InlineData("a|*", "missing argument to repetition operator: `*`")]
    [InlineData("(+)", "missing argument to repetition operator: `+`")]
    [InlineData("(?i)*", "missing argument to repetition operator: `*`")]
    [InlineData("a{1001}", "invalid repeat count: `{1001}`")]
    [InlineData("a{2,1}", "invalid repeat count: `{2,1}`")]
    [InlineData("a{1,99999999999}", "invalid repeat count: `{1,99999999999}`")]
    [InlineData("(a{100}){11}", "invalid repeat count: `{11}`")]
    [InlineData("((a{10,}){10}){11}", "invalid repeat count: `{11}`")]
    [InlineData("(a", "missing closing ): `(a`")]
    [InlineData("(?i", "invalid or unsupported Perl syntax: `(?i`")]
    [InlineData("a)", "unexpected ): `a)`")]
    [InlineData("a)(b", "unexpected ): `a)(b`")]
    [InlineData("[a", "missing closing ]: `[a`")]
    [InlineData("[a-", "missing closing ]: `[a-`")]
    [InlineData("[]", "missing closing ]: `[]`")]
    [InlineData("[b-a]", "invalid character class range: `b-a`")]
    [InlineData("[[:foo:]]", "invalid character class range: `[:foo:]`")]
    [InlineData(@"\pZz", null)]
    [InlineData(@"\p{Zz}", @"invalid character class range: `\p{Zz}`")]
    [InlineData(@"\p{L", @"invalid character class range: `\p{L`")]
    [InlineData(@"\p", @"invalid character class range: `\p`")]
    public void What_Go_refuses_or_we_cannot_translate_is_refused_saying_why(string pattern, string? problem)
    {
        if (problem is null)
        {
            Matcher.Create(MatcherType.Regex, "a", pattern);
            Matcher.CheckSyntax(MatcherType.Regex, pattern);
            return;
        }

        foreach (MatcherType type in new[] { MatcherType.Regex, MatcherType.NotRegex })
        {
            MatcherException refused = Assert.Throws<MatcherException>(() => Matcher.Create(type, "a", pattern));
            Assert.Equal("error parsing regexp: " + problem, refused.Message);
            Assert.Equal(refused.Message, Assert.Throws<MatcherException>(() => Matcher.CheckSyntax(type, pattern)).Message);
        }
    }

    [Fact]
    public void A_pattern_that_is_no_text_is_refused() =>
        Assert.Equal("error parsing regexp: invalid UTF-8: ``", Assert.Throws<MatcherException>(() => Matches("a\uD800", "a")).Message);

    [Fact]
    public void A_quotation_may_end_with_the_pattern() => Assert.True(Matches(@"[0-9]*\Qa*", "1a*"));

    [Fact]
    public void More_characters_and_classes_than_the_automaton_can_tell_apart_are_refused()
    {
        string ascii = string.Concat(Enumerable.Range(0, 127).Select(static i => $@"\x{i:x2}*"));
        Assert.True(Matches(ascii, "\0\tZa~"));
        MatcherException refused = Assert.Throws<MatcherException>(() => Matches(ascii + "é*ö*", "a"));
        Assert.StartsWith("error parsing regexp: more than 128 different characters", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_largest_repeats_that_Go_allows_are_allowed()
    {
        Assert.True(Matches("a{1000}", new string('a', 1000)));
        Assert.True(Matches("(?:a{100}){10}b*", new string('a', 1000)));
        Assert.True(Matches("(?:(?:a{1000})*)?b*", new string('a', 2000)));
    }

    [Theory]
    [InlineData("(", "a", ")", 300, true)]
    [InlineData("(", "a", ")", 1000, true)]
    [InlineData("(", "a", ")", 1001, false)]
    [InlineData("(a?", "a", ")", 1000, true)]
    [InlineData("(b|", "a", ")", 1000, true)]
    [InlineData("(", "a", ")*", 1000, true)]
    [InlineData("(b?(?:c|", "a", "))", 500, true)]
    public void Nesting_is_bounded_as_in_Go(string open, string inner, string close, int depth, bool allowed)
    {
        string pattern = string.Concat(Enumerable.Repeat(open, depth)) + inner + string.Concat(Enumerable.Repeat(close, depth)) + "[0-9]*";
        if (allowed) Assert.True(Matches(pattern, "a"));
        else Assert.Contains("nests too deeply", Assert.Throws<MatcherException>(() => Matches(pattern, "a")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("(", ")")]
    [InlineData("(a?", ")")]
    [InlineData("(b|", ")")]
    [InlineData("(", ")*")]
    [InlineData("(b?(?:c|", "){2})")]
    public void Deep_nesting_on_a_small_stack_ends_in_an_answer_or_a_refusal(string open, string close)
    {
        string? problem = "it did not end";
        var thread = new Thread(
            () =>
            {
                try
                {
                    string pattern = string.Concat(Enumerable.Repeat(open, 900)) + "a" + string.Concat(Enumerable.Repeat(close, 900)) + "[0-9]*";
                    problem = Matches(pattern, "a") ? null : "it does not match";
                }
                catch (MatcherException refused)
                {
                    problem = refused.Message.Contains("nests too deeply", StringComparison.Ordinal) || refused.Message.Contains("invalid repeat count", StringComparison.Ordinal)
                        ? null
                        : refused.Message;
                }
            },
            maxStackSize: 256 << 10);
        thread.Start();
        thread.Join();
        Assert.Null(problem);
    }

    [Theory]
    [InlineData(@"\x{D800}", "\uFFFD", true)]
    [InlineData(@"\x{DFFF}.*", "\uFFFDx", true)]
    [InlineData(@"a[\x{DABC}]", "a\uFFFD", true)]
    [InlineData(@"\x{D800}", "a", false)]
    [InlineData(@"[\x{D800}-\x{DFFF}]", "\uFFFD", false)]
    public void Half_a_character_is_the_replacement_character_as_Go_writes_it(string pattern, string value, bool expected) =>
        Assert.Equal(expected, Matches(pattern, value));

    [Theory]
    [InlineData(".", 16384)]
    [InlineData("(a|b)?", 2700)]
    [InlineData(@"\pL", 5400)]
    [InlineData(@"(?i)\pL", 2300)]
    [InlineData("(?i)k", 3200)]
    [InlineData("[a-z]{1,99}", 1400)]
    [InlineData("(.{1,30}){1,30}", 1000)]
    [InlineData(".*a.+b", 2700)]
    public void Large_patterns_end_soon_in_an_answer_or_a_refusal(string unit, int count)
    {
        string pattern = string.Concat(Enumerable.Repeat(unit, count));
        try
        {
            Matches(pattern, "abc");
        }
        catch (MatcherException refused)
        {
            Assert.Contains("expression too large", refused.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("(a*)*b")]
    [InlineData("(a|aa)+b")]
    [InlineData("(a|a?)+b")]
    [InlineData("(.*a){12}b")]
    public void Catastrophic_patterns_take_linear_time(string pattern) => Assert.False(Matches(pattern, new string('a', 4096)));

    [Fact]
    public void Translated_sets_contain_exactly_their_members() =>
        Gen.Select(
            Gen.Select(CodePoint, CodePoint, static (a, b) => (Low: Math.Min(a, b), High: Math.Max(a, b))).Array[1, 4],
            Gen.Bool,
            CodePoint).Sample((ranges, negated, probe) =>
        {
            if (probe is >= 0xD800 and <= 0xDFFF) return true;
            string members = string.Concat(ranges.Select(static range => $@"\x{{{range.Low:X}}}-\x{{{range.High:X}}}"));
            bool expected = negated != Array.Exists(ranges, range => probe >= range.Low && probe <= range.High);
            return Matches($"[{(negated ? "^" : "")}{members}]{NoShortcut}", char.ConvertFromUtf32(probe)) == expected;
        }, iter: 300);

    [Fact]
    public void Patterns_of_the_common_core_match_as_in_DotNet()
    {
        Gen<string> atom = Gen.OneOf("a", "b", "[ab]", "[^a]", ".", @"\n", "(?:a|bc)", "(?:|b)", @"\x61", "^", "$");
        Gen<string> item = Gen.Select(atom, Gen.OneOf("", "", "", "*", "+", "?", "{2}", "{1,}", "{0,2}"), static (a, repeat) => a + repeat);
        Gen<string> pattern = Gen.Select(item.Array[0, 4], static items => string.Concat(items)).Array[1, 3]
            .Select(static branches => string.Join('|', branches));
        Gen.Select(pattern, Gen.String[Gen.OneOf('a', 'b', 'c', '\n'), 0, 5]).Sample((text, value) =>
        {
            string dotNet = text.Replace("$", @"\z", StringComparison.Ordinal);
            return Matches(text, value) == Regex.IsMatch(value, $@"\A(?:{dotNet})\z", RegexOptions.Singleline | RegexOptions.CultureInvariant);
        }, iter: 400);
    }

    [Fact]
    public void Any_text_as_a_pattern_is_compiled_or_refused_and_quoted_it_matches_itself() =>
        Gen.String[Gen.OneOf(Gen.OneOf("()[]{}*+?|^$.\\-,:<>#&P0123abBdDpxQEzAi".ToCharArray()), Gen.Char['à', 'ö']), 0, 12].Sample(pattern =>
        {
            try
            {
                Matches(pattern, "a");
            }
            catch (MatcherException)
            {
            }

            return pattern.Contains('\\', StringComparison.Ordinal) || Matches($@"\Q{pattern}\E{NoShortcut}", pattern);
        }, iter: 400);

    private const string NoShortcut = "(?:\x01{2})*";

    private static Gen<int> CodePoint => Gen.OneOf(Gen.Int[0, 0x10FFFF], Gen.Int[0, 0x2FF], Gen.Int[0xD700, 0xE100], Gen.Int[0xFF00, 0x10500]);

    private static bool Matches(string pattern, string value) =>
        Matcher.Create(MatcherType.Regex, "a", pattern).Matches(System.Text.Encoding.UTF8.GetBytes(value));

    [Fact]
    public void An_expression_that_costs_too_much_for_all_values_together_is_refused_while_it_is_matched()
    {
        // 15 µs a character: all 1,000 values would be half a minute.
        Matcher matcher = Matcher.Create(MatcherType.Regex, "a", ".*a.{500}b");
        byte[] value = System.Text.Encoding.UTF8.GetBytes(new string('a', 2000));
        MatcherException refused = Assert.Throws<MatcherException>(() =>
        {
            for (int i = 0; i < 1000; i++) matcher.Matches(value);
        });
        Assert.Contains("regexp is too expensive", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_expression_of_the_usual_cost_may_be_matched_with_any_number_of_values()
    {
        Matcher matcher = Matcher.Create(MatcherType.NotRegex, "pod", ".*-[0-9a-f]{5}|web-[a-z]+-[0-9]{1,3}(-canary)?");
        byte[] value = "frontend-75fd8c9b5-xk2lq-in-a-name-of-some-length"u8.ToArray();
        int matching = 0;
        for (int i = 0; i < 2_000_000; i++)
        {
            if (matcher.Matches(value)) matching++;
        }

        Assert.Equal(2_000_000, matching);
    }
}
