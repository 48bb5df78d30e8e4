namespace TsdbRemote.Fuzz;

/// <summary>What a run is to do.</summary>
/// <param name="Target">Name of the target.</param>
/// <param name="Inputs">How many inputs.</param>
/// <param name="Seed">Decides which; the same seed makes the same inputs from the same corpus.</param>
/// <param name="Keep">Whether to write the smallest inputs that together reach all that was reached to the target's file of kept inputs.</param>
internal sealed record FuzzOptions(string Target, long Inputs, long Seed, bool Keep);
