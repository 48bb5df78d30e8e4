namespace TsdbRemote.Storage.Engine;

/// <content>One step of each thread's work, for tests that run without threads.</content>
public sealed partial class LsmEngine
{
    /// <summary>Asks for deletes to be carried out, for tests without threads, until it is disposed.</summary>
    internal IDisposable BeginCleaning() => _parts.Cleaning.Begin(_parts.State.Peek.DeletionsKnownTo);

    /// <summary>Only the merges of tables, for tests without threads.</summary>
    internal Task CompactTablesAsync(CancellationToken cancel) => _parts.Compaction.CompactAsync(cancel);

    /// <summary>The same without the flush, for tests without threads, which flush by steps.</summary>
    internal Task CompactBlocksAsync(CancellationToken cancel) => _parts.Blocks.CompactAsync(cancel);

    /// <summary>Only the look whether the dictionary is to be collected, for tests without threads.</summary>
    internal Task CollectAsync(CancellationToken cancel) => _parts.Dictionaries.CollectAsync(cancel);

    /// <summary>One round of background work and of the log, for tests without threads.</summary>
    /// <param name="flush">False to switch the MemTable only, if it is due or a flush was asked for.</param>
    internal bool Step(bool flush = true)
    {
        while (_parts.Wal.DrainOnce())
        {
        }

        return _parts.Background.Step(flush);
    }

    /// <summary>One merge of tables, for tests without threads.</summary>
    internal bool StepCompaction() => _parts.Compaction.Step();

    /// <summary>What is served now, for tests.</summary>
    internal EngineState StateNow => _parts.State.Peek;

    /// <summary>One round of work on blocks, for tests without threads.</summary>
    internal bool StepBlocks() => _parts.Blocks.Step();

    /// <summary>One look whether the dictionary is to be collected, for tests without threads; <see cref="Step"/> then completes what is prepared.</summary>
    internal bool StepDictionary() => _parts.Dictionaries.Step();
}
