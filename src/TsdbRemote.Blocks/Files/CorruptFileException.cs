namespace TsdbRemote.Blocks.Files;

/// <summary>Bytes on disk that are not what was written: unwinds to the owner of the file, which takes it out of service.</summary>
public class CorruptFileException : Exception
{
    /// <summary>Names the damage.</summary>
    /// <param name="path">The file.</param>
    /// <param name="offset">Where in the file, in bytes.</param>
    /// <param name="what">What was found and what was expected.</param>
    public CorruptFileException(string path, long offset, string what)
        : base($"{path} at {offset}: {what}")
    {
        Path = path;
        Offset = offset;
        What = what;
    }

    /// <summary>The damaged file.</summary>
    public string Path { get; }

    /// <summary>Offset of the damage in bytes.</summary>
    public long Offset { get; }

    /// <summary>What was found and what was expected.</summary>
    public string What { get; }
}
