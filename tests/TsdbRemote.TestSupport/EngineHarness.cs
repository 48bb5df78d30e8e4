using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.TestSupport;

/// <summary>An engine on any file system, driven step by step or with its threads, and read back as plain samples.</summary>
public sealed class EngineHarness : IAsyncDisposable
{
    private EngineHarness(LsmEngine engine) => Engine = engine;

    public LsmEngine Engine { get; }

    /// <summary>Options of a small engine: the log is driven by its callers, so that nothing happens behind a test's back.</summary>
    public static StorageOptions SmallOptions { get; } = new()
    {
        DataDir = "/disk/data",
        Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(1) },
        Wal = new WalOptions { Async = false },
        Read = new ReadOptions { Mmap = false },
    };

    /// <summary>Opens without threads: log, replay and flush run inside the calls.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="options">Options; small ones by default.</param>
    /// <param name="time">The clock; the system's by default.</param>
    /// <param name="loggers">Where events go; nowhere by default.</param>
    /// <param name="collectFrom">Least series at which the dictionary is collected, and at each look; null for what the program does.</param>
    public static EngineHarness OpenStepwise(
        IFileSystem files, StorageOptions? options = null, TimeProvider? time = null, ILoggerFactory? loggers = null, int? collectFrom = null) =>
        new(LsmEngine.Open(
            options ?? SmallOptions, files, time ?? TimeProvider.System, loggers ?? NullLoggerFactory.Instance, threaded: false, Settings(collectFrom)));

    /// <summary>Opens as the program does: the log may still be replayed when this returns.</summary>
    public static EngineHarness Open(IFileSystem files, StorageOptions options, TimeProvider? time = null, int? collectFrom = null) =>
        new(LsmEngine.Open(options, files, time ?? TimeProvider.System, NullLoggerFactory.Instance, threaded: true, Settings(collectFrom)));

    /// <summary>Opens as the program does, and waits until reads are whole.</summary>
    public static async Task<EngineHarness> OpenAsync(IFileSystem files, StorageOptions options, TimeProvider? time = null, int? collectFrom = null)
    {
        EngineHarness harness = Open(files, options, time, collectFrom);
        await harness.Engine.WhenReady;
        return harness;
    }

    /// <summary>A remote write 1.0 body of some series.</summary>
    public static PooledBuffer Body(params ReadOnlySpan<(byte[] Labels, Sample[] Samples)> series)
    {
        using PooledBuffer raw = PooledBuffer.Rent(1024);
        foreach ((byte[] labels, Sample[] samples) in series) RemoteWriteV1.EncodeSeries(raw, labels, samples);
        return SnappyBlock.Compress(raw.Span);
    }

    public Task<WriteReport> WriteAsync(params ReadOnlySpan<(byte[] Labels, Sample[] Samples)> series) => Engine.WriteAsync(WriteProtocol.V1, Body(series));

    /// <summary>Everything readable that has a metric name, by printed labels, in time order.</summary>
    public Dictionary<string, List<Sample>> ReadAll() => Read(TimeRange.All, Matcher.Create(MatcherType.Regex, "__name__", ".+"));

    public Dictionary<string, List<Sample>> Read(TimeRange range, params Matcher[] matchers)
    {
        using ReadSnapshot snapshot = Engine.AcquireSnapshot();
        return Read(snapshot, range, matchers);
    }

    /// <summary>What a snapshot sees; labels have to come in order, and the samples of each series in order and once.</summary>
    public static Dictionary<string, List<Sample>> Read(ReadSnapshot snapshot, TimeRange range, params Matcher[] matchers)
    {
        var result = new Dictionary<string, List<Sample>>();
        using SeriesMerge cursor = snapshot.Select(matchers, range, CancellationToken.None);
        byte[]? previous = null;
        while (cursor.MoveNext())
        {
            if (previous is not null && Labels.Compare(previous, cursor.Labels) >= 0) throw new InvalidOperationException("series are not in label order");
            previous = cursor.Labels.ToArray();
            var samples = new List<Sample>();
            foreach (SeriesChunk chunk in cursor.Chunks) ChunkMerge.Decode(chunk, samples);
            for (int i = 1; i < samples.Count; i++)
            {
                if (samples[i].TimeMs <= samples[i - 1].TimeMs) throw new InvalidOperationException("samples are not in time order");
            }

            result.Add(Labels.Print(cursor.Labels), samples);
        }

        return result;
    }

    /// <summary>Floats and histograms of each series, by printed labels, in time order.</summary>
    public Dictionary<string, List<LaneSample>> ReadLanes(TimeRange range, params Matcher[] matchers)
    {
        var result = new Dictionary<string, List<LaneSample>>();
        using ReadSnapshot snapshot = Engine.AcquireSnapshot();
        using SeriesMerge cursor = snapshot.Select(matchers, range, CancellationToken.None);
        while (cursor.MoveNext())
        {
            var samples = new List<LaneSample>();
            foreach (SeriesChunk chunk in cursor.Chunks) samples.AddRange(LaneSample.Decode(chunk));
            for (int i = 1; i < samples.Count; i++)
            {
                if (samples[i].TimeMs <= samples[i - 1].TimeMs) throw new InvalidOperationException("samples are not in time order");
            }

            result.Add(Labels.Print(cursor.Labels), samples);
        }

        return result;
    }

    /// <summary>Flushes all that was written, by steps.</summary>
    public void FlushByStep()
    {
        Task done = Engine.FlushAsync(CancellationToken.None);
        for (int step = 0; !done.IsCompleted; step++)
        {
            if (step == 100) throw new InvalidOperationException("the flush waits for something that does not come by stepping");
            Engine.Step();
        }

        done.GetAwaiter().GetResult();
    }

    /// <summary>Deletes, by steps. One MemTable at most waits for its flush afterwards: where there are more, writers would wait for a thread.</summary>
    public void DeleteByStep(string selector, TimeRange range)
    {
        Task done = Engine.DeleteAsync([[.. SelectorParser.Parse(selector).Select(static term => Matcher.Create(term.Type, term.Name, term.Value))]], range, CancellationToken.None);
        for (int step = 0; !done.IsCompleted; step++)
        {
            if (step == 100) throw new InvalidOperationException("the delete waits for something that does not come by stepping");
            Engine.Step(flush: step > 0);
        }

        done.GetAwaiter().GetResult();
        while (Engine.StateNow.MemTables.Waiting.Length > 1) Engine.Step();
    }

    /// <summary>Deletes all of some series, by steps.</summary>
    public void DeleteByStep(string selector) => DeleteByStep(selector, TimeRange.All);

    /// <summary>Takes what is deleted out of all files, by steps.</summary>
    /// <param name="compact">What each round is; by default <see cref="CompactByStep"/>.</param>
    public void CleanByStep(Action? compact = null)
    {
        using IDisposable asked = Engine.BeginCleaning();
        for (int round = 0; round < 3 && Engine.Stats().Tombstones > 0; round++) (compact ?? CompactByStep)();
    }

    /// <summary>Labels of all series that have a metric name, by what is told of them without their samples.</summary>
    public List<string> ReadNames(TimeRange range)
    {
        List<string> names = [];
        using ReadSnapshot snapshot = Engine.AcquireSnapshot();
        using SeriesMerge cursor = snapshot.SelectLabels([[Matcher.Create(MatcherType.Regex, "__name__", ".+")]], range, CancellationToken.None);
        while (cursor.MoveNext()) names.Add(Labels.Print(cursor.Labels));
        return names;
    }

    /// <summary>Flushes all that was written, and then does to blocks what is due by itself, with nobody asking.</summary>
    public void FlushAndConvertByStep()
    {
        FlushByStep();
        while (Engine.StepBlocks())
        {
        }
    }

    /// <summary>Flushes all that was written, merges all that is due, converts all that is closed and collects the dictionary, by steps.</summary>
    public void CompactByStep()
    {
        FlushByStep();
        TablesByStep();
        BlocksByStep();
        CollectByStep();
    }

    /// <summary>Collects the dictionary if that is due, by steps.</summary>
    /// <returns>True if it was.</returns>
    public bool CollectByStep()
    {
        if (!Engine.StepDictionary()) return false;
        int epoch = Engine.Stats().DictionaryEpoch;
        Engine.Step();
        return Engine.Stats().DictionaryEpoch > epoch;
    }

    /// <summary>Does all merges of tables that are due now, by steps.</summary>
    public void TablesByStep()
    {
        Task done = Engine.CompactTablesAsync(CancellationToken.None);
        for (int step = 0; !done.IsCompleted; step++)
        {
            if (step == 10_000) throw new InvalidOperationException("the merges wait for something that does not come by stepping");
            Engine.StepCompaction();
        }

        done.GetAwaiter().GetResult();
    }

    /// <summary>Does all that can be done to blocks now, by steps: adopts, deletes, converts.</summary>
    public void BlocksByStep()
    {
        Task done = Engine.CompactBlocksAsync(CancellationToken.None);
        for (int step = 0; !done.IsCompleted; step++)
        {
            if (step == 10_000) throw new InvalidOperationException("the compaction waits for something that does not come by stepping");
            Engine.StepBlocks();
        }

        done.GetAwaiter().GetResult();
    }

    /// <summary>Stops without flushing: the log holds what was written, sealed, for the next open to replay.</summary>
    public Task StopWithoutFlushAsync() => Engine.StopAsync(new CancellationToken(canceled: true));

    public ValueTask DisposeAsync() => Engine.DisposeAsync();

    private static DictionarySettings? Settings(int? collectFrom) => collectFrom is { } least ? new DictionarySettings(least, TimeSpan.Zero) : null;
}
