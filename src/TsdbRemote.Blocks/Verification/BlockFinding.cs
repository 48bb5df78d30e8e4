using System.Globalization;

namespace TsdbRemote.Blocks.Verification;

/// <summary>One thing that is wrong with a block.</summary>
/// <param name="Rule">Number of the broken rule, 1 to 52, as <c>docs/formats/block-verifier.md</c> lists them.</param>
/// <param name="IsError">True if the block must not be served or shipped; false for what readers get along with.</param>
/// <param name="File">Name inside the block's directory, such as <c>chunks/000001</c>; empty for the directory itself.</param>
/// <param name="Offset">Where in the file, in bytes; 0 where no place can be named.</param>
/// <param name="What">What was found and what was expected, in words that name the series or the field.</param>
public sealed record BlockFinding(int Rule, bool IsError, string File, long Offset, string What)
{
    /// <summary>The finding as one line of a report.</summary>
    public override string ToString()
    {
        string severity = IsError ? "error" : "warning";
        return string.Create(CultureInfo.InvariantCulture, $"{severity} {Rule}: {(File.Length == 0 ? "." : File)} at {Offset}: {What}");
    }
}
