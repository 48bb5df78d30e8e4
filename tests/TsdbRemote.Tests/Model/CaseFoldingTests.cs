using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

public class CaseFoldingTests
{
    [Theory]
    [InlineData("Kk\u212A")]
    [InlineData("Ss\u017F")]
    [InlineData("ΣσςΣ")]
    [InlineData("Åå\u212B")]
    [InlineData("Ωω\u2126")]
    [InlineData("Μμµ")]
    [InlineData("Θθϑϴ")]
    [InlineData("ßẞ")]
    [InlineData("ǄǅǆǄ")]
    [InlineData("Ιι\u0345\u1FBE")]
    [InlineData("Ⅷⅷ")]
    [InlineData("Ⓐⓐ")]
    [InlineData("ეჅⴥ", false)]
    [InlineData("Aa")]
    public void Orbits_are_those_of_simple_case_folding(string members, bool isOrbit = true)
    {
        int[] expected = [.. members.EnumerateRunes().Select(static rune => rune.Value).Distinct().Order()];
        Assert.Equal(isOrbit, CaseFolding.Orbits.TryGetValue(expected[0], out int[]? orbit) && orbit.SequenceEqual(expected));
    }

    [Theory]
    [InlineData('İ')]
    [InlineData('ı')]
    [InlineData('1')]
    [InlineData('中')]
    public void What_folds_to_itself_has_no_variants(char c) => Assert.False(CaseFolding.Orbits.ContainsKey(c));

    [Fact]
    public void The_i_has_no_dotless_or_dotted_variant() => Assert.Equal(['I', 'i'], CaseFolding.Orbits['i'].Select(static c => (char)c));

    [Fact]
    public void Every_member_of_an_orbit_knows_the_same_orbit() =>
        Assert.All(CaseFolding.Orbits, static pair =>
        {
            Assert.Contains(pair.Key, pair.Value);
            Assert.InRange(pair.Value.Length, 2, 4);
            Assert.All(pair.Value, member => Assert.Same(pair.Value, CaseFolding.Orbits[member]));
        });
}
