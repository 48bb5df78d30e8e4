using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>What an answered delete withstands, and what may not keep one from its answer.</summary>
public sealed class DeletePromiseTests() : OneSeriesTests(TimeSpan.FromMinutes(40))
{
    /// <summary>Writers fill a MemTable in the time of a flush: each free place is taken by the next full one, and a delete never gets its switch.</summary>
    [Fact]
    public void A_delete_is_done_while_writers_keep_all_MemTables_full()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(Disk, EngineHarness.SmallOptions); // writers are held back by a clock that goes
        ulong seed = 1;
        int written = 0;
        void Fill()
        {
            while (engine.Engine.StateNow.MemTables.Active.Bytes < 1 << 20)
            {
                Sample[] many = [.. Enumerable.Range(0, 20_000).Select(i => new Sample((written * 100_000L) + i, (seed = (seed * 6364136223846793005) + 1442695040888963407) >> 2))];
                written++;
                Task<WriteReport> write = engine.WriteAsync((Labels.Encode(("__name__", "x")), many));
                Assert.True(write.Wait(TimeSpan.FromSeconds(20)));
                Assert.Equal(WriteStatus.Written, write.Result.Status);
            }
        }

        Fill();
        while (engine.Engine.StateNow.MemTables.Waiting.Length < 2)
        {
            engine.Engine.Step(flush: false);
            Fill();
        }

        Task done = engine.Engine.DeleteAsync([[Matcher.Create(MatcherType.Equal, "__name__", "m")]], TimeRange.All, CancellationToken.None);
        int rounds = 0;
        for (; rounds < 10 && !done.IsCompleted; rounds++)
        {
            engine.Engine.Step(); // flushes one
            Fill();
        }

        Assert.True(done.IsCompleted, $"not deleted after {rounds} flushes; {engine.Engine.StateNow.MemTables.Waiting.Length} MemTables wait, {engine.Engine.Stats().Flushes} flushed");
    }

    /// <summary>The delete is the last commit, and the older manifest has to stand in for the one that has it.</summary>
    [Fact]
    public void A_delete_that_was_answered_does_not_come_back_when_MANIFEST_is_damaged()
    {
        EngineHarness engine = Open(EngineHarness.SmallOptions);
        Write(engine, At(0), 1);
        engine.FlushByStep();
        Task done = engine.Engine.DeleteAsync([[Matcher.Create(MatcherType.Equal, "__name__", "m")]], TimeRange.All, CancellationToken.None);
        engine.Engine.Step(flush: false);
        Assert.True(done.IsCompletedSuccessfully); // answered with 204
        Assert.Empty(engine.ReadAll());
        CrashFileSystem left = Disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        using (IFile file = left.OpenAppendable("/disk/data/MANIFEST"))
        {
            byte[] one = new byte[1];
            file.Read(40, one);
            one[0] ^= 1;
            file.Write(40, one);
        }

        EngineHarness again;
        try
        {
            again = EngineHarness.OpenStepwise(left, EngineHarness.SmallOptions, Time);
        }
        catch (DataDirectoryException)
        {
            return; // refused: fine
        }

        Assert.True(again.ReadAll().Count == 0, "deleted samples are read again; told: " + string.Join("; ", again.Engine.Stats().Damages));
    }
}
