using TsdbRemote.Blocks.Verification;

namespace TsdbRemote.Tests.Verification;

/// <summary>Each rule broken in one way or more, in a block whose checksums are right but for where they are the fault.</summary>
public class BlockVerifierRuleTests
{
    public static IEnumerable<object[]> Rows => BrokenRule.All.Select(static row => (object[])[row.Rule, row.How]);

    [Theory]
    [MemberData(nameof(Rows))]
    public void A_broken_rule_is_found_by_its_number(int rule, string how)
    {
        BrokenRule row = BrokenRule.All.Single(row => row.Rule == rule && row.How == how);
        BlockForge forge = row.Forge();
        row.Break(forge);
        BlockReport report = forge.Verify();
        string all = string.Join('\n', report.Findings);
        Assert.True(report.Findings.Any(finding => finding.Rule == rule && finding.IsError == row.IsError), all);
        Assert.Equal(!row.IsError, report.IsAcceptable);
        IEnumerable<int> errors = report.Findings.Where(static finding => finding.IsError).Select(static finding => finding.Rule);
        int[] others = [.. errors.Distinct().Where(other => other != rule).Order()];
        Assert.True(others.SequenceEqual(row.Also), all);
    }

    [Fact]
    public void Every_rule_is_broken_once() =>
        Assert.Equal(Enumerable.Range(1, 52), BrokenRule.All.Select(static row => row.Rule).Distinct().Order());
}
