using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>T51: conversion of tables that are damaged. What is whole goes into the block, what is not stays and is named.</summary>
public sealed class BlockDamageTests
{
    private const long WindowMs = 7_200_000;
    private const string Quarantine = "/disk/data/quarantine";
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { BlockCompaction = false } };
    private static readonly byte[][] Series = [.. Enumerable.Range(0, 3).Select(static i => Labels.Encode(("__name__", "m"), ("i", $"{i}")))];

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private EngineHarness _engine;

    public BlockDamageTests()
    {
        _time.Advance(TimeSpan.FromHours(9));
        _engine = Open(_disk);
    }

    [Fact]
    public void T50_a_damaged_chunk_of_a_block_is_left_out_of_reads_where_that_is_asked_for_and_named_and_all_else_is_exact()
    {
        for (int series = 0; series < 3; series++) Write(series, 1000);
        _engine.CompactByStep();
        string segment = $"{TestBlocks.Directory}/{Assert.Single(_engine.Engine.StateNow.Blocks.Blocks).Entry.Ulid}/chunks/000001";
        byte[] bytes = _disk.ReadAll(segment);
        const int at = 8 + 4; // in the first chunk, behind the header
        using (IFile file = _disk.OpenAppendable(segment)) file.Write(at, [(byte)~bytes[at]]);
        Assert.Throws<CorruptFileException>(EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.All, seed: 1), Options, _time).ReadAll);
        StorageOptions skipping = Options with { Read = Options.Read with { OnCorruption = ReadCorruptionPolicy.Skip } };
        EngineHarness engine = EngineHarness.OpenStepwise(_disk.CrashClone(CrashPolicy.All, seed: 1), skipping, _time);
        AssertReads(engine, new() { [1] = [1000], [2] = [1000] });
        Assert.Contains(segment, Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
    }

    [Fact]
    public void T51_a_damaged_chunk_is_left_out_and_named_and_its_table_is_kept()
    {
        Write(0, 1000);
        Write(1, 1000);
        Write(2, 1000);
        _engine.FlushByStep();
        Write(1, 2000); // of another table: it goes into the block
        _engine.FlushByStep();
        DamageChunk(1, number: 1);
        byte[] damaged = _disk.ReadAll(TablePath(1));
        Assert.Throws<CorruptFileException>(_engine.ReadAll);

        _engine.CompactByStep();
        Assert.Contains(TablePath(1), Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Dictionary<int, long[]> rest = new() { [0] = [1000], [1] = [2000], [2] = [1000] };
        AssertReads(_engine, rest);
        Assert.Equal((1, 0, 3), (_engine.Engine.Stats().Blocks.Length, _engine.Engine.Stats().Tables.Length, _engine.Engine.Stats().ConversionSamples));
        Assert.Equal([], TestBlocks.Problems(_disk)); // no bad chunk under a good checksum, and no unused symbol
        Assert.Equal(damaged, _disk.ReadAll($"{Quarantine}/table-1.sst"));
        Assert.Single(_disk.List(Quarantine)); // the whole table is not kept
        Assert.Empty(_disk.List("/disk/data/tables"));

        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            CrashFileSystem image = _disk.CrashClone(policy, seed: 1);
            AssertReads(Open(image), rest);
            Assert.Equal(damaged, image.ReadAll($"{Quarantine}/table-1.sst"));
        }
    }

    [Fact]
    public async Task A_series_of_which_all_is_damaged_is_not_in_the_block()
    {
        byte[] odd = Labels.Encode(("__name__", "odd_name"), ("only_here", "yes"));
        Write(0, 1000);
        Write(1, 1000);
        Assert.Equal(WriteStatus.Written, (await _engine.WriteAsync((odd, [Sample.Of(1000, 1)]))).Status);
        _engine.FlushByStep();
        DamageChunk(1, number: 2);
        _engine.CompactByStep();
        Assert.Equal(2, Assert.Single(_engine.Engine.Stats().Blocks).Series);
        Assert.Equal([], TestBlocks.Problems(_disk));
        AssertReads(_engine, new() { [0] = [1000], [1] = [1000] });
        string index = $"{TestBlocks.Directory}/{_engine.Engine.Stats().Blocks[0].Ulid}/index";
        Assert.Equal(-1, _disk.ReadAll(index).AsSpan().IndexOf("odd_name"u8));
        Assert.Single(_disk.List(Quarantine));
    }

    [Fact]
    public void A_window_of_which_nothing_can_be_read_stays_in_tables_and_others_are_converted()
    {
        Write(0, 1000);
        Write(1, WindowMs + 1000);
        _engine.FlushByStep();
        DamageChunk(1, number: 0);
        _engine.CompactByStep();
        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((1, 1, EnginePhase.Ready), (stats.Blocks.Length, stats.Tables.Length, stats.Phase));
        Assert.Equal(WindowMs, stats.Blocks[0].MinTimeMs);
        Assert.Equal([0], stats.Tables[0].Windows.AsEnumerable());
        Assert.Contains(stats.Damages, static damage => damage.Contains("0 ms", StringComparison.Ordinal));
        Assert.Equal([Sample.Of(WindowMs + 1000, 1)], _engine.Read(new TimeRange(WindowMs, long.MaxValue), Matcher.Create(MatcherType.Equal, "__name__", "m")).Values.Single());
        int said = stats.Damages.Length;
        for (int i = 0; i < 3; i++) _engine.CompactByStep();
        Assert.Equal(said, _engine.Engine.Stats().Damages.Length); // once is enough
    }

    [Fact]
    public void A_damaged_index_block_leaves_its_window_in_tables_and_the_others_are_converted()
    {
        Write(0, 1000);
        Write(1, 1000);
        Write(0, WindowMs + 1000);
        _engine.FlushByStep();
        byte[] good = _disk.ReadAll(TablePath(1));

        // Index blocks begin where the footer says; that of the first window comes first.
        int at = (int)BinaryPrimitives.ReadInt64LittleEndian(good.AsSpan(good.Length - SSTableFormat.FooterBytes + 8)) + 2;
        Flip(_disk, TablePath(1), at);
        _engine.CompactByStep();
        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((1, 1, EnginePhase.Ready), (stats.Blocks.Length, stats.Tables.Length, stats.Phase));
        Assert.Equal(WindowMs, stats.Blocks[0].MinTimeMs);
        Assert.Contains(TablePath(1), Assert.Single(stats.Damages), StringComparison.Ordinal);
        Assert.Throws<CorruptFileException>(_engine.ReadAll);
        Assert.Single(_engine.Read(new TimeRange(WindowMs, long.MaxValue), Matcher.Create(MatcherType.Equal, "__name__", "m")));

        // Named again after a restart, and healed by whoever has the bytes.
        _engine = Reopen();
        _engine.CompactByStep();
        Assert.Contains(TablePath(1), Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
        Flip(_disk, TablePath(1), at);
        _engine = Reopen();
        _engine.CompactByStep();
        AssertReads(_engine, new() { [0] = [1000, WindowMs + 1000], [1] = [1000] });
        Assert.Equal((2, 0), (_engine.Engine.Stats().Blocks.Length, _engine.Engine.Stats().Tables.Length));
        Assert.Equal([], TestBlocks.Problems(_disk));
    }

    [Fact]
    public void A_chunk_that_is_none_under_a_right_checksum_leaves_its_window_in_tables_and_stops_nothing_else()
    {
        Write(0, 1000);
        Write(1, WindowMs + 1000);
        _engine.FlushByStep();
        byte[] table = _disk.ReadAll(TablePath(1));
        int at = SSTableFormat.HeaderBytes + 1;
        int length = table[at - 1];
        table[at + 2] = 9; // nine samples where the bytes hold one
        BinaryPrimitives.WriteUInt32BigEndian(table.AsSpan(at + 1 + length), Crc32C.Of(table.AsSpan(at, 1 + length)));
        using (IFile file = _disk.OpenAppendable(TablePath(1))) file.Write(0, table);
        for (int i = 0; i < 4; i++)
        {
            _ = _engine.Engine.CompactBlocksAsync(CancellationToken.None);
            while (_engine.Engine.StepBlocks())
            {
            }

            _time.Advance(TimeSpan.FromMinutes(6));
        }

        EngineStats stats = _engine.Engine.Stats();
        Assert.Equal((1, 1, EnginePhase.Ready), (stats.Blocks.Length, stats.Tables.Length, stats.Phase));
        Assert.Equal(WindowMs, stats.Blocks[0].MinTimeMs);
        Assert.Contains("0 ms stays in tables", Assert.Single(stats.Damages), StringComparison.Ordinal);
    }

    [Fact]
    public void The_second_name_of_a_damaged_table_is_durable_before_the_first_one_goes_also_if_the_first_attempt_was_killed()
    {
        Write(0, 1000);
        Write(1, 1000);
        _engine.FlushByStep();
        DamageChunk(1, number: 1);
        CrashFileSystem? killed = null;
        _disk.BeforeOperation = (_, operation) =>
        {
            if (operation is { Kind: FileOperationKind.SyncDir, Path: Quarantine }) killed ??= _disk.CrashClone(CrashPolicy.All, seed: 1);
        };
        _engine.CompactByStep();
        Assert.Equal(["table-1.sst"], killed!.List(Quarantine).Select(static entry => entry.Name));
        EngineHarness again = Open(killed);
        again.CompactByStep();
        Assert.Empty(killed.List("/disk/data/tables"));
        Assert.Equal(["table-1.sst"], killed.CrashClone(CrashPolicy.OnlySynced, seed: 1).List(Quarantine).Select(static entry => entry.Name));
    }

    [Fact]
    public async Task A_damaged_block_fails_the_reads_that_need_it_by_the_name_of_its_file_and_is_out_of_service_if_it_cannot_be_opened()
    {
        Write(0, 1000);
        Write(1, WindowMs + 1000);
        _engine.CompactByStep();
        string first = _engine.Engine.Stats().Blocks[0].Ulid;
        string segment = $"{TestBlocks.Directory}/{first}/chunks/000001";
        Flip(_disk, segment, (int)_disk.FileSize(segment)!.Value - 2);
        _engine = Reopen();
        Assert.Contains(segment, Assert.Throws<CorruptFileException>(_engine.ReadAll).Message, StringComparison.Ordinal);
        Assert.Single(_engine.Read(new TimeRange(WindowMs, long.MaxValue), Matcher.Create(MatcherType.Equal, "__name__", "m")));

        string index = $"{TestBlocks.Directory}/{first}/index";
        Flip(_disk, index, (int)_disk.FileSize(index)!.Value - 1);
        _engine = Reopen();
        Assert.Contains(first, Assert.Single(_engine.Engine.Stats().Damages), StringComparison.Ordinal);
        AssertReads(_engine, new() { [1] = [WindowMs + 1000] });
        _engine.CompactByStep();
        Write(2, 1000); // of the window that is out of service
        _engine.CompactByStep();
        await _engine.DisposeAsync();

        // It stays where it is and is still named, so that it serves again once it is whole.
        Flip(_disk, index, (int)_disk.FileSize(index)!.Value - 1);
        Flip(_disk, segment, (int)_disk.FileSize(segment)!.Value - 2);
        _engine = Open(_disk);
        Assert.Empty(_engine.Engine.Stats().Damages);
        AssertReads(_engine, new() { [0] = [1000], [1] = [WindowMs + 1000], [2] = [1000] });
    }

    private static string TablePath(long id) => $"/disk/data/tables/{id}.sst";

    private static void Flip(CrashFileSystem disk, string path, int at)
    {
        byte old = disk.ReadAll(path)[at];
        using IFile file = disk.OpenAppendable(path);
        file.Write(at, [(byte)(old ^ 0x10)]);
        file.SyncAll();
    }

    private EngineHarness Open(CrashFileSystem disk) => EngineHarness.OpenStepwise(disk, Options, _time);

    private EngineHarness Reopen()
    {
        _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return Open(_disk);
    }

    private void Write(int series, long time) =>
        Assert.Equal(WriteStatus.Written, _engine.WriteAsync((Series[series], [Sample.Of(time, 1)])).GetAwaiter().GetResult().Status);

    /// <summary>Chunks come first in a table, behind its header, by window, then id; here each holds one sample, so all are of one length.</summary>
    private void DamageChunk(long table, int number)
    {
        byte[] bytes = _disk.ReadAll(TablePath(table));
        int at = SSTableFormat.HeaderBytes;
        for (int i = 0; i < number; i++) at += 1 + 1 + bytes[at] + 4;
        Flip(_disk, TablePath(table), at + 4);
    }

    private static void AssertReads(EngineHarness engine, Dictionary<int, long[]> expected)
    {
        Dictionary<string, List<Sample>> read = engine.ReadAll();
        Assert.Equal(expected.Count, read.Count);
        foreach ((int series, long[] times) in expected) Assert.Equal(times.Select(static time => Sample.Of(time, 1)), read[Labels.Print(Series[series])]);
    }
}
