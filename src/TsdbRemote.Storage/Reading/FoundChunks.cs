using System.Buffers;
using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Storage.Reading;

/// <summary>Chunks found so far, and whose they are.</summary>
/// <remarks>
/// A read of a hundred thousand chunks would leave megabytes to the collector, so the arrays come from a pool; of its own, since the shared one leaves arrays to the threads that
/// gave them back, and each read has a thread of its own. It keeps two of each size, 12 MB at most.
/// Not thread-safe.
/// </remarks>
internal sealed class FoundChunks : IDisposable
{
    private const int FirstCapacity = 1024;
    private const int MaxKept = 1 << 16;
    private const int KeptOfEachSize = 2;

    private static readonly ArrayPool<SeriesChunk> ChunkArrays = ArrayPool<SeriesChunk>.Create(MaxKept, KeptOfEachSize);
    private static readonly ArrayPool<int> OwnerArrays = ArrayPool<int>.Create(MaxKept, KeptOfEachSize);

    private SeriesChunk[] _chunks = [];
    private int[] _owners = [];

    /// <summary>How many.</summary>
    public int Count { get; private set; }

    /// <summary>The chunks, in the order they were added.</summary>
    public ReadOnlySpan<SeriesChunk> Chunks => _chunks.AsSpan(0, Count);

    /// <summary>For each chunk the position of its series in the batch.</summary>
    public ReadOnlySpan<int> Owners => _owners.AsSpan(0, Count);

    /// <summary>Adds a chunk.</summary>
    public void Add(in SeriesChunk chunk, int owner)
    {
        if (Count == _chunks.Length) Grow();
        _chunks[Count] = chunk;
        _owners[Count++] = owner;
    }

    /// <summary>Forgets them, and keeps the arrays.</summary>
    public void Clear() => Count = 0;

    /// <inheritdoc/>
    public void Dispose()
    {
        Count = 0;
        Replace([], []);
    }

    private void Grow()
    {
        SeriesChunk[] chunks = ChunkArrays.Rent(Math.Max(FirstCapacity, checked(_chunks.Length * 2)));
        int[] owners = OwnerArrays.Rent(chunks.Length);
        Chunks.CopyTo(chunks);
        Owners.CopyTo(owners);
        Replace(chunks, owners);
    }

    private void Replace(SeriesChunk[] chunks, int[] owners)
    {
        (SeriesChunk[] oldChunks, int[] oldOwners) = (_chunks, _owners);
        (_chunks, _owners) = (chunks, owners);
        if (oldChunks.Length == 0) return;
        ChunkArrays.Return(oldChunks);
        OwnerArrays.Return(oldOwners);
    }
}
