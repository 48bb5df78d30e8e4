using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What a replay gives, in whatever order and however much of it there is.</summary>
public sealed class ReplayOrderTests
{
    // As many MemTables as there are segments: none is flushed before it is asked for.
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Lsm = EngineHarness.SmallOptions.Lsm with { MaxImmutableMemTables = 16 } };

    // Full with its first sample, so that each step of background work switches it.
    private static readonly StorageOptions Tiny = Options with { Lsm = Options.Lsm with { MemTableSize = new ByteSize(1) } };

    /// <summary>Some series, some times, so that almost every sample contradicts several others, over many segments.</summary>
    [Fact]
    public async Task T44_segments_replayed_side_by_side_give_what_one_after_the_other_gives()
    {
        var disk = new CrashFileSystem("/disk");
        Dictionary<(string, long), ulong> newest = [];
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Tiny);
        var random = new Random(44);
        for (int request = 0; request < 60; request++)
        {
            string name = $"m{random.Next(4)}";
            Sample[] samples = [.. Enumerable.Range(0, 30).Select(_ => Sample.Of(random.Next(40) * 1000, random.Next()))];
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync((Labels.Encode(("__name__", name)), samples))).Status);
            foreach (Sample sample in samples) newest[(Labels.Print(Labels.Encode(("__name__", name))), sample.TimeMs)] = sample.ValueBits;
            if (request % 10 == 9) SwitchSegment(engine);
        }

        CrashFileSystem killed = disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        Assert.True(killed.List("/disk/data/wal").Count > 5, "there are several segments");
        Assert.Equal(newest, Flat(EngineHarness.OpenStepwise(killed.CrashClone(CrashPolicy.All, seed: 1), Options)));
        for (int attempt = 0; attempt < 10; attempt++)
        {
            await using EngineHarness threaded = await EngineHarness.OpenAsync(killed.CrashClone(CrashPolicy.All, seed: 1), Options with { Wal = Options.Wal with { Async = true } });
            Assert.Equal(newest, Flat(threaded));
        }
    }

    /// <summary>The same in small: twelve segments, and memory for three.</summary>
    [Fact]
    public async Task T45_more_log_than_memory_may_hold_is_flushed_while_it_is_replayed()
    {
        const int Segments = 12;
        const int MemTables = 2;
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Tiny);
        for (int segment = 0; segment < Segments; segment++)
        {
            if (segment > 0) SwitchSegment(engine);
            Sample[] samples = [.. Enumerable.Range(0, 200).Select(i => Sample.Of((segment * 200 + i) * 1000L, i))];
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync((Labels.Encode(("__name__", "m")), samples))).Status);
        }

        disk = disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        StorageOptions tight = Options with { Lsm = Options.Lsm with { MaxImmutableMemTables = MemTables }, Wal = Options.Wal with { Async = true } };
        await using EngineHarness replaying = EngineHarness.Open(disk, tight);
        int most = 0;
        do most = Math.Max(most, replaying.Engine.Stats().MemTables.Length);
        while (await Task.WhenAny(replaying.Engine.WhenReady, Task.Delay(1)) != replaying.Engine.WhenReady);
        await replaying.Engine.WhenReady;
        Assert.InRange(most, 1, MemTables + 1);
        Assert.InRange(replaying.Engine.Stats().Flushes, Segments - MemTables - 1, Segments);
        Assert.Equal(Segments * 200, replaying.ReadAll().Values.Single().Count);
    }

    /// <summary>How long a start takes no test can hold a shared machine to; how much it has to do, it can.</summary>
    [Fact]
    public async Task T88_a_start_after_a_kill_reads_the_log_once_and_the_log_is_held_to_its_size_whatever_was_written()
    {
        var disk = new CrashFileSystem("/disk");
        StorageOptions options = EngineHarness.SmallOptions with
        {
            Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(4) }, // so that the log is the first reason to flush
            Wal = new WalOptions { Async = false, MaxSize = ByteSize.Mebibytes(1) },
        };
        EngineHarness engine = EngineHarness.OpenStepwise(disk, options);
        var random = new Random(88);
        long written = 0;
        long most = 0;
        for (int request = 0; request < 150; request++)
        {
            using PooledBuffer body = EngineHarness.Body([.. Enumerable.Range(0, 5).Select(i =>
                (Labels.Encode(("__name__", $"m{i}")), Enumerable.Range(0, 500).Select(n => Sample.Of(request * 1000L + n, random.NextDouble())).ToArray()))]);
            written += body.Length;
            Assert.Equal(WriteStatus.Written, (await engine.Engine.WriteAsync(WriteProtocol.V1, body)).Status);
            engine.Engine.Step();
            most = Math.Max(most, LogBytes(disk));
        }

        const long Room = 1 << 20; // that is reserved ahead, and what one request may go beyond
        Assert.True(written > 3 * options.Wal.MaxSize.Bytes, $"{written} bytes were written");
        Assert.InRange(most, 1, options.Wal.MaxSize.Bytes + Room);

        CrashFileSystem killed = disk.CrashClone(CrashPolicy.All, seed: 1);
        Dictionary<(string, long), ulong> expected = Flat(engine);
        long left = LogBytes(killed);
        var files = new FaultInjector(killed);
        EngineHarness again = EngineHarness.OpenStepwise(files, options);
        Assert.Equal(expected, Flat(again));
        Assert.InRange(files.AskedOf("/wal/"), left / 4, left + (16 << 10)); // a header and a first frame are looked at before
        again.FlushByStep();
        await again.DisposeAsync();

        files = new FaultInjector(killed);
        await using EngineHarness stopped = EngineHarness.OpenStepwise(files, options);
        Assert.InRange(files.AskedOf("/wal/"), 0, 16 << 10);
        Assert.Equal(expected, Flat(stopped));
    }

    [Fact]
    public async Task T60_of_a_request_that_is_refused_in_part_the_rest_is_there_after_a_power_cut_and_the_refused_never_is()
    {
        var disk = new CrashFileSystem("/disk");
        long now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        (byte[], Sample[])[] request = [.. Enumerable.Range(0, 2000).Select(i => (
            Labels.Encode(("__name__", "m"), ("i", $"{i:D4}")), new[] { Sample.Of(i == 1000 ? now + 86_400_000 : now - i, i) }))];
        WriteReport report = await engine.WriteAsync(request);
        Assert.Equal((WriteStatus.Rejected, 1999), (report.Status, report.Samples));
        EngineHarness again = EngineHarness.OpenStepwise(disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Options);
        for (int round = 0; round < 2; round++)
        {
            Dictionary<string, List<Sample>> read = again.ReadAll();
            Assert.Equal(1999, read.Count);
            Assert.DoesNotContain(Labels.Print(Labels.Encode(("__name__", "m"), ("i", "1000"))), read.Keys);
            again.FlushByStep();
        }
    }

    /// <summary>Begins another MemTable and segment; nothing is flushed.</summary>
    private static void SwitchSegment(EngineHarness engine)
    {
        long segment = engine.Engine.StateNow.MemTables.Active.Segment;
        engine.Engine.Step(flush: false);
        Assert.NotEqual(segment, engine.Engine.StateNow.MemTables.Active.Segment);
    }

    private static long LogBytes(CrashFileSystem disk) => disk.List("/disk/data/wal").Sum(static entry => entry.Length);

    private static Dictionary<(string, long), ulong> Flat(EngineHarness engine) =>
        engine.ReadAll().SelectMany(static series => series.Value.Select(sample => ((series.Key, sample.TimeMs), sample.ValueBits))).ToDictionary(static pair => pair.Item1, static pair => pair.ValueBits);
}
