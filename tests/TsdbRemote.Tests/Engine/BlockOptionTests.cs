using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Each option of conversion and retention by a history that ends otherwise under another value.</summary>
public sealed class BlockOptionTests : OneSeriesTests
{
    public BlockOptionTests()
        : base(TimeSpan.Zero)
    {
    }

    [Fact]
    public void Without_conversion_tables_stay_tables_and_blocks_that_are_there_are_served_all_the_same()
    {
        EngineHarness engine = Open(new IntegrationOptions());
        Write(engine, At(-3), 1);
        engine.CompactByStep();
        Assert.Single(engine.Engine.Stats().Blocks);

        engine = Open(new IntegrationOptions { SstableToBlockConversion = false });
        Write(engine, At(-2), 2);
        TestBlocks.Put(Disk, TestBlocks.Directory, TestBlocks.Name(1), [(Name, [Sample.Of(At(-5), 5)])]);
        engine.CompactByStep();
        Assert.Equal((2, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        Assert.Equal([Sample.Of(At(-5), 5), Sample.Of(At(-3), 1), Sample.Of(At(-2), 2)], engine.ReadAll().Values.Single());

        engine = Open(new IntegrationOptions());
        engine.CompactByStep();
        Assert.Equal((3, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
    }

    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 4)]
    public void Block_compaction_makes_one_block_of_a_range_that_is_complete_and_of_blocks_that_overlap(bool isOn, int blocks)
    {
        StorageOptions options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0), BlockCompaction = isOn } };
        EngineHarness engine = EngineHarness.OpenStepwise(Disk, options, Time);
        foreach (int window in (int[])[-5, -4, -3]) Write(engine, At(window), window);
        engine.CompactByStep();
        Write(engine, At(-4), 1);
        engine.CompactByStep();
        Assert.Equal((blocks, 0), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().Tables.Length));
        Assert.Equal([Sample.Of(At(-5), -5), Sample.Of(At(-4), 1), Sample.Of(At(-3), -3)], engine.ReadAll().Values.Single());
    }

    [Theory]
    [InlineData(30, 30)]
    [InlineData(5, 5)]
    [InlineData(180, 180)]
    public void Block_delay_is_the_time_after_its_end_at_which_a_window_becomes_a_block(int delayMinutes, int expectedMinutes)
    {
        EngineHarness engine = Open(new IntegrationOptions { BlockDelay = Duration.Minutes(delayMinutes) });
        Write(engine, At(-1), 1);
        int minutes = 0;
        for (; engine.Engine.Stats().Blocks.IsEmpty && minutes < 300; minutes++)
        {
            engine.CompactByStep();
            Time.Advance(TimeSpan.FromMinutes(1));
        }

        Assert.Equal(expectedMinutes, minutes - 1);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(10, 10)]
    [InlineData(60, 60)]
    public void Late_delay_is_the_time_that_late_data_waits_without_more_of_it(int delayMinutes, int expectedMinutes)
    {
        EngineHarness engine = Open(new IntegrationOptions { LateDelay = Duration.Minutes(delayMinutes) });
        Write(engine, At(-2), 1);
        engine.CompactByStep();
        Assert.Single(engine.Engine.Stats().Blocks); // the first time nothing waits
        Write(engine, At(-2) + 1, 2);
        engine.FlushAndConvertByStep();
        Time.Advance(TimeSpan.FromMinutes(5));
        Write(engine, At(-2) + 2, 3);
        engine.FlushAndConvertByStep();
        int before = engine.Engine.Stats().Blocks.Length;
        int minutes = 0;
        for (; engine.Engine.Stats().LateConversions < 2 && engine.Engine.Stats().Tables.Length > 0 && minutes < 100; minutes++)
        {
            Time.Advance(TimeSpan.FromMinutes(1));
            engine.FlushAndConvertByStep();
        }

        Assert.Equal(expectedMinutes, minutes);
        Assert.Equal(delayMinutes == 0 ? 3 : 1, before);
        Assert.Equal(delayMinutes == 0 ? 3 : 2, engine.Engine.Stats().Blocks.Length); // both came into one
        Assert.Equal([Sample.Of(At(-2), 1), Sample.Of(At(-2) + 1, 2), Sample.Of(At(-2) + 2, 3)], engine.ReadAll().Values.Single());
    }

    [Fact]
    public void Who_asks_for_a_compaction_gets_late_data_into_blocks_without_a_wait()
    {
        EngineHarness engine = Open(new IntegrationOptions { LateDelay = Duration.Minutes(60) });
        Write(engine, At(-2), 1);
        engine.CompactByStep();
        Write(engine, At(-2) + 1, 2);
        engine.FlushAndConvertByStep();
        Assert.Single(engine.Engine.Stats().Tables);
        engine.CompactByStep();
        Assert.Empty(engine.Engine.Stats().Tables);
        Assert.Equal([Sample.Of(At(-2), 1), Sample.Of(At(-2) + 1, 2)], engine.ReadAll().Values.Single());
    }

    [Fact]
    public async Task Late_data_is_flushed_by_itself_once_it_has_waited()
    {
        EngineHarness engine = Open(new IntegrationOptions());
        Write(engine, At(-2), 1);
        engine.CompactByStep();
        Write(engine, At(-2) + 1, 2);
        engine.Engine.Step();
        Assert.Empty(engine.Engine.Stats().Tables);
        Time.Advance(TimeSpan.FromMinutes(10));
        while (engine.Engine.Step())
        {
        }

        Assert.Single(engine.Engine.Stats().Tables);
        await engine.DisposeAsync();
    }

    [Fact]
    public async Task Chunk_encoding_optimal_stores_the_same_samples_in_fewer_and_smaller_chunks_than_verbatim()
    {
        var blocks = new Dictionary<ChunkEncodingChoice, StoredBlockStats>();
        var read = new Dictionary<ChunkEncodingChoice, List<Sample>>();
        var random = new Random(1);
        Sample[] samples = [.. Enumerable.Range(0, 480).Select(i => Sample.Of(At(-2) + i * 15_000, Math.Round(random.NextDouble() * (i % 97 == 0 ? 1e9 : 10), 2)))];
        foreach (ChunkEncodingChoice choice in Enum.GetValues<ChunkEncodingChoice>())
        {
            var disk = new CrashFileSystem("/disk");
            EngineHarness engine = EngineHarness.OpenStepwise(disk, OptionsOf(new IntegrationOptions { ChunkEncoding = choice }), Time);
            Assert.Equal(WriteStatus.Written, (await engine.WriteAsync((Name, samples))).Status);
            engine.CompactByStep();
            blocks[choice] = Assert.Single(engine.Engine.Stats().Blocks);
            read[choice] = engine.ReadAll().Values.Single();
            Assert.Equal([], TestBlocks.Problems(disk));
        }

        Assert.Equal(samples, read[ChunkEncodingChoice.Optimal]);
        Assert.Equal(samples, read[ChunkEncodingChoice.Verbatim]);
        (StoredBlockStats optimal, StoredBlockStats verbatim) = (blocks[ChunkEncodingChoice.Optimal], blocks[ChunkEncodingChoice.Verbatim]);
        Assert.True(optimal.Bytes < verbatim.Bytes && optimal.Chunks < verbatim.Chunks, $"{optimal} is not smaller than {verbatim}");
    }

    [Theory]
    [InlineData(null, 3)]
    [InlineData(6, 1)]
    [InlineData(8, 2)]
    public void Retention_time_is_the_age_at_which_a_block_goes(int? hours, int left)
    {
        // Ends 2.5, 6.5 and 8.5 h behind the newest sample and the clock.
        EngineHarness engine = OpenWithBlocks(new RetentionOptions { Time = hours is { } given ? Duration.Hours(given) : null });
        engine.CompactByStep();
        Assert.Equal(3, engine.Engine.Stats().Blocks.Length); // the clock is not believed yet
        Time.Advance(TimeSpan.FromMinutes(2));
        engine.CompactByStep();
        Assert.Equal((left, 3 - left), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().BlocksDeleted));
        Assert.Equal(left + 1, engine.ReadAll().Values.Single().Count);
        engine.CompactByStep();
        Assert.Equal(engine.Engine.Stats().Blocks.Select(static block => block.Ulid).Order(StringComparer.Ordinal), Disk.List(TestBlocks.Directory).Select(static entry => entry.Name));
    }

    [Fact]
    public void Retention_size_is_what_blocks_tables_and_log_may_take_before_the_oldest_block_goes()
    {
        EngineHarness engine = OpenWithBlocks(new RetentionOptions());
        long blocks = engine.Engine.Stats().Blocks.Sum(static block => block.Bytes);
        long others = engine.Engine.Stats().Tables.Sum(static table => table.Size) + engine.Engine.Stats().WalUnflushedBytes;
        engine = Open(OptionsOf(new RetentionOptions { Size = new ByteSize(blocks + others + 100_000) }));
        engine.CompactByStep();
        Assert.Equal(3, engine.Engine.Stats().Blocks.Length);

        // Table and log are the larger part: they take half of the size from the blocks, and no more.
        Assert.True(others > blocks, $"{others} and {blocks}");
        engine = Open(OptionsOf(new RetentionOptions { Size = new ByteSize(2 * blocks) }));
        engine.CompactByStep();
        Assert.Equal(0, engine.Engine.Stats().BlocksDeleted);
        engine = Open(OptionsOf(new RetentionOptions { Size = new ByteSize(2 * blocks - 2) }));
        engine.CompactByStep();
        Assert.Equal(1, engine.Engine.Stats().BlocksDeleted);
        Assert.DoesNotContain(Sample.Of(At(-5), -5), engine.ReadAll().Values.Single());
        engine = Open(OptionsOf(new RetentionOptions { Size = new ByteSize(1) }));
        engine.CompactByStep();
        Assert.Equal([Sample.Of(NowMs, 0)], engine.ReadAll().Values.Single());
    }

    [Fact]
    public void Junk_that_went_to_quarantine_deletes_no_good_block_and_is_named_once_an_hour()
    {
        EngineHarness engine = OpenWithBlocks(new RetentionOptions());
        string junk = $"{TestBlocks.Directory}/{TestBlocks.Name(1)}";
        Disk.MakeDir(junk);
        Disk.WriteNew($"{junk}/index", new byte[1 << 20], sync: true);
        using var log = new HeardWarnings();
        engine = Open(OptionsOf(new RetentionOptions { Size = ByteSize.Kibibytes(100) }), log);
        for (int round = 0; round < 130; round++)
        {
            Time.Advance(TimeSpan.FromSeconds(31));
            while (engine.Engine.StepBlocks())
            {
            }
        }

        Assert.Equal((3, 0, 1), (engine.Engine.Stats().Blocks.Length, engine.Engine.Stats().BlocksDeleted, engine.Engine.Stats().BlocksQuarantined));
        string[] warnings = [.. log.Heard.Where(static text => text.Contains("storage.retention.size is 102400", StringComparison.Ordinal))];
        Assert.Equal(2, warnings.Length);
        Assert.EndsWith("quarantine takes most of it", warnings[1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(365)]
    [InlineData(-365)]
    public void T43_a_clock_that_jumps_deletes_nothing(int days)
    {
        var time = new JumpingTime(DateTimeOffset.FromUnixTimeMilliseconds(CurrentMs));
        StorageOptions options = OptionsOf(new RetentionOptions { Time = Duration.Hours(24 * 30) });
        EngineHarness engine = EngineHarness.OpenStepwise(Disk, options, time);
        Write(engine, At(-3), 1);
        time.Advance(TimeSpan.FromMinutes(5));
        engine.CompactByStep();
        Assert.Single(engine.Engine.Stats().Blocks);
        time.Jump(TimeSpan.FromDays(days));
        for (int i = 0; i < 4; i++)
        {
            if (days > 0) Write(engine, time.NowMs, i); // a sender that got its time from the same clock
            engine.CompactByStep();
            time.Advance(TimeSpan.FromSeconds(14));
        }

        time.Jump(TimeSpan.FromDays(-days));
        for (int i = 0; i < 10; i++)
        {
            engine.CompactByStep();
            time.Advance(TimeSpan.FromMinutes(1));
        }

        Assert.Equal(0, engine.Engine.Stats().BlocksDeleted);
        Assert.Contains(Sample.Of(At(-3), 1), engine.ReadAll().Values.Single());
    }

    private long NowMs => Time.GetUtcNow().ToUnixTimeMilliseconds();

    private static StorageOptions OptionsOf(RetentionOptions retention) => OptionsOf(new IntegrationOptions()) with { Retention = retention };

    private sealed class HeardWarnings : ILoggerFactory, ILogger
    {
        public List<string> Heard { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel)) Heard.Add(formatter(state, exception));
        }

        public void Dispose()
        {
        }
    }

    /// <summary>Three blocks and a sample of now.</summary>
    private EngineHarness OpenWithBlocks(RetentionOptions retention)
    {
        Time.Advance(TimeSpan.FromMinutes(30));
        EngineHarness engine = Open(new IntegrationOptions());
        foreach (int window in (int[])[-5, -4, -2]) Write(engine, At(window), window);
        Write(engine, NowMs, 0);
        engine.CompactByStep();
        Assert.Equal(3, engine.Engine.Stats().Blocks.Length);
        return Open(OptionsOf(retention));
    }
}
