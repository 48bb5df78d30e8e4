using TsdbRemote.Storage.Options;

namespace TsdbRemote.Tests.Options;

public sealed class StorageOptionsTests
{
    [Fact]
    public void The_defaults_are_allowed() => Assert.Empty(new StorageOptions().Problems("storage"));

    [Fact]
    public void All_problems_are_told_at_once_each_with_path_value_and_range()
    {
        StorageOptions options = new()
        {
            DataDir = " ",
            Lsm = new LsmOptions { Stripes = 48, MemTableFlushThreshold = 1.5, MemTableSize = new ByteSize(1) },
            Wal = new WalOptions { MaxSize = ByteSize.Kibibytes(1) },
            Read = new ReadOptions { MaxConcurrent = 0 },
            Limits = new LimitsOptions { SamplesPerRequest = -1 },
        };
        Assert.Equal(
            [
                "storage.data_dir: \" \" given, the name of a directory allowed",
                "storage.lsm.memtable_size: 1B given, 64KB to 64GB allowed",
                "storage.lsm.memtable_flush_threshold: 1.5 given, above 0 and up to 1 allowed",
                "storage.lsm.stripes: 48 given, a power of two allowed",
                "storage.wal.max_size: 1KB given, 1MB to 1TB allowed",
                "storage.read.max_concurrent: 0 given, 1 to 10000 allowed",
                "storage.limits.samples_per_request: -1 given, 1 to 100000000 allowed",
            ],
            options.Problems("storage"));
    }
}
