using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Verification;

namespace TsdbRemote.Tests.Verification;

/// <summary>Blocks that promtool and Prometheus wrote; Data/blocks/README.md says how.</summary>
public class RealBlockTests
{
    public static TheoryData<string> Blocks => [.. Directories().Select(static path => Path.GetRelativePath(Repository.TestData("blocks"), path))];

    [Theory]
    [MemberData(nameof(Blocks))]
    public void A_block_of_Prometheus_is_acceptable(string block)
    {
        BlockReport report = Verify(block, BlockVerifyOptions.Default with { NowMs = 1_900_000_000_000, ComputeValues = true });
        Assert.True(report.IsAcceptable, string.Join('\n', report.Findings));
        Assert.DoesNotContain(report.Findings, static finding => finding.Rule is not 31);
        Assert.Equal([6, 47, 48, 49, 50, 51, 52], report.NotRun);
        Assert.True(report.Counts.Samples > 0);
        Assert.Equal(report.Counts.Samples, report.Values?.Samples);
    }

    [Theory]
    [InlineData("01M883VR4YR7MTTE79K6Q6SP48", 1720, 2)]
    [InlineData("01M883WZ520XYPHMSC2AR5VESA", 16282, 0)]
    public void Native_histograms_and_tombstones_are_counted(string ulid, long samples, long tombstones)
    {
        BlockCounts counts = Verify($"prometheus-3.5/{ulid}", BlockVerifyOptions.Default).Counts;
        Assert.Equal((samples, tombstones), (counts.Samples, counts.Tombstones));
        Assert.InRange(counts.HistogramSamples, 100, samples / 2);
    }

    [Fact]
    public void Symbols_of_the_head_that_no_series_of_the_block_uses_are_only_odd()
    {
        BlockReport report = Verify("prometheus-3.5/01M885H9HSV7Y4RDXDN6R0P14R", BlockVerifyOptions.Default);
        Assert.Equal((0, 2), (report.Errors, report.Warnings));
        Assert.All(report.Findings, static finding => Assert.Equal(31, finding.Rule));
    }

    private static BlockReport Verify(string block, BlockVerifyOptions options) =>
        BlockVerifier.Verify(new LocalFileSystem(), Repository.TestData(Path.Combine("blocks", block)), options, CancellationToken.None);

    private static IEnumerable<string> Directories() =>
        Directory.EnumerateFiles(Repository.TestData("blocks"), "meta.json", SearchOption.AllDirectories)
            .Select(static file => Path.GetDirectoryName(file)!);
}
