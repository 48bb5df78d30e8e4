using BenchmarkDotNet.Attributes;
using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wire;

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
    private const int Senders = 4;

    private readonly ScrapeLoad _load = new(Inputs.Series, Inputs.SamplesPerRequest, Inputs.StartMs, Inputs.IntervalMs);
    private byte[][] _bodies = [];
    private BenchmarkDirectory? _directory;
    private LsmEngine _engine = null!;

    [Params(32, 64, 128, 256)]
    public int MemTableMB { get; set; }

    [Params(WalDurability.Fsync, WalDurability.Interval)]
    public WalDurability Durability { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        int batches = _load.BatchesPerScrape;
        _bodies = [.. Enumerable.Range(0, Scrapes * batches).Select(body => _load.Body(scrape: 1 + body / batches, body % batches))];
        Console.WriteLine($"// {_bodies.Length} bodies, {_bodies.Sum(static body => (long)body.Length) >> 20} MiB");
    }

    [IterationSetup]
    public void Open()
    {
        _directory = new BenchmarkDirectory();
        var options = new StorageOptions
        {
            DataDir = _directory.File("data"),
            Lsm = new LsmOptions { MemTableSize = ByteSize.Mebibytes(MemTableMB) },
            Wal = new WalOptions { Durability = Durability },
        };
        _engine = LsmEngine.Open(options, new LocalFileSystem(), TimeProvider.System, NullLoggerFactory.Instance);
        _engine.WhenReady.GetAwaiter().GetResult();
        for (int batch = 0; batch < _load.BatchesPerScrape; batch++) WriteAsync(_load.Body(0, batch)).GetAwaiter().GetResult();
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    public async Task WriteThroughput()
    {
        await Task.WhenAll(Enumerable.Range(0, Senders).Select(sender => Task.Run(() => SendAsync(sender))));
        await _engine.FlushAsync(CancellationToken.None);
    }

    [IterationCleanup]
    public void Close()
    {
        EngineStats stats = _engine.Stats();
        _engine.StopAsync(CancellationToken.None).GetAwaiter().GetResult();
        _directory?.Dispose();
        if (stats.FlushSamples != Samples + Inputs.Series) throw new InvalidOperationException($"{stats.FlushSamples} samples flushed");
        Console.WriteLine($"// {stats.Flushes} flushes, {(double)stats.FlushBytes / stats.FlushSamples:F2} bytes a sample, stalled {stats.StallSeconds:F2} s");
    }

    /// <summary>A sender has its share of the series and keeps their order in time.</summary>
    private async Task SendAsync(int sender)
    {
        for (int i = 0; i < _bodies.Length; i++)
        {
            if (i % _load.BatchesPerScrape % Senders == sender) await WriteAsync(_bodies[i]);
        }
    }

    private async Task WriteAsync(byte[] bytes)
    {
        while (true)
        {
            PooledBuffer body = PooledBuffer.Rent(bytes.Length);
            body.Append(bytes);
            WriteReport report = await _engine.WriteAsync(WriteProtocol.V1, body);
            if (report.Status == WriteStatus.Written) return;
            if (report.Status != WriteStatus.Unavailable) throw new InvalidOperationException(report.Message);
            await Task.Delay(100);
        }
    }
}
