using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Takes the chunks that a table holds of the series asked for.</summary>
/// <remarks>
/// Called on the thread of the collecting call. The chunks of one series arrive in time order; windows one after another.
/// </remarks>
public interface ISeriesChunkSink
{
    /// <summary>Takes a chunk.</summary>
    /// <param name="idIndex">Index of its series in the ids asked for.</param>
    /// <param name="chunk">The chunk, whole: it may begin before the range or end behind it.</param>
    void Add(int idIndex, in SeriesChunk chunk);

    /// <summary>Decides about a chunk whose bytes are damaged: false (the default) ends the pass with <paramref name="damage"/>.</summary>
    /// <param name="idIndex">Index of its series in the ids asked for.</param>
    /// <param name="damage">File, offset and what is wrong.</param>
    /// <returns>True to go on without the chunk: the taker has counted and named the loss.</returns>
    bool SkipDamaged(int idIndex, CorruptFileException damage) => false;
}
