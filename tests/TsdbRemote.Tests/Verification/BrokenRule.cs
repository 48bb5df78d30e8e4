namespace TsdbRemote.Tests.Verification;

/// <summary>One way to break one rule.</summary>
/// <param name="Rule">The rule.</param>
/// <param name="How">What is done, in words.</param>
/// <param name="Forge">The block that it is done to.</param>
/// <param name="Break">Does it.</param>
/// <param name="Also">Other rules whose errors cannot be had without.</param>
internal sealed record BrokenRule(int Rule, string How, Func<BlockForge> Forge, Action<BlockForge> Break, params int[] Also)
{
    /// <summary>False where the verifier only warns.</summary>
    public bool IsError { get; init; } = true;

    /// <summary>Every way of every file of this folder.</summary>
    public static IReadOnlyList<BrokenRule> All { get; } =
        [.. BrokenMeta.Rows, .. BrokenChunks.Rows, .. BrokenHistograms.Rows, .. BrokenIndex.Rows, .. BrokenShipping.Rows];

    public static BrokenRule Local(int rule, string how, Action<BlockForge> @break, params int[] also) => new(rule, how, BlockForge.Local, @break, also);

    public static BrokenRule Warning(int rule, string how, Action<BlockForge> @break) =>
        new(rule, how, BlockForge.Local, @break) { IsError = false };
}
