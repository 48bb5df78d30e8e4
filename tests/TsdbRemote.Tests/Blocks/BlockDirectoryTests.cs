using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

public class BlockDirectoryTests
{
    private const string Name = "01M87K85AJTSJCZBCX46AVGB98";

    [Theory]
    [InlineData(Name + ".tmp-for-creation", true)]
    [InlineData(Name + ".tmp-for-deletion", true)]
    [InlineData(Name + ".tmp", true)]
    [InlineData(Name, false)]
    [InlineData(Name + ".bak", false)]
    [InlineData(Name + ".tmp-for-creation.tmp", false)]
    [InlineData("01M87K85AJTSJCZBCX46AVGB9.tmp", false)]
    [InlineData("81M87K85AJTSJCZBCX46AVGB98.tmp", false)]
    [InlineData(".tmp", false)]
    public void Only_a_block_with_one_of_three_suffixes_is_temporary(string name, bool expected) =>
        Assert.Equal(expected, BlockDirectory.IsTemporary(name));

    [Fact]
    public void Blocks_are_listed_oldest_first_and_nothing_else()
    {
        CrashFileSystem files = new("blocks/" + Name, "blocks/01ARYZ6S41TSV4RRFFQ69G5FAV", $"blocks/{Name}.tmp", "blocks/other");
        files.WriteNew("blocks/01ARYZ6S41TSV4RRFFQ69G5FAW", "a file"u8);
        Assert.Equal(["01ARYZ6S41TSV4RRFFQ69G5FAV", Name], BlockDirectory.List(files, "blocks").Select(ulid => ulid.ToString()));
        Assert.Empty(BlockDirectory.List(files, "none"));
    }

    [Fact]
    public void A_sweep_removes_what_is_temporary_and_nothing_else()
    {
        CrashFileSystem files = new(
            $"blocks/{Name}/chunks", $"blocks/{Name}.tmp-for-creation/chunks", $"blocks/{Name}.tmp-for-deletion", "blocks/a.tmp");
        files.WriteNew($"blocks/{Name}.tmp-for-creation/chunks/000001", "x"u8);
        files.WriteNew($"blocks/{Name}.tmp-for-creation/index", "x"u8);
        files.WriteNew($"blocks/{Name}/index", "x"u8);
        Assert.Equal([$"{Name}.tmp-for-creation", $"{Name}.tmp-for-deletion"], BlockDirectory.SweepTemporaries(files, "blocks"));
        Assert.Equal([Name, "a.tmp"], files.List("blocks").Select(entry => entry.Name));
        Assert.NotNull(files.FileSize($"blocks/{Name}/index"));
        Assert.Empty(BlockDirectory.SweepTemporaries(files, "blocks"));
    }

    [Fact]
    public void A_block_is_renamed_and_that_is_synced_before_anything_of_it_goes()
    {
        CrashFileSystem files = new($"blocks/{Name}/chunks");
        files.WriteNew($"blocks/{Name}/chunks/000001", "x"u8);
        List<string> operations = [];
        files.BeforeOperation = (_, operation) => operations.Add(operation.ToString());
        BlockDirectory.Remove(files, "blocks", Ulid.Parse(Name));
        Assert.Equal(
            [
                $"Rename blocks/{Name} -> blocks/{Name}.tmp-for-deletion",
                "SyncDir blocks",
                $"Unlink blocks/{Name}.tmp-for-deletion/chunks/000001",
                $"RemoveDir blocks/{Name}.tmp-for-deletion/chunks",
                $"RemoveDir blocks/{Name}.tmp-for-deletion",
            ],
            operations);
        Assert.Empty(files.List("blocks"));
        BlockDirectory.Remove(files, "blocks", Ulid.Parse(Name)); // gone already
    }

    [Fact]
    public void A_removal_that_failed_anywhere_is_finished_by_another()
    {
        for (int call = 1; ; call++)
        {
            CrashFileSystem disk = new($"blocks/{Name}/chunks");
            disk.WriteNew($"blocks/{Name}/chunks/000001", "x"u8);
            disk.WriteNew($"blocks/{Name}/index", "x"u8);
            FaultInjector files = new(disk);
            FaultRule rule = files.Add(new FaultRule(new Fault.Error(DiskException.InputOutput)) { OnCall = call });
            try
            {
                BlockDirectory.Remove(files, "blocks", Ulid.Parse(Name));
            }
            catch (DiskException)
            {
                Assert.True(rule.Injections > 0);
            }

            files.Remove(rule);
            BlockDirectory.Remove(files, "blocks", Ulid.Parse(Name));
            Assert.Empty(disk.List("blocks"));
            if (rule.Injections == 0) return;
        }
    }
}
