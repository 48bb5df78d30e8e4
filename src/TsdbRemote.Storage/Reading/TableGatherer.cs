using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Reading;

/// <summary>What all workers of one gathering may take together. Thread-safe.</summary>
/// <param name="limitBytes">The read's limit.</param>
/// <param name="usedBytes">What it holds already.</param>
internal sealed class GatherBudget(long limitBytes, long usedBytes)
{
    private long _used = usedBytes;

    /// <summary>Counts more.</summary>
    /// <exception cref="ReadLimitException">It is too much.</exception>
    public void Take(long bytes)
    {
        if (Interlocked.Add(ref _used, bytes) > limitBytes) throw ReadLimitException.OfMemory(limitBytes);
    }
}

/// <summary>One worker's part of a gathering from tables: what it found, and the copies it made.</summary>
/// <remarks>
/// Use: <see cref="Forget"/> and <see cref="Begin"/> for each batch; the chunks are good until the next. Not thread-safe: one worker at a time.
/// </remarks>
internal sealed class TableGatherer(Action<CorruptFileException>? skipDamaged) : ISeriesChunkSink, IDisposable
{
    // What a reference takes until it is dealt out; counted so many at a time.
    private const int BytesPerChunk = 100;
    private const int CountedAtOnce = 1 << 12;

    private const int ArenaBlockBytes = 64 << 10;

    private NativeArena _arena = new(ArenaBlockBytes);
    private GatherBudget? _budget;
    private int[] _positions = [];
    private long _counted;

    /// <summary>The chunks.</summary>
    public FoundChunks Found { get; } = new();

    /// <summary>Bytes of the copies.</summary>
    public long CopiedBytes => _arena.AllocatedBytes;

    /// <summary>Forgets the last batch.</summary>
    public void Forget()
    {
        _arena.Dispose();
        _arena = new NativeArena(ArenaBlockBytes);
        Found.Clear();
        _counted = 0;
    }

    /// <summary>Begins a batch, after the last one was forgotten.</summary>
    /// <param name="positions">For each id its series' position in the batch.</param>
    /// <param name="budget">Of all workers.</param>
    public void Begin(int[] positions, GatherBudget budget)
    {
        _positions = positions;
        _budget = budget;
    }

    /// <summary>Adds what a table holds of the series.</summary>
    public void Collect(LevelTable table, ReadOnlySpan<ulong> ascendingIds, TimeRange range, bool asksBloom)
    {
        table.Collect(ascendingIds, range, _arena, this, asksBloom);
        Count();
    }

    /// <inheritdoc/>
    public void Add(int idIndex, in SeriesChunk chunk)
    {
        Found.Add(chunk, _positions[idIndex]);
        if (Found.Count % CountedAtOnce == 0) Count();
    }

    /// <inheritdoc/>
    public bool SkipDamaged(int idIndex, CorruptFileException damage)
    {
        skipDamaged?.Invoke(damage);
        return skipDamaged is not null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        Found.Dispose();
    }

    private void Count()
    {
        long now = _arena.AllocatedBytes + (long)Found.Count * BytesPerChunk;
        _budget!.Take(now - _counted);
        _counted = now;
    }
}
