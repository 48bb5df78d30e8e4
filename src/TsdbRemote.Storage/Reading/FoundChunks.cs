using System.Buffers;
using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Storage.Reading;

/// <summary>Chunks found so far, and whose they are. Grows in arrays of the shared pool: a read of a hundred thousand chunks would else leave megabytes to the collector.</summary>
/// <remarks>Not thread-safe.</remarks>
internal sealed class FoundChunks : IDisposable
{
    private const int FirstCapacity = 1024;

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
        Return(ref _chunks, []);
        Return(ref _owners, []);
    }

    private void Grow()
    {
        SeriesChunk[] chunks = ArrayPool<SeriesChunk>.Shared.Rent(Math.Max(FirstCapacity, checked(_chunks.Length * 2)));
        int[] owners = ArrayPool<int>.Shared.Rent(chunks.Length);
        Chunks.CopyTo(chunks);
        Owners.CopyTo(owners);
        Return(ref _chunks, chunks);
        Return(ref _owners, owners);
    }

    private static void Return<T>(ref T[] array, T[] next)
    {
        T[] old = array;
        array = next;
        if (old.Length > 0) ArrayPool<T>.Shared.Return(old);
    }
}
