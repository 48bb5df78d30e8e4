using System.Globalization;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

/// <summary>Unicode scripts and categories in matchers: <c>\p{Greek}</c> and its like.</summary>
public class MatcherScriptTests
{
    private static readonly string[] Outcomes = File.ReadAllLines(Repository.TestData("re2-scripts/outcomes.txt"));

    public static TheoryData<string, string> Recorded
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (string line in Outcomes.Skip(1)) data.Add(line.Split('\t')[0], line.Split('\t')[1]);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Recorded))]
    public void Patterns_match_and_are_refused_as_in_Prometheus(string pattern, string outcome)
    {
        if (outcome.StartsWith("! ", StringComparison.Ordinal))
        {
            MatcherException refused = Assert.Throws<MatcherException>(() => Matches(pattern, ""));
            Assert.Equal("error parsing regexp: " + outcome[2..], refused.Message);
            return;
        }

        IEnumerable<string> matching = Values(Outcomes[0].Split('\t')[1]).Where(value => Matches(pattern, value));
        Assert.Equal(Values(outcome), matching);
    }

    [Theory]
    [InlineData("Latin", 0x41, 0x5A)]
    [InlineData("Latin", 0xF8, 0x2B8)]
    [InlineData("Greek", 0x370, 0x373)]
    [InlineData("Greek", 0x3A3, 0x3E1)]
    [InlineData("Cyrillic", 0x400, 0x484)]
    [InlineData("Armenian", 0x531, 0x556)]
    [InlineData("Hebrew", 0x591, 0x5C7)]
    [InlineData("Arabic", 0x60D, 0x61A)]
    [InlineData("Devanagari", 0x900, 0x950)]
    [InlineData("Thai", 0xE01, 0xE3A)]
    [InlineData("Georgian", 0x10A0, 0x10C5)]
    [InlineData("Hangul", 0xAC00, 0xD7A3)]
    [InlineData("Cherokee", 0x13A0, 0x13F5)]
    [InlineData("Hiragana", 0x3041, 0x3096)]
    [InlineData("Katakana", 0x30A1, 0x30FA)]
    [InlineData("Han", 0x3400, 0x4DBF)]
    [InlineData("Han", 0x4E00, 0x9FFF)]
    [InlineData("Han", 0x20000, 0x2A6DF)]
    [InlineData("Yi", 0xA000, 0xA48C)]
    [InlineData("Vai", 0xA500, 0xA62B)]
    [InlineData("Braille", 0x2800, 0x28FF)]
    [InlineData("Gothic", 0x10330, 0x1034A)]
    [InlineData("Deseret", 0x10400, 0x1044F)]
    [InlineData("SignWriting", 0x1D800, 0x1DA8B)]
    [InlineData("Inherited", 0x300, 0x36F)]
    [InlineData("Inherited", 0xE0100, 0xE01EF)]
    [InlineData("Common", 0, 0x40)]

    // What Unicode 15 added
    [InlineData("Arabic", 0x10EFD, 0x10EFF)]
    [InlineData("Cyrillic", 0x1E030, 0x1E06D)]
    [InlineData("Devanagari", 0x11B00, 0x11B09)]
    [InlineData("Egyptian_Hieroglyphs", 0x13000, 0x13455)]
    [InlineData("Han", 0x31350, 0x323AF)]
    [InlineData("Kawi", 0x11F3E, 0x11F59)]
    [InlineData("Nag_Mundari", 0x1E4D0, 0x1E4F9)]
    public void A_script_has_the_range_and_ends_with_it(string script, int low, int high)
    {
        Assert.All([low, low + (high - low) / 2, high], codePoint => AssertMember(script, codePoint, true));
        Assert.All([low - 1, high + 1], codePoint => AssertMember(script, codePoint, false));
    }

    [Fact]
    public void All_scripts_of_Unicode_15_are_there_each_assigned_code_point_in_one()
    {
        Assert.Equal(163, Re2Scripts.Names.Count);
        CodePointSet[] scripts = [.. Re2Scripts.Names.Select(Unicode)];
        (int Low, int High)[] ranges = [.. scripts.SelectMany(static set => set.Ranges.ToArray())];
        CodePointSet union = CodePointSet.Of(ranges);

        // Unicode 15.0 counts 149,186 graphic and format characters; the 65 controls come on top.
        Assert.Equal(149_186 + 65, union.Count);
        Assert.Equal(union.Count, scripts.Sum(static set => set.Count));
        CodePointSet unassigned = Unicode("Cn");
        Assert.DoesNotContain(ranges, range => unassigned.Contains(range.Low) || unassigned.Contains(range.High));
    }

    [Theory]
    [InlineData("C")]
    [InlineData("L")]
    [InlineData("LC")]
    [InlineData("M")]
    [InlineData("N")]
    [InlineData("P")]
    [InlineData("S")]
    [InlineData("Z")]
    public void A_group_of_categories_has_the_members_of_each(string group)
    {
        string[] parts = group switch
        {
            "C" => ["Cc", "Cf", "Cn", "Co", "Cs"],
            "L" => ["LC", "Lm", "Lo"],
            "LC" => ["Ll", "Lt", "Lu"],
            "M" => ["Mc", "Me", "Mn"],
            "N" => ["Nd", "Nl", "No"],
            "P" => ["Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps"],
            "S" => ["Sc", "Sk", "Sm", "So"],
            _ => ["Zl", "Zp", "Zs"],
        };
        (int Low, int High)[] ranges = [.. parts.SelectMany(static part => Unicode(part).Ranges.ToArray())];
        Assert.Equal(CodePointSet.Of(ranges), Unicode(group));
        Assert.Equal(Unicode(group).Count, parts.Sum(static part => Unicode(part).Count));
    }

    private static CodePointSet Unicode(string name)
    {
        Assert.True(Re2Classes.TryUnicode(name, out CodePointSet? set), name);
        return set;
    }

    private static void AssertMember(string script, int codePoint, bool expected)
    {
        if (codePoint < 0) return;
        string text = char.ConvertFromUtf32(codePoint);
        Assert.Equal(expected, Matches($@"\p{{{script}}}", text));
        Assert.Equal(expected, Matches($@"[\p{{{script}}}]", text));
        Assert.Equal(!expected, Matches($@"\P{{{script}}}", text));
        Assert.Equal(!expected, Matches($@"\p{{^{script}}}", text));
        Assert.Equal(!expected, Matches($@"[^\p{{{script}}}]", text));
    }

    private static IEnumerable<string> Values(string words) =>
        words.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(static word => Regex.Replace(word, @"\\x\{([0-9A-F]+)\}", static escape =>
            char.ConvertFromUtf32(int.Parse(escape.Groups[1].ValueSpan, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture))));

    private static bool Matches(string pattern, string value) =>
        Matcher.Create(MatcherType.Regex, "a", pattern).Matches(System.Text.Encoding.UTF8.GetBytes(value));
}
