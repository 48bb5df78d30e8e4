using System.Diagnostics;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.EndToEnd.Support;
using TsdbRemote.TestSupport;

namespace TsdbRemote.EndToEnd;

/// <summary>Rule 52 of the verifier: what the real promtool says of a block.</summary>
public sealed class VerifierProofTests : IDisposable
{
    private static readonly LocalFileSystem Files = new();

    private readonly WorkDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [PeerFact("promtool")]
    public void Promtool_has_nothing_against_a_whole_block_and_its_complaint_is_a_finding_of_rule_52()
    {
        Ulid ulid = TestBlocks.Put(Files, _directory.Path, TestBlocks.Name(1), [(Labels.Encode(("__name__", "m")), [Sample.Of(1_700_000_000_000, 1)])]);
        Assert.DoesNotContain(52, RulesOf(ulid));

        // Whatever a rule of ours says of it: another reader says so, too, in words of its own.
        string segment = $"{_directory.Path}/{ulid}/chunks/000001";
        byte[] bytes = File.ReadAllBytes(segment);
        bytes[0] ^= 1;
        File.WriteAllBytes(segment, bytes);
        Assert.Contains(52, RulesOf(ulid));
    }

    private IEnumerable<int> RulesOf(Ulid ulid)
    {
        var options = BlockVerifyOptions.Default with { ExternalProof = (_, _) => Complaints() };
        return BlockVerifier.Verify(Files, $"{_directory.Path}/{ulid}", options, CancellationToken.None).Findings.Select(static finding => finding.Rule);
    }

    private IReadOnlyList<string> Complaints()
    {
        var start = new ProcessStartInfo(Programs.Get("promtool"), ["tsdb", "list", _directory.Path]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> listed = process.StandardOutput.ReadToEndAsync();
        string complaint = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 && listed.Result.Contains("BLOCK ULID", StringComparison.Ordinal) ? [] : [complaint];
    }
}
