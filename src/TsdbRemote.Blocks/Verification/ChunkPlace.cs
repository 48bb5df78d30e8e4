namespace TsdbRemote.Blocks.Verification;

/// <summary>Where a chunk is and whose it is, for findings.</summary>
/// <param name="File">Segment, as findings name it.</param>
/// <param name="Offset">Offset of its record.</param>
/// <param name="Describe">Names the series; called only for findings that are kept.</param>
internal readonly record struct ChunkPlace(string File, long Offset, Func<string> Describe)
{
    /// <summary>The series in words.</summary>
    public string Series => Describe();
}

/// <summary>What a chunk turned out to hold.</summary>
/// <param name="IsHistogram">True for encodings 2 and 3.</param>
/// <param name="Samples">Number of samples, 1 or more.</param>
/// <param name="FirstMs">Time of the first one, ms.</param>
/// <param name="LastMs">Time of the last one, ms.</param>
public readonly record struct ChunkFacts(bool IsHistogram, int Samples, long FirstMs, long LastMs);
