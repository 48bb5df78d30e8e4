using System.Text;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Starts with something wrong among the blocks: it is named, the rest serves, and it is tried again until it is well.</summary>
public sealed class BlockRecoveryTests
{
    private const int TooManyLinks = 40;
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly byte[] Name = Labels.Encode(("__name__", "m"));
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Retention = new RetentionOptions { Time = Duration.Hours(10) } };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private readonly FaultInjector _files;
    private EngineHarness _engine;

    public BlockRecoveryTests()
    {
        _files = new FaultInjector(_disk);
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
        _engine = Open();
    }

    [Fact]
    public void A_foreign_block_that_may_be_read_but_not_removed_stops_no_start_and_goes_as_soon_as_it_may()
    {
        string ulid = TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-2), 7)])]).ToString();
        _engine.BlocksByStep();
        FaultRule stuck = _files.Add(new FaultRule(new Fault.Error(Errno.Access), FileOperationKind.Unlink) { Path = "chunks/000001", Sticky = true });
        Expire();
        Assert.Equal((EnginePhase.Ready, 1), (_engine.Engine.Phase, _engine.Engine.Stats().BlocksDeleted));
        for (int start = 0; start < 3; start++)
        {
            long before = stuck.Injections;
            Reopen();
            Assert.Equal(before + 1, stuck.Injections);
            Assert.Contains(ulid, Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
            Assert.DoesNotContain(Sample.Of(At(-2), 7), _engine.ReadAll().Values.Single());
            Write(NowMs, 1);
            _engine.CompactByStep();
            Assert.Equal(before + 2, stuck.Injections); // tried again
            Assert.Equal(EnginePhase.Ready, _engine.Engine.Phase);
        }

        _files.Remove(stuck);
        Rest();
        Assert.Empty(_disk.List(TestBlocks.Directory));
        Assert.DoesNotContain(ulid, Manifest(), StringComparison.Ordinal);
        Reopen();
        Assert.Empty(_engine.Engine.Stats().Damages);
    }

    [Fact]
    public void A_deletion_that_an_earlier_process_left_is_ended_by_the_next_one_and_forgotten()
    {
        string ulid = TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-2), 7)])]).ToString();
        _engine.BlocksByStep();
        FaultRule stuck = _files.Add(new FaultRule(new Fault.Error(Errno.Access), FileOperationKind.Rename) { Path = ulid, Sticky = true });
        Expire();
        Reopen();
        Assert.Contains(ulid, Manifest(), StringComparison.Ordinal);
        _files.Remove(stuck);
        Rest();
        Assert.Empty(_disk.List(TestBlocks.Directory));
        Assert.DoesNotContain(ulid, Manifest(), StringComparison.Ordinal);
        Assert.Equal(0, _engine.Engine.Stats().BlocksAdopted);
    }

    [Fact]
    public void The_rest_of_a_conversion_that_cannot_be_removed_is_never_taken_for_a_foreign_block()
    {
        Close();
        string ulid = PutRest(TestBlocks.Name(1)).ToString();
        FaultRule stuck = _files.Add(new FaultRule(new Fault.Error(Errno.Access), FileOperationKind.Rename) { Path = ulid, Sticky = true });
        _engine = Open();
        Assert.Contains(ulid, Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
        for (int i = 0; i < 2; i++)
        {
            Write(At(-2), i); // commits, after which the mark tells nothing any more
            _engine.CompactByStep();
            Assert.Equal(0, _engine.Engine.Stats().BlocksAdopted);
            Reopen();
        }

        _files.Remove(stuck);
        Rest();
        Assert.DoesNotContain(ulid, _disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
        Assert.Equal(0, _engine.Engine.Stats().BlocksAdopted);
    }

    [Theory]
    [InlineData(Errno.Access)]
    [InlineData(Errno.InputOutput)]
    [InlineData(Errno.NoEntry)]
    [InlineData(TooManyLinks)]
    public void A_named_block_that_the_disk_does_not_let_us_open_is_out_of_service_until_it_does(int errno)
    {
        Write(At(-2), 1);
        Write(At(-3), 2);
        _engine.CompactByStep();
        string ulid = _engine.Engine.Stats().Blocks.Single(static block => block.MinTimeMs == At(-2)).Ulid;
        FaultRule refused = _files.Add(new FaultRule(new Fault.Error(errno), FileOperationKind.OpenRead) { Path = $"{ulid}/index", Sticky = true });
        Reopen();
        AssertOutOfService(ulid, Sample.Of(At(-3), 2));
        for (int i = 0; i < 2; i++) Rest();
        Write(At(-3) + 1, 3); // nothing else is held up
        _engine.CompactByStep();
        AssertOutOfService(ulid, Sample.Of(At(-3), 2), Sample.Of(At(-3) + 1, 3));
        Assert.True(refused.Injections > 2, $"tried {refused.Injections} times");

        _files.Remove(refused);
        Rest();
        Assert.Equal([Sample.Of(At(-3), 2), Sample.Of(At(-3) + 1, 3), Sample.Of(At(-2), 1)], _engine.ReadAll().Values.Single());
        Assert.Equal((2, 0), (_engine.Engine.Stats().Blocks.Length, _engine.Engine.Stats().BlocksAdopted));
        Reopen();
        Assert.Empty(_engine.Engine.Stats().Damages);
        Assert.Equal(2, _engine.Engine.Stats().Blocks.Length);
    }

    [Fact]
    public void A_damaged_named_block_is_told_once_serves_again_once_it_is_repaired_and_keeps_no_rest_from_being_removed()
    {
        Write(At(-2), 1);
        Write(At(-3), 2);
        _engine.CompactByStep();
        string ulid = _engine.Engine.Stats().Blocks.Single(static block => block.MinTimeMs == At(-2)).Ulid;
        Close();
        string index = $"{TestBlocks.Directory}/{ulid}/index";
        byte[] whole = _disk.ReadAll(index);
        Replace(index, whole[..^1]);
        _disk.MakeDir($"{TestBlocks.Directory}/{TestBlocks.Name(1)}.tmp-for-deletion");
        _disk.MakeDir($"{TestBlocks.Directory}/{TestBlocks.Name(2)}.tmp-for-creation");
        PutRest(TestBlocks.Name(3));
        _engine = Open();
        AssertOutOfService(ulid, Sample.Of(At(-3), 2));
        Assert.Equal(2, _disk.List(TestBlocks.Directory).Count); // the two blocks
        for (int i = 0; i < 2; i++) Rest();
        AssertOutOfService(ulid, Sample.Of(At(-3), 2));
        Replace(index, whole);
        Rest();
        Assert.Equal([Sample.Of(At(-3), 2), Sample.Of(At(-2), 1)], _engine.ReadAll().Values.Single());
    }

    [Fact]
    public void What_a_conversion_left_stays_and_is_served_where_a_table_that_it_may_have_been_made_of_is_damaged()
    {
        Write(At(0), 1);
        _engine.FlushByStep();
        Close();
        Replace("/disk/data/tables/1.sst", _disk.ReadAll("/disk/data/tables/1.sst")[..^1]);
        PutRest(TestBlocks.Name(1));
        _engine = Open();
        _engine.BlocksByStep();
        Assert.Equal(1, _engine.Engine.Stats().BlocksAdopted);
        Assert.Equal([Sample.Of(At(-2), 9)], _engine.ReadAll().Values.Single());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_damaged_block_ends_by_age_as_every_other_one(bool isForeign)
    {
        if (isForeign) TestBlocks.Put(_disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-1) - 1, 1)])]);
        else Write(At(-2), 1);
        _engine.CompactByStep();
        string ulid = Assert.Single(_engine.Engine.Stats().Blocks).Ulid;
        _disk.Unlink($"{TestBlocks.Directory}/{ulid}/meta.json");
        Reopen();
        _time.Advance(TimeSpan.FromHours(7));
        Write(NowMs, 1);
        _engine.FlushByStep();
        for (int i = 0; i < 3; i++) Rest();
        Assert.Equal(0, _engine.Engine.Stats().BlocksDeleted);
        Expire();
        Assert.InRange(_engine.Engine.Stats().BlocksDeleted, 1, 2);
        Assert.DoesNotContain(ulid, _disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
        Assert.DoesNotContain(ulid, Manifest(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_directory_of_blocks_that_cannot_be_listed_stops_no_start()
    {
        Write(At(-2), 1);
        _engine.CompactByStep();
        _files.Add(new FaultRule(new Fault.Error(Errno.Access), FileOperationKind.List) { Path = "data/blocks" });
        Reopen();
        Assert.Contains("data/blocks", Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.Single(_engine.ReadAll().Values.Single());
    }

    [Fact]
    public void A_quarantine_that_cannot_be_seen_into_keeps_nothing_from_its_turn()
    {
        _files.Add(new FaultRule(new Fault.Error(Errno.Access), FileOperationKind.List) { Path = "quarantine/junk", Sticky = true });
        _disk.MakeDir("/disk/data/quarantine/junk");
        Write(At(-2), 1);
        _engine.CompactByStep();
        Expire();
        Assert.Equal((EnginePhase.Ready, 1, 0), (_engine.Engine.Phase, _engine.Engine.Stats().BlocksDeleted, _engine.Engine.Stats().ConversionErrors));
    }

    private long NowMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    private static long At(int window) => CurrentMs + window * WindowMs;

    private void AssertOutOfService(string ulid, params Sample[] rest)
    {
        string damage = Assert.Single(_engine.Engine.Stats().Damages);
        Assert.Contains($"{ulid} of {At(-2)} to {At(-1) - 1} ms", damage, StringComparison.Ordinal);
        Assert.Equal(EnginePhase.Ready, _engine.Engine.Phase);
        Assert.Equal(rest, _engine.ReadAll().Values.Single());
        Assert.DoesNotContain(_engine.Engine.Stats().Blocks, block => block.Ulid == ulid);
    }

    /// <summary>A block that no manifest names, marked as a conversion of the manifest that stands.</summary>
    private Ulid PutRest(Ulid ulid)
    {
        string[] manifest = Manifest().Split('\n');
        string Field(string name) => manifest.First(line => line.Contains($"\"{name}\"", StringComparison.Ordinal)).Split(':')[1].Trim(' ', ',', '"');
        var mark = new BlockMark { Directory = Guid.Parse(Field("directory_id")), Generation = long.Parse(Field("generation"), null), Rank = 9 };
        return TestBlocks.Put(_disk, TestBlocks.Directory, ulid, [(Name, [Sample.Of(At(-2), 9)])], mark);
    }

    /// <summary>Everything so far becomes too old.</summary>
    private void Expire()
    {
        _time.Advance(TimeSpan.FromHours(20));
        Write(NowMs, 1);
        _engine.FlushByStep();
        for (int i = 0; i < 3; i++) Rest();
    }

    private void Rest()
    {
        _time.Advance(TimeSpan.FromMinutes(1));
        _engine.BlocksByStep();
    }

    private string Manifest() => Encoding.UTF8.GetString(_disk.ReadAll("/disk/data/MANIFEST"));

    private void Replace(string path, byte[] bytes)
    {
        _disk.Unlink(path);
        _disk.WriteNew(path, bytes, sync: true);
    }

    private EngineHarness Open() => EngineHarness.OpenStepwise(_files, Options, _time);

    private void Reopen()
    {
        Close();
        _engine = Open();
    }

    private void Close() => _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();

    private void Write(long time, double value) => Assert.Equal(WriteStatus.Written, _engine.WriteAsync((Name, [Sample.Of(time, value)])).GetAwaiter().GetResult().Status);
}
