using CsCheck;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Tests.Format;

public class UlidTests
{
    private static readonly Gen<Ulid> Any = Gen.Select(Gen.Long[0, Ulid.MaxTimestampMs], Gen.Byte.Array[Ulid.RandomBytes])
        .Select(static (nowMs, random) => Ulid.Create(nowMs, random));

    [Fact]
    public void The_time_of_the_specifications_example_is_read() =>
        Assert.Equal(1469918176385, Ulid.Parse("01ARYZ6S41TSV4RRFFQ69G5FAV").TimestampMs);

    [Fact]
    public void Text_and_time_come_back() => Gen.Select(Gen.Long[0, Ulid.MaxTimestampMs], Gen.Byte.Array[Ulid.RandomBytes]).Sample(
        static (nowMs, random) =>
        {
            Ulid ulid = Ulid.Create(nowMs, random);
            return ulid.TimestampMs == nowMs && ulid.ToString().Length == Ulid.TextLength && Ulid.Parse(ulid.ToString()) == ulid;
        });

    [Fact]
    public void The_parts_stand_where_the_specification_puts_them() =>
        Assert.Equal("00000000010000000000000002", Ulid.Create(1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2]).ToString());

    [Fact]
    public void Values_and_texts_have_one_order() => Gen.Select(Any, Any).Sample(static (left, right) =>
    {
        int expected = string.CompareOrdinal(left.ToString(), right.ToString());
        return Math.Sign(left.CompareTo(right)) == Math.Sign(expected) && left < right == expected < 0 && left > right == expected > 0
            && left <= right == expected <= 0 && left >= right == expected >= 0 && left == right == (expected == 0);
    });

    [Theory]
    [InlineData("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", true)]
    [InlineData("00000000000000000000000000", true)]
    [InlineData("80000000000000000000000000", false)] // 129 bits
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FA", false)]
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FAVV", false)]
    [InlineData("01aryz6s41tsv4rrffq69g5fav", false)]
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FAI", false)]
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FAL", false)]
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FAO", false)]
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FAU", false)]
    [InlineData("01ARYZ6S41TSV4RRFFQ69G5FA/", false)]
    [InlineData("０1ARYZ6S41TSV4RRFFQ69G5FAV", false)] // a full-width zero
    [InlineData("", false)]
    public void Only_the_canonical_text_is_one(string text, bool expected)
    {
        Assert.Equal(expected, Ulid.TryParse(text, out Ulid ulid));
        Assert.Equal(expected ? text : new string('0', 26), ulid.ToString());
        if (!expected) Assert.Throws<FormatException>(() => Ulid.Parse(text));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(Ulid.MaxTimestampMs + 1)]
    public void A_time_that_does_not_fit_is_refused(long nowMs) => Assert.Throws<ArgumentOutOfRangeException>(() => Ulid.Create(nowMs));

    [Fact]
    public void Randomness_of_the_system_and_of_a_caller_goes_in()
    {
        Assert.NotEqual(Ulid.Create(5), Ulid.Create(5));
        Assert.Equal(Ulid.Create(5, new Random(1)), Ulid.Create(5, new Random(1)));
        Assert.NotEqual(Ulid.Create(5, new Random(1)), Ulid.Create(5, new Random(2)));
    }
}
