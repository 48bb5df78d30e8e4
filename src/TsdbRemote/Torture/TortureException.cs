namespace TsdbRemote.Torture;

/// <summary>The server broke a promise; the message says which, and what was seen.</summary>
internal sealed class TortureException(string message) : Exception(message);
