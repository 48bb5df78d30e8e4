using BenchmarkDotNet.Attributes;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Benchmarks;

/// <summary>The whole engine without HTTP: snappy bodies of 2,000 samples from four senders → durable, and at the end all in tables.</summary>
/// <remarks>
/// One invocation is one run: 1,500 scrapes of 20,000 known series and the flush of what is left. They take about 110 MB of MemTable, so a
/// MemTable of 32 MB is flushed six times, one of 256 MB once. Op/s are samples a second of wall time; CPU is of the whole process, so it
/// includes the copy that stands for reading a body from its socket. The bodies are made before and take about 0.7 GB.
/// No baseline: the verb <c>peers</c> compares with other servers.
/// </remarks>
[MemoryDiagnoser]
[CpuDiagnoser]
[OperationsPerSecond]
[ServerLikeJob]
public class EngineBenchmarks
{
    private const int Scrapes = 1_500;
    private const int Samples = Scrapes * Inputs.Series;

    private EngineLoad _load = null!;

    [Params(32, 64, 128, 256)]
    public int MemTableMB { get; set; }

    [Params(WalDurability.Fsync, WalDurability.Interval)]
    public WalDurability Durability { get; set; }

    [GlobalSetup]
    public void Prepare() => _load = new EngineLoad(Inputs.Series, Scrapes);

    [IterationSetup]
    public void Open() => _load.OpenAsync(
        new LsmOptions { MemTableSize = ByteSize.Mebibytes(MemTableMB) }, new WalOptions { Durability = Durability }).GetAwaiter().GetResult();

    [Benchmark(OperationsPerInvoke = Samples)]
    public async Task WriteThroughput()
    {
        await _load.SendAsync();
        await _load.FlushAsync();
    }

    [IterationCleanup]
    public void Close() => _load.CloseAsync().GetAwaiter().GetResult();
}
