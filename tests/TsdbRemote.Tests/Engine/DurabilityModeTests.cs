using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

public sealed class DurabilityModeTests
{
    private static readonly byte[] Up = Labels.Encode(("__name__", "up"));

    [Theory]
    [InlineData(WalDurability.Fsync)]
    [InlineData(WalDurability.Interval)]
    [InlineData(WalDurability.None)]
    public async Task What_was_flushed_is_there_after_any_kind_of_end_and_in_any_mode(WalDurability durability)
    {
        var disk = new CrashFileSystem("/disk");
        StorageOptions options = EngineHarness.SmallOptions with { Wal = EngineHarness.SmallOptions.Wal with { Durability = durability } };
        EngineHarness engine = EngineHarness.OpenStepwise(disk, options);
        await WriteAsync(engine, 1);
        Flush(engine);
        await engine.DisposeAsync();
        engine = EngineHarness.OpenStepwise(disk, options);
        await WriteAsync(engine, 2);
        Flush(engine);
        foreach (WalDurability next in Enum.GetValues<WalDurability>())
        {
            StorageOptions other = options with { Wal = options.Wal with { Durability = next } };
            EngineHarness again = EngineHarness.OpenStepwise(disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), other);
            Assert.Equal([Sample.Of(1, 1), Sample.Of(2, 2)], again.ReadAll()["{__name__=\"up\"}"]);
        }
    }

    [Fact]
    public async Task A_request_that_came_as_zstd_is_logged_as_it_came_and_replayed()
    {
        byte[] labels = Labels.Encode(("__name__", "m"));
        Sample[] samples = [Sample.Of(1000, 1), Sample.Of(2000, 2)];
        using PooledBuffer raw = PooledBuffer.Rent(1024);
        RemoteWriteV1.EncodeSeries(raw, labels, samples);
        using var packer = new ZstdSharp.Compressor();
        PooledBuffer body = PooledBuffer.Rent(1024);
        body.Append(packer.Wrap(raw.Span));
        var disk = new CrashFileSystem("/disk");
        EngineHarness first = EngineHarness.OpenStepwise(disk, EngineHarness.SmallOptions);
        Assert.Equal(WriteStatus.Written, (await first.Engine.WriteAsync(WriteProtocol.V1, body, Compression.Zstd)).Status);
        EngineHarness again = EngineHarness.OpenStepwise(disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), EngineHarness.SmallOptions);
        again.FlushAndConvertByStep();
        Assert.Equal(samples, Assert.Single(again.ReadAll()).Value);
    }

    [Fact]
    public async Task A_request_refused_for_want_of_room_is_taken_whole_when_it_comes_again_under_a_window_of_zero()
    {
        var disk = new FaultInjector(new CrashFileSystem("/disk"));
        StorageOptions options = EngineHarness.SmallOptions with { OutOfOrderWindow = Duration.Seconds(0) };
        EngineHarness engine = EngineHarness.OpenStepwise(disk, options);
        Sample[] samples = [.. Enumerable.Range(1, 20_000).Select(static i => new Sample(i, (ulong)i * 0x9E3779B97F4A7C15))];
        FaultRule full = disk.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.Preallocate) { Path = "wal/*.log", Sticky = true });
        Assert.Equal(WriteStatus.Unavailable, (await engine.WriteAsync((Up, samples))).Status);
        disk.Remove(full);
        WriteReport report = await engine.WriteAsync((Up, samples));
        Assert.Equal((WriteStatus.Written, 20_000L), (report.Status, report.Samples));
    }

    private static async Task WriteAsync(EngineHarness engine, long timeMs)
    {
        WriteReport report = await engine.WriteAsync((Up, [Sample.Of(timeMs, timeMs)]));
        Assert.Equal(WriteStatus.Written, report.Status);
    }

    private static void Flush(EngineHarness engine) => engine.FlushByStep();
}
