using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>How far <c>conflicts: reject</c> looks, as its documentation says.</summary>
public sealed class ConflictPolicyTests
{
    private static readonly byte[] Up = Labels.Encode(("__name__", "up"));
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Conflicts = ConflictPolicy.Reject };

    private readonly CrashFileSystem _disk = new("/disk");

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_second_value_is_refused_while_the_first_is_in_a_MemTable_that_is_written_or_waits(bool waits)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, Options);
        Assert.Equal(WriteStatus.Written, Write(engine, 1));
        if (waits) Switch(engine);
        Assert.Equal(WriteStatus.Rejected, Write(engine, 2));
        Assert.Equal(WriteStatus.Written, Write(engine, 1));
        AssertReads(engine, 1);
        AssertReads(EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Options), 1);
    }

    [Fact]
    public void A_second_value_wins_once_the_first_is_flushed()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(_disk, Options);
        Assert.Equal(WriteStatus.Written, Write(engine, 1));
        engine.FlushByStep();
        Assert.Equal(WriteStatus.Written, Write(engine, 2));
        Assert.Equal(WriteStatus.Rejected, Write(engine, 3));
        AssertReads(engine, 2);
        engine.FlushByStep();
        AssertReads(engine, 2);
    }

    [Fact]
    public void A_second_value_wins_once_the_first_was_replayed()
    {
        Assert.Equal(WriteStatus.Written, Write(EngineHarness.OpenStepwise(_disk, Options), 1));
        EngineHarness engine = EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.OnlySynced, seed: 1), Options);
        Assert.Equal(WriteStatus.Written, Write(engine, 2));
        Assert.Equal(WriteStatus.Rejected, Write(engine, 3));
        AssertReads(engine, 2);
    }

    private static WriteStatus Write(EngineHarness engine, double value) => engine.WriteAsync((Up, [Sample.Of(1, value)])).GetAwaiter().GetResult().Status;

    private static void AssertReads(EngineHarness engine, double value) => Assert.Equal([Sample.Of(1, value)], engine.ReadAll()[Labels.Print(Up)]);

    private static void Switch(EngineHarness engine)
    {
        Task flush = engine.Engine.FlushAsync(CancellationToken.None);
        engine.Engine.Step(flush: false);
        Assert.False(flush.IsCompleted);
        Assert.Single(engine.Engine.StateNow.MemTables.Waiting);
    }
}
