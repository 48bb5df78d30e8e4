using System.Collections.Concurrent;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>For how long each table has been there, by the monotonic clock: since it was added, or found at open. Thread-safe.</summary>
/// <remarks>
/// Use: <see cref="Note"/> each set of tables that a picker is about to see; <see cref="Inherit"/> before a merge is published. A merged table is as old as
/// the youngest it was made of: merging is no new data, and must not keep a window from being called quiet.
/// </remarks>
internal sealed class TableAges(TimeProvider time)
{
    private readonly ConcurrentDictionary<long, long> _since = new();

    /// <summary>Begins to count for tables not seen before, and forgets those that are gone.</summary>
    public void Note(LevelSet levels)
    {
        long now = time.GetTimestamp();
        foreach (LevelTable table in levels.Tables) _since.TryAdd(table.Entry.Id, now);

        // Not each time: most calls find nothing gone. What is forgotten too early, by a caller with an older set, begins anew, which only waits longer.
        if (_since.Count <= 2 * levels.Tables.Length + 16) return;
        HashSet<long> there = [.. levels.Tables.Select(static table => table.Entry.Id)];
        foreach (long id in _since.Keys)
        {
            if (!there.Contains(id)) _since.TryRemove(id, out _);
        }
    }

    /// <summary>Time since a table was first seen, in ms; 0 for one that never was.</summary>
    public long SinceAddedMs(long tableId) =>
        _since.TryGetValue(tableId, out long since) ? (long)time.GetElapsedTime(since).TotalMilliseconds : 0;

    /// <summary>New tables are as old as the youngest of those they were merged from.</summary>
    public void Inherit(IEnumerable<long> inputs, IEnumerable<long> outputs)
    {
        long youngest = inputs.Max(id => _since.GetValueOrDefault(id, long.MinValue));
        if (youngest == long.MinValue) youngest = time.GetTimestamp();
        foreach (long id in outputs) _since[id] = youngest;
    }
}
