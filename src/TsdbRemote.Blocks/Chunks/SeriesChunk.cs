using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>One chunk of a series as a source offers it: its closed time range, its bytes and how new its source is.</summary>
/// <remarks>The bytes live as long as the source (MemTable, table, block or arena) is held by the reader.</remarks>
/// <param name="MinTimeMs">Time of the first sample, ms.</param>
/// <param name="MaxTimeMs">Time of the last sample, ms.</param>
/// <param name="Encoding">How the bytes are encoded.</param>
/// <param name="Data">The chunk's bytes, without framing.</param>
/// <param name="Rank">Which version wins where two chunks hold the same instant: the higher rank.</param>
public readonly record struct SeriesChunk(long MinTimeMs, long MaxTimeMs, ChunkEncoding Encoding, NativeBytes Data, long Rank);
