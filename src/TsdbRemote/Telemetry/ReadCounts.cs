using System.Buffers.Binary;
using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Telemetry;

/// <summary>What a read returned.</summary>
/// <param name="Series">Series, each query's counted apart.</param>
/// <param name="Samples">Samples.</param>
/// <param name="Bytes">Bytes of the body.</param>
internal readonly record struct ReadCounts(long Series, long Samples, long Bytes)
{
    /// <summary>Counts one series more.</summary>
    public ReadCounts Add(ReadOnlySpan<SeriesChunk> chunks)
    {
        long samples = Samples;

        // Every chunk encoding of Prometheus begins with the number of its samples, 16 bits, big endian.
        foreach (ref readonly SeriesChunk chunk in chunks) samples += BinaryPrimitives.ReadUInt16BigEndian(chunk.Data.Span);
        return this with { Series = Series + 1, Samples = samples };
    }
}
