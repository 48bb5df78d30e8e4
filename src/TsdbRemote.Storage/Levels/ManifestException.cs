namespace TsdbRemote.Storage.Levels;

/// <summary>A data directory that must not be opened, and what can be done about it. Nothing was changed.</summary>
public sealed class ManifestException : Exception
{
    /// <summary>Says why.</summary>
    public ManifestException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>
/// The manifest was replaced, and whether the replacement is durable cannot be known: neither the old files nor the new may be deleted.
/// </summary>
/// <remarks>
/// Whoever gets this stops writing for good (reliability: fsync failure policy); the next open finds one complete state or the other.
/// </remarks>
public sealed class ManifestUncertainException : IOException
{
    /// <summary>Names the step that failed.</summary>
    public ManifestUncertainException(string path, IOException inner)
        : base($"whether {path} was replaced is unknown: {inner?.Message}", inner)
    {
    }
}
