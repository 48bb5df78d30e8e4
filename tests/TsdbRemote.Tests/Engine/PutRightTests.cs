using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What could not be opened for a while, and is put right, finds its place among the versions of a sample.</summary>
public sealed class PutRightTests() : OneSeriesTests(TimeSpan.FromMinutes(1))
{
    [Fact]
    public void A_table_that_is_put_right_does_not_hide_newer_samples_that_became_a_block_meanwhile()
    {
        EngineHarness engine = Open(new IntegrationOptions());
        Write(engine, At(0), 1);
        engine.FlushByStep();
        Write(engine, At(0), 2);
        engine.FlushByStep();
        string older = $"/disk/data/tables/{engine.Engine.Stats().Tables.Min(static table => table.Id)}.sst";
        int last = (int)Disk.FileSize(older)!.Value - 1;
        Flip(older, last);
        Time.Advance(TimeSpan.FromHours(3));
        engine = Open(new IntegrationOptions());
        Assert.Single(engine.Engine.Stats().Damages);
        Assert.Equal([Sample.Of(At(0), 2)], engine.ReadAll().Values.Single());
        engine.FlushAndConvertByStep();
        Assert.Equal([Sample.Of(At(0), 2)], engine.ReadAll().Values.Single());
        Flip(older, last);
        engine = Open(new IntegrationOptions());
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Equal([Sample.Of(At(0), 2)], engine.ReadAll().Values.Single());
    }

    [Fact]
    public void A_block_whose_meta_was_damaged_and_is_put_right_is_not_hidden_by_older_samples()
    {
        var integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks };
        EngineHarness engine = Open(integration);
        Write(engine, At(0), 1);
        engine.FlushByStep();
        Write(engine, At(0), 2);
        engine.FlushByStep();
        Write(engine, At(0) + 1, 3);
        engine.FlushByStep();
        string meta = $"{TestBlocks.Directory}/{engine.Engine.StateNow.Blocks.Blocks.Single(static block => block.Rank == 3).Entry.Ulid}/meta.json";
        Flip(meta, 0);
        Time.Advance(TimeSpan.FromHours(3));
        engine = Open(EngineHarness.SmallOptions with { Integration = integration });
        Assert.Single(engine.Engine.Stats().Damages);
        engine.FlushAndConvertByStep();
        Flip(meta, 0);
        engine = Open(EngineHarness.SmallOptions with { Integration = integration });
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Equal([Sample.Of(At(0), 2), Sample.Of(At(0) + 1, 3)], engine.ReadAll().Values.Single());
    }

    private void Flip(string path, int at)
    {
        byte old = Disk.ReadAll(path)[at];
        using IFile file = Disk.OpenAppendable(path);
        file.Write(at, [(byte)(old ^ 0x10)]);
        file.SyncAll();
    }
}
