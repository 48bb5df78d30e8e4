using TsdbRemote.Storage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Tests.Compaction;

public class CompactionPickerTests
{
    [Theory]
    [InlineData("size_tiered")]
    [InlineData("time_tiered")]
    [InlineData("leveled")]
    [InlineData("any_strategy")]
    public void Scripts(string name)
    {
        var world = new PickerScript();
        DataDriven.Run($"compaction/{name}.txt", world.Execute);
    }

    [Fact]
    public void Runs_that_are_out_of_order_are_refused_rather_than_merged()
    {
        // A run of level 1 above one of level 0: merged with its neighbours its older versions would win.
        var world = new PickerScript();
        LevelSet levels = LevelSet.Empty.With(world.Table(1, 0, 1, 1, "00:00"), world.Table(2, 1, 2, 2, "00:00"), world.Table(3, 0, 3, 3, "00:00"), world.Table(4, 0, 4, 4, "00:00"));
        Assert.Throws<InvariantViolatedException>(() => Pick(levels));

        // Two runs whose sequences overlap: neither is the newer one.
        levels = LevelSet.Empty.With(world.Table(1, 0, 1, 3, "00:00"), world.Table(2, 0, 2, 4, "00:00"));
        Assert.Throws<InvariantViolatedException>(() => Pick(levels));
    }

    private static CompactionJob? Pick(LevelSet levels) => CompactionPicker.Pick(
        levels, new CompactionSettings(CompactionStrategy.SizeTiered, PickerScript.WindowMs, 7, Fanout: 2, 1, 64 << 20, 256 << 20), nowMs: 0, static _ => false, static _ => 0);
}
