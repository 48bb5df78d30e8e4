using TsdbRemote.Blocks.Verification;

namespace TsdbRemote.Tests.Verification;

public class ForgedBlockTests
{
    [Fact]
    public void The_forged_block_is_acceptable_on_this_disk() => AssertClean(BlockForge.Local(), 47, 48, 50, 51);

    [Fact]
    public void The_forged_block_is_acceptable_to_Thanos() => AssertClean(BlockForge.Thanos(), 48, 50, 51);

    [Fact]
    public void The_forged_block_is_acceptable_to_Mimir() => AssertClean(BlockForge.Mimir(), 47, 50, 51);

    private static void AssertClean(BlockForge forge, params int[] notRun)
    {
        BlockReport report = forge.Verify();
        Assert.Empty(report.Findings);
        Assert.Equal(notRun, report.NotRun);
        Assert.Equal(new BlockCounts(5, 7, 58, 10, 0, BlockForge.StartMs, BlockForge.EndMs - 1), report.Counts);
    }
}
