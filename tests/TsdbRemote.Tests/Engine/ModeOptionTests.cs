using System.Collections.Concurrent;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Each option that chooses between tables and blocks by what is then stored and answered.</summary>
public sealed class ModeOptionTests : OneSeriesTests
{
    public ModeOptionTests()
        : base(TimeSpan.FromMinutes(40))
    {
    }

    [Fact]
    public void Without_hybrid_mode_no_table_becomes_a_block_and_reads_look_into_tables_alone()
    {
        EngineHarness engine = Open(new IntegrationOptions());
        Write(engine, At(-3), 1);
        engine.CompactByStep();
        Assert.Single(engine.Engine.Stats().Blocks);

        engine = Open(new IntegrationOptions { HybridMode = false });
        Write(engine, At(-2), 2);
        engine.CompactByStep();
        Write(engine, At(0), 3);
        Assert.Equal((1, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        Assert.Equal([Sample.Of(At(-2), 2), Sample.Of(At(0), 3)], engine.ReadAll().Values.Single());

        engine = Open(new IntegrationOptions());
        Assert.Equal([Sample.Of(At(-3), 1), Sample.Of(At(-2), 2), Sample.Of(At(0), 3)], engine.ReadAll().Values.Single());
        engine.CompactByStep();
        Assert.Equal(2, engine.Engine.Stats().Blocks.Length);
    }

    [Theory]
    [InlineData(ReadPathChoice.Hybrid, new double[] { 1, 2, 3 })]
    [InlineData(ReadPathChoice.Lsm, new double[] { 2, 3 })]
    [InlineData(ReadPathChoice.Blocks, new double[] { 1, 3 })]
    public void The_read_path_is_where_reads_look_besides_MemTables(ReadPathChoice path, double[] expected)
    {
        EngineHarness engine = Open(new IntegrationOptions { ReadPath = path });
        Write(engine, At(-3), 1);
        engine.CompactByStep();
        Write(engine, At(0), 2);
        engine.FlushByStep();
        Write(engine, At(0) + 1, 3);
        Assert.Equal((1, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        Assert.Equal(expected, engine.ReadAll().Values.Single().Select(static sample => BitConverter.UInt64BitsToDouble(sample.ValueBits)));
    }

    public static TheoryData<string, WritePathChoice, bool, int> WritePaths => new()
    {
        { "lsm", WritePathChoice.Lsm, true, 0 },
        { "blocks", WritePathChoice.Blocks, true, 1 },
        { "without LSM", WritePathChoice.Lsm, false, 1 },
    };

    [Theory]
    [MemberData(nameof(WritePaths))]
    public void The_write_path_is_what_a_flush_of_an_open_window_ends_as(string what, WritePathChoice path, bool isLsmEnabled, int blocks)
    {
        EngineHarness engine = Open(OptionsOf(new IntegrationOptions { WritePath = path }) with { Lsm = new LsmOptions { Enabled = isLsmEnabled } });
        Write(engine, At(0), 1);
        engine.FlushAndConvertByStep();
        Assert.True((blocks, 1 - blocks) == (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length), what);
        Assert.Equal([Sample.Of(At(0), 1)], engine.ReadAll().Values.Single());
    }

    [Fact]
    public void Block_only_mode_needs_no_option_of_conversion_and_waits_for_no_delay()
    {
        EngineHarness engine = Open(new IntegrationOptions
        {
            WritePath = WritePathChoice.Blocks,
            SstableToBlockConversion = false,
            BlockDelay = Duration.Hours(24),
            LateDelay = Duration.Hours(24),
        });
        for (int round = 0; round < 3; round++)
        {
            foreach (int window in (int[])[-5, -1, 0]) Write(engine, At(window) + round, round);
            engine.FlushAndConvertByStep();
            Assert.Equal((3 * (round + 1), 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        }

        Assert.Equal(9, engine.ReadAll().Values.Single().Count);
        Assert.Equal([], TestBlocks.Problems(Disk));
    }

    [Fact]
    public void A_block_of_an_open_window_says_that_it_is_not_the_newest_data()
    {
        // Else a Prometheus that loads it would refuse what it scrapes until the window ends.
        EngineHarness engine = Open(new IntegrationOptions { WritePath = WritePathChoice.Blocks });
        Write(engine, At(-3), 1);
        Write(engine, At(0), 2);
        engine.FlushAndConvertByStep();
        StoredBlockStats[] blocks = [.. engine.Engine.Stats().Blocks.OrderBy(static block => block.MinTimeMs)];
        Assert.Equal([At(-3), At(0)], blocks.Select(static block => block.MinTimeMs));
        Assert.Equal(
            [[], ["from-out-of-order"]],
            blocks.Select(block => (string[])[.. BlockMeta.Read(Disk, $"{TestBlocks.Directory}/{block.Ulid}/{BlockMeta.FileName}").Compaction.Hints]));
    }

    [Fact]
    public void In_block_only_mode_the_newest_version_wins_wherever_the_versions_are()
    {
        EngineHarness engine = Open(new IntegrationOptions());
        Write(engine, At(0), 1); // a table
        engine.FlushByStep();
        engine = Open(new IntegrationOptions { WritePath = WritePathChoice.Blocks });
        for (int version = 2; version < 6; version++)
        {
            Write(engine, At(0), version);
            AssertVersion(engine, version); // in the MemTable, above a block
            while (engine.Engine.StepBlocks())
            {
            }

            AssertVersion(engine, version);
            engine.FlushByStep();
            AssertVersion(engine, version); // in a block, above another
            while (engine.Engine.StepBlocks())
            {
            }

            AssertVersion(engine, version);
        }

        Assert.Equal((5, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        AssertVersion(Open(new IntegrationOptions()), 5);
    }

    [Theory]
    [InlineData(WritePathChoice.Blocks, 12_000, 1024, 1)]
    [InlineData(WritePathChoice.Blocks, 50_000, 64, 1)]
    [InlineData(WritePathChoice.Blocks, 50_000, 1024, 0)]
    [InlineData(WritePathChoice.Lsm, 12_000, 64, 0)]
    public void Max_block_records_and_max_block_size_are_where_block_only_mode_switches_its_MemTable(WritePathChoice path, long records, int kibibytes, int switches)
    {
        EngineHarness engine = Open(new IntegrationOptions { WritePath = path, MaxBlockRecords = records, MaxBlockSize = ByteSize.Kibibytes(kibibytes) });
        var random = new Random(1);
        Sample[] samples = [.. Enumerable.Range(0, 11_999).Select(i => new Sample(At(0) + i * 10, (ulong)random.NextInt64()))];
        Write(engine, samples);
        if (kibibytes > 100)
        {
            engine.Engine.Step();
            Assert.Equal(0, Switches(engine));
        }

        Write(engine, At(0) + 150_000, 1);
        engine.Engine.Step();
        Assert.Equal(switches, Switches(engine));
        Assert.Equal(12_000, engine.ReadAll().Values.Single().Count);

        static long Switches(EngineHarness engine) => engine.Engine.Stats().Rotations[TsdbRemote.Storage.MemTables.RotationReason.BlockFull];
    }

    [Fact]
    public void In_block_only_mode_reads_of_blocks_see_what_is_on_its_way_into_one()
    {
        EngineHarness engine = Open(new IntegrationOptions { ReadPath = ReadPathChoice.Blocks });
        Write(engine, At(0), 1);
        engine.FlushByStep();
        Assert.Single(engine.Engine.Stats().Tables);
        Assert.Empty(engine.ReadAll());
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Assert.Equal([Sample.Of(At(0), 1)], engine.ReadAll().Values.Single());
        engine.FlushAndConvertByStep();
        Assert.Equal([Sample.Of(At(0), 1)], engine.ReadAll().Values.Single());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void In_block_only_mode_reads_of_tables_see_what_is_flushed_into_blocks(bool atRunTime)
    {
        EngineHarness engine = Open(new IntegrationOptions { ReadPath = ReadPathChoice.Lsm, WritePath = atRunTime ? WritePathChoice.Lsm : WritePathChoice.Blocks });
        if (atRunTime) Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Write(engine, At(0), 1);
        engine.FlushAndConvertByStep();
        Assert.Empty(engine.Engine.Stats().Tables);
        Assert.Equal([Sample.Of(At(0), 1)], engine.ReadAll().Values.Single());
    }

    [Theory]
    [InlineData(ReadPathChoice.Lsm)]
    [InlineData(ReadPathChoice.Blocks)]
    public void What_was_acknowledged_in_block_only_mode_is_still_read_after_the_way_back(ReadPathChoice path)
    {
        EngineHarness engine = Open(new IntegrationOptions { ReadPath = path });
        Write(engine, At(0), 1);
        engine.FlushAndConvertByStep();
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Write(engine, At(0) + 1, 2);
        engine.FlushAndConvertByStep();
        Assert.Equal(2, engine.ReadAll().Values.Single().Count);
        Write(engine, At(0) + 2, 3);
        engine.FlushByStep();
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Lsm));
        Assert.Equal(3, engine.ReadAll().Values.Sum(static samples => samples.Count));
    }

    [Fact]
    public void The_write_path_can_be_switched_while_the_store_is_open_and_the_option_decides_at_the_next_start()
    {
        EngineHarness engine = Open(new IntegrationOptions());
        Write(engine, At(0), 1);
        engine.FlushAndConvertByStep();
        Assert.Equal((0, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));

        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Write(engine, At(0) + 1, 2);
        engine.FlushAndConvertByStep();
        Assert.Equal((1, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length)); // both tables

        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Lsm));
        Write(engine, At(0) + 2, 3);
        engine.FlushAndConvertByStep();
        Assert.Equal((1, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        Sample[] all = [Sample.Of(At(0), 1), Sample.Of(At(0) + 1, 2), Sample.Of(At(0) + 2, 3)];
        Assert.Equal(all, engine.ReadAll().Values.Single());

        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        engine = Open(new IntegrationOptions());
        Assert.Equal(WritePathChoice.Lsm, engine.Engine.Stats().WritePath);
        Assert.Equal(all, engine.ReadAll().Values.Single());
    }

    [Fact]
    public void Without_hybrid_mode_there_is_no_switch_to_block_only_mode()
    {
        EngineHarness engine = Open(new IntegrationOptions { HybridMode = false });
        Assert.False(engine.Engine.TrySwitchWritePath(WritePathChoice.Blocks));
        Assert.True(engine.Engine.TrySwitchWritePath(WritePathChoice.Lsm));
        Assert.Equal(WritePathChoice.Lsm, engine.Engine.Stats().WritePath);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Parallel_sstable_reads_has_other_threads_read_tables_beside_that_of_the_read(bool isOn)
    {
        var disk = new ThreadsOfTables(Disk);
        StorageOptions options = EngineHarness.SmallOptions with { Read = EngineHarness.SmallOptions.Read with { ParallelSstableReads = isOn } };
        await using EngineHarness engine = await EngineHarness.OpenAsync(disk, options, Time);
        for (int table = 0; table < 3; table++)
        {
            Write(engine, At(0) + table, table);
            await engine.Engine.FlushAsync(CancellationToken.None);
        }

        Assert.Equal(3, engine.Engine.Stats().Tables.Length);
        using var otherCame = new ManualResetEventSlim();
        disk.Listen(isOn ? otherCame : null);
        List<Sample> read = engine.ReadAll().Values.Single();
        Assert.Equal([Sample.Of(At(0), 0), Sample.Of(At(0) + 1, 1), Sample.Of(At(0) + 2, 2)], read);
        if (isOn) Assert.True(disk.Threads.Count > 1, "nobody else read");
        else Assert.Equal([Environment.CurrentManagedThreadId], disk.Threads);
    }

    private static void AssertVersion(EngineHarness engine, int version) => Assert.Equal([Sample.Of(At(0), version)], engine.ReadAll().Values.Single());

    /// <summary>A disk that notes which threads read tables, and has each wait until there is a second one.</summary>
    private sealed class ThreadsOfTables(IFileSystem inner) : IFileSystem
    {
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
        private readonly ConcurrentDictionary<int, byte> _threads = new();
        private ManualResetEventSlim? _otherCame;
        private volatile bool _listens;

        public ICollection<int> Threads => _threads.Keys;

        public void Listen(ManualResetEventSlim? otherCame)
        {
            _otherCame = otherCame;
            _listens = true;
        }

        public IFile OpenRead(string path) => new HeardFile(this, inner.OpenRead(path));

        public IFile CreateNew(string path) => inner.CreateNew(path);

        public IFile OpenAppendable(string path) => inner.OpenAppendable(path);

        public void Rename(string from, string to) => inner.Rename(from, to);

        public void Link(string existing, string link) => inner.Link(existing, link);

        public void Unlink(string path) => inner.Unlink(path);

        public void MakeDir(string path) => inner.MakeDir(path);

        public void RemoveDir(string path) => inner.RemoveDir(path);

        public IReadOnlyList<DirectoryEntry> List(string path) => inner.List(path);

        public long? FileSize(string path) => inner.FileSize(path);

        public void SyncDir(string path) => inner.SyncDir(path);

        public long FreeSpace(string path) => inner.FreeSpace(path);

        public IDisposable Lock(string path, string holder) => inner.Lock(path, holder);

        private void Hear(string path)
        {
            if (!_listens || !path.EndsWith(".sst", StringComparison.Ordinal)) return;
            _threads.TryAdd(Environment.CurrentManagedThreadId, 0);
            if (_otherCame is null) return;
            if (_threads.Count > 1) _otherCame.Set();
            Assert.True(_otherCame.Wait(Patience), "no other thread came to read");
        }

        private sealed class HeardFile(ThreadsOfTables owner, IFile inner) : IFile
        {
            public string Path => inner.Path;

            public long Length => inner.Length;

            public int Read(long offset, Span<byte> destination)
            {
                owner.Hear(Path);
                return inner.Read(offset, destination);
            }

            public void Write(long offset, ReadOnlySpan<byte> source) => inner.Write(offset, source);

            public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => inner.WriteGather(offset, buffers);

            public void Preallocate(long length) => inner.Preallocate(length);

            public void SetLength(long length) => inner.SetLength(length);

            public void SyncData() => inner.SyncData();

            public void SyncAll() => inner.SyncAll();

            public MappedFile? TryMap() => inner.TryMap();

            public void Dispose() => inner.Dispose();
        }
    }
}
