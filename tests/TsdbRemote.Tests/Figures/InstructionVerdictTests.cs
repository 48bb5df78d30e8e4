using TsdbRemote.Benchmarks;

namespace TsdbRemote.Tests.Figures;

/// <summary>The gate that counts the decoder's instructions: on made-up counts, since few machines have counters.</summary>
public sealed class InstructionVerdictTests
{
    private const string Name = "10 X64 1.0";
    private const double Most = 0.2;
    private static readonly string[] Lines = ["# a comment", "10 X64 1.0-known 50.0", $"{Name} 100.0", "9 X64 1.0 1.0"];

    [Theory]
    [InlineData(199, true)]
    [InlineData(201, false)]
    [InlineData(double.NaN, false)]
    public void Without_a_baseline_the_generated_parser_judges(double ours, bool isFine)
    {
        (bool IsFine, string Text) verdict = InstructionVerdict.Of(["# nothing"], Name, ours, 1_000, Most);
        Assert.Equal(isFine, verdict.IsFine);
        Assert.Contains("no baseline for this runtime", verdict.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void The_line_to_be_added_is_one_that_is_read_again()
    {
        string text = InstructionVerdict.Of([], Name, 123.45, 1_000, Most).Text;
        string line = text[(text.LastIndexOf("would be: ", StringComparison.Ordinal) + "would be: ".Length)..];
        Assert.Equal("10 X64 1.0 123.5", line);
        Assert.True(InstructionVerdict.Of([line], Name, 123.45, 1_000, Most).IsFine);
        Assert.False(InstructionVerdict.Of([line], Name, 140, 1_000, Most).IsFine);
    }

    [Theory]
    [InlineData(109.9, true)]
    [InlineData(110.1, false)]
    [InlineData(10, true)]
    public void Where_there_is_a_baseline_a_tenth_more_is_too_much(double ours, bool isFine) =>
        Assert.Equal(isFine, InstructionVerdict.Of(Lines, Name, ours, 1_000, Most).IsFine);

    [Fact]
    public void A_baseline_does_not_excuse_what_the_generated_parser_judges() => Assert.False(InstructionVerdict.Of(Lines, Name, 100, 400, Most).IsFine);

    [Fact]
    public void A_count_is_read_as_perf_prints_it() =>
        Assert.Equal(123_456, InstructionVerdict.CountOf(0, "some words\n123456,,instructions:u,1000,100.00,,\n"));

    [Theory]
    [InlineData(1, "")]
    [InlineData(1, "123456,,instructions:u,1000,100.00,,\n")]
    [InlineData(134, "the decoder died\n")]
    [InlineData(0, "")]
    [InlineData(0, "<not supported>,,instructions:u,0,100.00,,\n")]
    public void A_process_that_failed_or_was_not_counted_has_no_count(int exitCode, string printed) =>
        Assert.Throws<InvalidOperationException>(() => InstructionVerdict.CountOf(exitCode, printed));
}
