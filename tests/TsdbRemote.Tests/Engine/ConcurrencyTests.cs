using System.Collections.Concurrent;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Writers, readers and flushes at the same time, with the engine's own threads.</summary>
public sealed class ConcurrencyTests
{
    private const int Writers = 2;
    private const int OwnSeries = 5;
    private const int Flushes = 6;
    private static readonly byte[] Shared = Labels.Encode(("__name__", "c"), ("of", "both"));

    [Theory]
    [InlineData(null)]
    [InlineData(CompactionStrategy.SizeTiered)]
    [InlineData(CompactionStrategy.TimeTiered)]
    [InlineData(CompactionStrategy.Leveled)]
    public async Task A_read_sees_each_sample_acknowledged_before_it_began_once_in_order_and_none_that_was_not_sent(CompactionStrategy? merged)
    {
        using var directory = new TempDirectory();
        var ledger = new Ledger();
        StorageOptions options = merged is { } strategy ? MergedOften(OptionsOf(directory), strategy) : OptionsOf(directory);
        await using (EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options))
        {
            using var stop = new CancellationTokenSource();
            Task flushes = Task.Run(() => FlushThenStopAsync(engine, stop));
            Task<int>[] readers = [.. Enumerable.Range(0, 2).Select(_ => Task.Run(() => Read(engine, ledger, stop.Token)))];
            Task[] writers = [.. Enumerable.Range(0, Writers).Select(writer => Task.Run(() => WriteAsync(engine, ledger, writer, stop.Token)))];
            await Task.WhenAll([flushes, .. writers]);
            Assert.All(await Task.WhenAll(readers), static reads => Assert.True(reads > 0, "a reader never came to read"));
            ledger.Check(engine.ReadAll(), ledger.Acknowledged);
            EngineStats stats = engine.Engine.Stats();
            Assert.True(stats.SamplesDuplicate > 0 && stats.SamplesReplaced > 0 && stats.SamplesOutOfOrder > 0, $"not all kinds of samples were written: {stats}");
            if (merged is not null) Assert.True(stats.Compactions.Sum(static level => level.Count) > 0, "nothing was merged meanwhile");
            Assert.Empty(stats.Damages);
            await engine.StopWithoutFlushAsync();
        }

        await using EngineHarness again = await EngineHarness.OpenAsync(new LocalFileSystem(), options);
        ledger.Check(again.ReadAll(), ledger.Acknowledged);
    }

    /// <summary>Between its place in the log and its last append a writer is overtaken by others; a switch of MemTable and segment must not come in between, or a flush would delete its record.</summary>
    [Fact]
    public async Task T6_a_power_cut_at_any_time_of_switches_and_flushes_under_8_writers_loses_nothing_acknowledged()
    {
        const int Threads = 8;
        var disk = new CrashFileSystem("/disk");
        StorageOptions options = EngineHarness.SmallOptions with { Lsm = new LsmOptions { MemTableSize = ByteSize.Kibibytes(64), MemTableFlushThreshold = 0.1 }, Wal = new WalOptions() };
        int[] acknowledged = new int[Threads];
        List<(int[] Least, CrashFileSystem Disk)> images = [];
        long flushes;
        await using (EngineHarness engine = await EngineHarness.OpenAsync(disk, options))
        {
            using var stop = new CancellationTokenSource();
            Task[] writers = [.. Enumerable.Range(0, Threads).Select(writer => Task.Run(async () =>
            {
                for (int n = 1; !stop.IsCancellationRequested; n++)
                {
                    WriteReport report = await engine.WriteAsync([.. Enumerable.Range(0, 20).Select(i => (Labels.Encode(("__name__", $"w{writer}"), ("i", $"{i}")), new[] { Sample.Of(n, n) }))]);
                    if (report.Status != WriteStatus.Written) return;
                    Volatile.Write(ref acknowledged[writer], n);
                }
            }))];
            for (int image = 0; image < 25; image++)
            {
                await Task.Delay(20);
                int[] least = [.. Enumerable.Range(0, Threads).Select(writer => Volatile.Read(ref acknowledged[writer]))];
                images.Add((least, disk.CrashClone(image % 2 == 0 ? CrashPolicy.OnlySynced : CrashPolicy.RandomPages(0.5), image)));
            }

            await stop.CancelAsync();
            await Task.WhenAll(writers);
            flushes = engine.Engine.Stats().Flushes;
            await engine.StopWithoutFlushAsync();
        }

        Assert.True(flushes > 5 && acknowledged.Min() > 5, $"{flushes} flushes, {acknowledged.Min()} requests of a writer");
        foreach ((int[] least, CrashFileSystem image) in images)
        {
            EngineHarness again = EngineHarness.OpenStepwise(image, options);
            Dictionary<string, List<Sample>> read = again.ReadAll();
            for (int writer = 0; writer < Threads; writer++)
            {
                for (int i = 0; i < 20 && least[writer] > 0; i++)
                {
                    List<Sample> samples = read[Labels.Print(Labels.Encode(("__name__", $"w{writer}"), ("i", $"{i}")))];
                    Assert.Equal(Enumerable.Range(1, least[writer]).Select(static n => Sample.Of(n, n)), samples.Take(least[writer]));
                }
            }
        }
    }

    [Fact]
    public async Task A_snapshot_held_over_flushes_and_writes_reads_the_same_to_the_end()
    {
        using var directory = new TempDirectory();
        await using EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), OptionsOf(directory));
        byte[][] series = [.. Enumerable.Range(0, 200).Select(static i => Labels.Encode(("__name__", "held"), ("i", $"{i}")))];
        await engine.WriteAsync([.. series.Select(static (labels, i) => (labels, SamplesOf(i, 0, 150)))]);
        await engine.Engine.FlushAsync(CancellationToken.None);
        await engine.WriteAsync([.. series.Select(static (labels, i) => (labels, SamplesOf(i, 150, 300)))]);

        // What is written later is later in time, too: a snapshot need not hide it, so it is left out of the range.
        var range = new TimeRange(0, 299);
        Matcher all = Matcher.Create(MatcherType.Equal, "__name__", "held");
        using ReadSnapshot held = engine.Engine.AcquireSnapshot();
        Dictionary<string, List<Sample>> before = EngineHarness.Read(held, range, all);
        Assert.Equal(series.Length, before.Count);
        for (int round = 1; round <= 4; round++)
        {
            await engine.WriteAsync([.. series.Select((labels, i) => (labels, SamplesOf(i, round * 1000, round * 1000 + 50)))]);
            await engine.Engine.FlushAsync(CancellationToken.None);
            AssertSame(before, EngineHarness.Read(held, range, all));
        }

        AssertSame(before, engine.Read(range, all));
        await engine.StopWithoutFlushAsync();
        AssertSame(before, EngineHarness.Read(held, range, all));
    }

    [Fact]
    public async Task Whatever_comes_during_or_after_the_stop_is_served_or_refused_and_waits_for_nothing()
    {
        EngineHarness engine = await EngineHarness.OpenAsync(new CrashFileSystem("/disk"), EngineHarness.SmallOptions with { Wal = new WalOptions() });
        byte[] labels = Labels.Encode(("__name__", "late"));
        Func<Task>[] calls =
        [
            async () => Assert.Contains((await engine.WriteAsync((labels, [Sample.Of(1, 1)]))).Status, (WriteStatus[])[WriteStatus.Written, WriteStatus.Unavailable]),
            () => engine.Engine.FlushAsync(CancellationToken.None),
            () => Task.FromResult(engine.ReadAll()),
            () => Task.FromResult(engine.Engine.Stats()),
        ];
        using var stopped = new CancellationTokenSource();
        Task[] callers = [.. calls.Select(call => Task.Run(async () =>
        {
            while (!stopped.IsCancellationRequested)
            {
                try
                {
                    await call();
                }
                catch (EngineUnavailableException)
                {
                    // That is what a caller is to be told.
                }

                await Task.Delay(1, CancellationToken.None);
            }
        }))];
        await Task.Delay(50);
        await engine.DisposeAsync();
        await stopped.CancelAsync();
        await Task.WhenAll(callers).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(WriteStatus.Unavailable, (await engine.WriteAsync((labels, [Sample.Of(1, 1)]))).Status);
        foreach (Func<Task> call in calls[1..]) await Assert.ThrowsAsync<EngineUnavailableException>(call);
    }

    [Theory]
    [InlineData(CrashKind.All)]
    [InlineData(CrashKind.OnlySynced)]
    public async Task Whichever_of_two_conflicting_writes_won_wins_again_after_a_crash(CrashKind kind)
    {
        StorageOptions options = EngineHarness.SmallOptions with { Wal = new WalOptions() };
        var disk = new CrashFileSystem("/disk");
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, options);
        byte[][] series = [.. Enumerable.Range(0, 40).Select(static i => Labels.Encode(("__name__", "fought_over"), ("i", $"{i}")))];
        int rounds = 0;

        // To the point where enough winners had to be logged again: the race that this is about was run, and lost by the record's order.
        for (; rounds < 100 || (engine.Engine.Stats().Wal.Appends < rounds * Writers + 10 && rounds < 2000); rounds++)
        {
            int round = rounds;
            using var start = new Barrier(Writers);
            long time = round / 2 * 1000; // each instant is fought over twice, the second time against a value that is there
            WriteReport[] reports = await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(() =>
            {
                // In opposite orders, so that each may be first at some series and last at others.
                IEnumerable<byte[]> order = writer == 0 ? series : series.Reverse();
                (byte[], Sample[])[] request = [.. order.Select(labels => (labels, new[] { Sample.Of(time, round * Writers + writer) }))];
                start.SignalAndWait();
                return engine.WriteAsync(request);
            })));
            Assert.All(reports, static report => Assert.Equal(WriteStatus.Written, report.Status));
            if (round == 30) await engine.Engine.FlushAsync(CancellationToken.None);
        }

        Assert.True(engine.Engine.Stats().Wal.Appends > rounds * Writers, "no write ever overtook another between its record and its samples");
        Dictionary<string, List<Sample>> live = engine.ReadAll();
        Assert.Equal(series.Length, live.Count);
        EngineHarness again = EngineHarness.OpenStepwise(disk.CrashClone(new CrashPolicy(kind), seed: 1), EngineHarness.SmallOptions);
        AssertSame(live, again.ReadAll());
    }

    private static StorageOptions OptionsOf(TempDirectory directory) => new()
    {
        DataDir = directory["data"],
        Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(1) },
    };

    private static StorageOptions MergedOften(StorageOptions options, CompactionStrategy strategy) => options with
    {
        Lsm = options.Lsm with { CompactionStrategy = strategy, SstableLevels = 3 },
        Compaction = new CompactionOptions { CompactionThreshold = 0.1, TargetFileSize = ByteSize.Kibibytes(16), MaxFileSize = ByteSize.Kibibytes(32) },
        Integration = new IntegrationOptions { SstableToBlockConversion = false, AdaptiveCompaction = false },
    };

    private static Sample[] SamplesOf(int series, int from, int to) =>
        [.. Enumerable.Range(from, to - from).Select(time => Sample.Of(time, series * 0.001 + time))];

    private static void AssertSame(Dictionary<string, List<Sample>> expected, Dictionary<string, List<Sample>> actual)
    {
        Assert.Equal(expected.Count, actual.Count);
        foreach ((string labels, List<Sample> samples) in expected)
        {
            if (!samples.SequenceEqual(actual[labels])) Assert.Fail($"{labels}: {string.Join(' ', samples)} became {string.Join(' ', actual[labels])}");
        }
    }

    private static async Task FlushThenStopAsync(EngineHarness engine, CancellationTokenSource stop)
    {
        try
        {
            for (int i = 0; i < Flushes; i++)
            {
                await Task.Delay(200, CancellationToken.None);
                await engine.Engine.FlushAsync(CancellationToken.None);
            }
        }
        finally
        {
            await stop.CancelAsync();
        }
    }

    private static int Read(EngineHarness engine, Ledger ledger, CancellationToken stop)
    {
        int reads = 0;
        while (!stop.IsCancellationRequested)
        {
            Dictionary<(string, long), long> acknowledged = ledger.Acknowledged;
            ledger.Check(engine.ReadAll(), acknowledged);
            reads++;
        }

        return reads;
    }

    /// <summary>In order, late, again, and with another value; on series of its own, and on one that both write at times of their own.</summary>
    private static async Task WriteAsync(EngineHarness engine, Ledger ledger, int writer, CancellationToken stop)
    {
        var random = new Random(writer);
        byte[][] own = [.. Enumerable.Range(0, OwnSeries).Select(i => Labels.Encode(("__name__", "c"), ("of", $"{writer}"), ("i", $"{i}")))];
        for (long step = 0; !stop.IsCancellationRequested; step++)
        {
            var request = new List<(byte[], Sample[])>();
            foreach (byte[] labels in own) request.Add((labels, TimesOf(random, step).Select(time => ledger.Next(labels, time, random)).ToArray()));
            request.Add((Shared, [ledger.Next(Shared, step * Writers + writer, random)]));
            WriteReport report = await engine.WriteAsync([.. request]);
            Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
            ledger.Acknowledge(request);

            // A breath now and then, or the ledger grows faster than readers can check it.
            if (step % 8 == 0) await Task.Delay(1, CancellationToken.None);
        }
    }

    private static IEnumerable<long> TimesOf(Random random, long step)
    {
        yield return step * 100_000;
        if (random.Next(3) == 0) yield return step * 100_000 - random.Next(1, 1000);
        if (random.Next(3) == 0) yield return random.NextInt64(step + 1) * 100_000;
    }

    /// <summary>Versions of each sample: the value is the number of its version, so that a value read proves where it came from.</summary>
    private sealed class Ledger
    {
        private readonly ConcurrentDictionary<(string, long), long> _sent = new();
        private readonly ConcurrentDictionary<(string, long), long> _acknowledged = new();

        public Dictionary<(string, long), long> Acknowledged => new(_acknowledged);

        /// <summary>The next version at a time, or, one time in three, the same one again.</summary>
        public Sample Next(byte[] labels, long time, Random random)
        {
            bool again = random.Next(3) == 0;
            return Sample.Of(time, _sent.AddOrUpdate((Labels.Print(labels), time), 1, (_, last) => again ? last : last + 1));
        }

        public void Acknowledge(List<(byte[] Labels, Sample[] Samples)> request)
        {
            foreach ((byte[] labels, Sample[] samples) in request)
            {
                foreach (Sample sample in samples) _acknowledged[(Labels.Print(labels), sample.TimeMs)] = VersionOf(sample);
            }
        }

        /// <summary>Whatever was acknowledged is there in that version or a newer one that was sent; nothing else is.</summary>
        public void Check(Dictionary<string, List<Sample>> read, Dictionary<(string, long), long> acknowledged)
        {
            var found = new Dictionary<(string, long), long>();
            foreach ((string labels, List<Sample> samples) in read)
            {
                foreach (Sample sample in samples) found.Add((labels, sample.TimeMs), VersionOf(sample));
            }

            foreach (((string, long) key, long version) in acknowledged)
            {
                if (!found.TryGetValue(key, out long seen) || seen < version) Assert.Fail($"{key} was acknowledged as {version} and reads as {seen}");
            }

            foreach (((string, long) key, long version) in found)
            {
                if (!_sent.TryGetValue(key, out long last) || version < 1 || version > last) Assert.Fail($"{key} reads as {version} and was sent up to {last}");
            }
        }

        private static long VersionOf(Sample sample) => (long)BitConverter.UInt64BitsToDouble(sample.ValueBits);
    }
}
