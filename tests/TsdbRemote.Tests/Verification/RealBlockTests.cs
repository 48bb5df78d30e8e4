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
        Assert.DoesNotContain(report.Findings, static finding => finding.Rule is not (9 or 12 or 34));
        Assert.Equal([6, 47, 48, 49, 50, 51, 52], report.NotRun);
        Assert.True(report.Counts.Samples > 0);
        Assert.Equal(report.Counts.Samples, report.Values?.Samples);
    }

    internal static BlockReport Verify(string block, BlockVerifyOptions options) =>
        BlockVerifier.Verify(new LocalFileSystem(), Repository.TestData(Path.Combine("blocks", block)), options, CancellationToken.None);

    private static IEnumerable<string> Directories() =>
        Directory.EnumerateFiles(Repository.TestData("blocks"), "meta.json", SearchOption.AllDirectories).Select(static file => Path.GetDirectoryName(file)!);
}
