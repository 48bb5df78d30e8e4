using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Decodes chunks that stand elsewhere than in a block, and holds them to the same rules: 16 and 19 to 26 of <c>docs/formats/block-verifier.md</c>.</summary>
/// <remarks>Any bytes are safe. Keeps scratch memory between chunks. Not thread-safe.</remarks>
public sealed class ChunkVerifier
{
    private Findings _findings = new();
    private ChunkRules _rules;

    /// <summary>A verifier that has seen nothing.</summary>
    public ChunkVerifier() => _rules = new ChunkRules(_findings);

    /// <summary>Checks a chunk whose checksum holds.</summary>
    /// <param name="encoding">How it is encoded.</param>
    /// <param name="data">Its bytes.</param>
    /// <param name="series">Whose it is, in words.</param>
    /// <param name="facts">What it holds; valid only if there is no problem.</param>
    /// <returns>What is wrong, or null.</returns>
    public string? Check(ChunkEncoding encoding, ReadOnlySpan<byte> data, Func<string> series, out ChunkFacts facts)
    {
        ChunkFacts? found = _rules.Check((byte)encoding, data, new ChunkPlace("", 0, series), values: null);
        facts = found ?? default;
        if (_findings.Errors == 0) return null;
        BlockFinding first = _findings.Kept.First(static finding => finding.IsError);

        // Each is to be told, and the findings of one block keep a number of them only.
        _findings = new Findings();
        _rules = new ChunkRules(_findings);
        return first.What;
    }
}
