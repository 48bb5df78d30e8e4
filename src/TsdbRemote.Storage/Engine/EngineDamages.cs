using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Engine;

/// <summary>What was found damaged since the start, for people. Thread-safe.</summary>
internal sealed class EngineDamages(ILogger log)
{
    // Of files that reads found damaged. Where there are more, it is the disk, and a longer list says no more.
    private const int MaxFiles = 1000;

    private readonly ConcurrentDictionary<string, byte> _files = new();

    /// <summary>All of it, oldest first. Who adds here says it to nobody else.</summary>
    public ConcurrentQueue<string> Found { get; } = new();

    /// <summary>Takes note of damage, and says it in the log.</summary>
    public void Add(string what)
    {
        Found.Enqueue(what);
        Log.Damage(log, what);
    }

    /// <summary>Takes note of damage that a read found: each file once.</summary>
    public void AddOfRead(Exception damage) =>
        AddOfFile((damage as CorruptFileException)?.Path ?? damage.Message, $"{damage.Message}; found by a read, which failed");

    /// <summary>Takes note of damage that a read left out: each file once.</summary>
    public void AddOfSkip(CorruptFileException damage) => AddOfFile(damage.Path, $"{damage.Message}; reads leave it out, as storage.read.on_corruption asks");

    /// <summary>Takes note of damage of a file, if none of it is noted yet.</summary>
    public void AddOfFile(string path, string what)
    {
        if (_files.Count < MaxFiles && _files.TryAdd(path, 0)) Add(what);
    }
}
