using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Storage.Deletes;

namespace TsdbRemote.Storage.Reading;

/// <summary>One side of a merge: the series of some sources in label order, each with its chunks.</summary>
internal interface ISeriesSource : IDisposable
{
    /// <summary>Labels of the current series as a run; valid until the next step.</summary>
    ReadOnlySpan<byte> Labels { get; }

    /// <summary>Steps to the next series that has a chunk in the range.</summary>
    bool MoveNext();

    /// <summary>Appends the current series' chunks that overlap the range, whole but for what is deleted, any order; their bytes are valid until the next step.</summary>
    /// <param name="output">Appended to.</param>
    /// <param name="deletions">What is deleted of the series; null if nothing is.</param>
    void AddChunks(List<SeriesChunk> output, SeriesDeletions? deletions);
}
