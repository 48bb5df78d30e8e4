using Microsoft.Extensions.Configuration;
using TsdbRemote.Options;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Tests.Options;

public sealed class OptionsChecksTests
{
    [Fact]
    public void Nothing_given_means_the_defaults_in_code() => Assert.Equal(new TsdbRemoteOptions(), Read());

    [Fact]
    public void Every_kind_of_value_is_read_from_its_snake_case_key()
    {
        TsdbRemoteOptions options = Read(
            ("storage:data_dir", "/srv/tsdb"), ("storage:out_of_order_window", "1h30m"), ("storage:conflicts", "reject"),
            ("storage:lsm:memtable_size", "1MB"), ("storage:lsm:memtable_flush_threshold", "0.5"), ("storage:lsm:stripes", "8"),
            ("storage:wal:durability", "interval"), ("storage:wal:async", "false"), ("STORAGE:READ:MAX_SAMPLES", "5"), ("admin:enabled", "true"));
        Assert.Equal("/srv/tsdb", options.Storage.DataDir);
        Assert.Equal(Duration.Minutes(90), options.Storage.OutOfOrderWindow);
        Assert.Equal(ConflictPolicy.Reject, options.Storage.Conflicts);
        Assert.Equal(ByteSize.Mebibytes(1), options.Storage.Lsm.MemTableSize);
        Assert.Equal(0.5, options.Storage.Lsm.MemTableFlushThreshold);
        Assert.Equal(8, options.Storage.Lsm.Stripes);
        Assert.Equal(WalDurability.Interval, options.Storage.Wal.Durability);
        Assert.False(options.Storage.Wal.Async);
        Assert.Equal(5, options.Storage.Read.MaxSamples);
        Assert.True(options.Admin.Enabled);
    }

    [Fact]
    public void The_words_auto_and_unlimited_stand_for_null()
    {
        TsdbRemoteOptions options = Read(("storage:lsm:memtable_size", "auto"), ("storage:out_of_order_window", "unlimited"));
        Assert.Null(options.Storage.Lsm.MemTableSize);
        Assert.Null(options.Storage.OutOfOrderWindow);
    }

    [Fact]
    public void Wrong_values_are_told_with_path_value_and_what_is_allowed() => AssertProblems(
        [
            "storage.block_duration: \"two hours\" given, a duration such as 1h30m allowed",
            "storage.out_of_order_window: \"-1h\" given, a duration such as 1h30m or unlimited allowed",
            "storage.conflicts: \"oldest\" given, newest_wins, reject allowed",
            "storage.lsm.memtable_size: \"big\" given, a size such as 64MB or auto allowed",
            "storage.lsm.memtable_flush_threshold: \"most\" given, a number allowed",
            "storage.lsm.stripes: \"1.5\" given, a whole number allowed",
            "storage.wal.async: \"yes\" given, true or false allowed",
            "storage.read: \"fast\" given, a section with keys of its own allowed",
        ],
        ("storage:block_duration", "two hours"), ("storage:out_of_order_window", "-1h"), ("storage:conflicts", "oldest"),
        ("storage:lsm:memtable_size", "big"), ("storage:lsm:memtable_flush_threshold", "most"), ("storage:lsm:stripes", "1.5"),
        ("storage:wal:async", "yes"), ("storage:read", "fast"));

    [Fact]
    public void A_value_out_of_range_stops_the_start() =>
        AssertProblems(["storage.wal.max_size: 1KB given, 1MB to 1TB allowed"], ("storage:wal:max_size", "1KB"));

    [Fact]
    public void A_check_that_begins_by_itself_waits_no_longer_than_a_timer_can() =>
        AssertProblems(["storage.scrub.interval: 60d given, 1m to 7w allowed"], ("storage:scrub:interval", "60d"));

    [Theory]
    [InlineData("storage:lsm:memtable_sizes", "storage.lsm.memtable_sizes: a value given, unknown; did you mean storage.lsm.memtable_size?")]
    [InlineData("storage:wall:async", "storage.wall: a section given, unknown; did you mean storage.wal?")]
    [InlineData("storge:data_dir", "storge: a section given, unknown; did you mean storage?")]
    [InlineData("kestrel:endpoints:a:url", "kestrel: a section given, unknown; did you mean storage?")]
    [InlineData("storage:data_dir:path", "storage.data_dir.path: a value given, unknown; did you mean storage.data_dir?")]
    public void An_unknown_key_stops_the_start_with_the_nearest_known_one(string key, string problem) => AssertProblems([problem], (key, "1"));

    [Fact]
    public void Every_key_of_the_plan_is_known_with_the_value_it_has_there()
    {
        string[] plan =
        [
            "lsm:enabled=true", "lsm:memtable_flush_threshold=0.8", "lsm:max_immutable_memtables=3", "lsm:sstable_levels=7", "lsm:compaction_strategy=size_tiered",
            "lsm:bloom_filter_bits=10", "lsm:write_buffer_size=32MB", "wal:async=true", "wal:write_batch_size=1000", "wal:max_size=1GB", "wal:max_replay_time=10s",
            "compaction:max_concurrent=4", "compaction:target_file_size=64MB", "compaction:max_file_size=256MB", "compaction:compaction_threshold=0.8",
            "read:parallel_sstable_reads=true", "read:read_buffer_size=1MB", "read:cache_sstable_metadata=true", "integration:hybrid_mode=true",
            "integration:sstable_to_block_conversion=true", "integration:adaptive_compaction=true", "integration:write_path=lsm", "integration:read_path=hybrid",
            "integration:max_block_size=64MB", "integration:max_block_records=1000000",
        ];
        Assert.Equal(new TsdbRemoteOptions(), Read([.. plan.Select(static line => line.Split('=')).Select(static pair => ($"storage:{pair[0]}", pair[1]))]));
    }

    [Fact]
    public void Block_only_mode_and_reads_of_blocks_alone_need_the_hybrid_mode() => AssertProblems(
        [
            "storage.integration.write_path: blocks given, lsm allowed with hybrid_mode false",
            "storage.integration.read_path: blocks given, hybrid or lsm allowed with hybrid_mode false",
            "storage.lsm.enabled: false given, true allowed with integration.hybrid_mode false",
        ],
        ("storage:integration:hybrid_mode", "false"), ("storage:integration:write_path", "blocks"), ("storage:integration:read_path", "blocks"),
        ("storage:lsm:enabled", "false"));

    [Fact]
    public void A_largest_file_below_the_target_is_no_largest_file() => AssertProblems(
        ["storage.compaction.max_file_size: 1MB given, target_file_size (64MB) or more allowed"], ("storage:compaction:max_file_size", "1MB"));

    [Fact]
    public void Keys_of_the_framework_are_none_of_ours() =>
        Assert.Equal(new TsdbRemoteOptions(), Read(("urls", "http://+:80"), ("Logging:LogLevel:Default", "Debug"), ("environment", "Production")));

    [Theory]
    [MemberData(nameof(Keys))]
    public void Every_option_can_be_given_as_it_is_printed(string path)
    {
        string value = OptionsChecks.Print(new TsdbRemoteOptions()).Single(option => option.Path == path).Value;
        Assert.Equal(new TsdbRemoteOptions(), Read((path.Replace('.', ':'), value)));
    }

    public static TheoryData<string> Keys() => [.. OptionsChecks.Print(new TsdbRemoteOptions()).Select(static option => option.Path)];

    private static TsdbRemoteOptions Read(params (string Key, string Value)[] given) => OptionsChecks.Read(Configuration(given));

    private static void AssertProblems(string[] problems, params (string Key, string Value)[] given) =>
        Assert.Equal(problems, Assert.Throws<OptionsException>(() => OptionsChecks.Read(Configuration(given))).Problems);

    private static IConfigurationRoot Configuration((string Key, string Value)[] given) => new ConfigurationBuilder()
        .AddInMemoryCollection(given.Select(static pair => KeyValuePair.Create(pair.Key, (string?)pair.Value))).Build();
}
