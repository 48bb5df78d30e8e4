using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>
/// Bytes that were offered as a chunk and are none. Knows no file: the owner of the bytes adds that and takes them out of service.
/// </summary>
public sealed class CorruptChunkException : Exception
{
    /// <summary>Names the damage.</summary>
    /// <param name="chunk">The chunk as its source described it.</param>
    /// <param name="what">What was found and what was expected.</param>
    public CorruptChunkException(in SeriesChunk chunk, string what)
        : base(string.Create(
            CultureInfo.InvariantCulture,
            $"chunk of {chunk.MinTimeMs} to {chunk.MaxTimeMs} ms, encoding {(byte)chunk.Encoding}, {chunk.Data.Length} bytes: {what}"))
    {
        Rank = chunk.Rank;
    }

    /// <summary>Rank of the chunk, by which its source can be told.</summary>
    public long Rank { get; }

    [DoesNotReturn]
    internal static void Throw(in SeriesChunk chunk, string what) => throw new CorruptChunkException(chunk, what);
}
