namespace TsdbRemote.Blocks.Model;

/// <summary>A matcher that cannot be used: its text is what the client reads in a 400, or in a 422 where only its values show that it is too expensive.</summary>
/// <param name="message">What is wrong with it, with the offending part.</param>
public sealed class MatcherException(string message) : Exception(message);
