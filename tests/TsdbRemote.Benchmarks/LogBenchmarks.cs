using BenchmarkDotNet.Attributes;
using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Benchmarks;

/// <summary>Bodies of 2,000 samples → log on the real disk, by how many senders wait at a time. 256 bodies an invocation.</summary>
/// <remarks>
/// Times are the wall's: mostly the disk's; the CPU column is ours. For µs a body multiply ns a sample by 2. Every iteration has its own log.
/// Baseline: one write and one sync for each body, one after the other.
/// </remarks>
[MemoryDiagnoser]
[CpuDiagnoser]
public class LogBenchmarks
{
    private const int Bodies = 256;
    private const int Samples = Bodies * Inputs.SamplesPerRequest;

    private readonly LocalFileSystem _files = new();
    private readonly byte[] _body = Inputs.BodiesV1(Input.Typical)[0];
    private BenchmarkDirectory? _directory;
    private WriteAheadLog? _log;
    private Thread? _thread;
    private FileStream? _file;

    [Params(1, 8, 64)]
    public int Writers { get; set; }

    [IterationSetup(Target = nameof(GroupCommitFsync))]
    public void OpenFsync() => Open(WalDurability.Fsync);

    [IterationSetup(Target = nameof(GroupCommitInterval))]
    public void OpenInterval() => Open(WalDurability.Interval);

    [IterationSetup(Target = nameof(SyncEach))]
    public void OpenFile()
    {
        _directory = new BenchmarkDirectory();
        _file = new FileStream(_directory.File("log"), FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    public Task GroupCommitFsync() => FromAllWritersAsync(EnqueueAsync);

    [Benchmark(OperationsPerInvoke = Samples)]
    public Task GroupCommitInterval() => FromAllWritersAsync(EnqueueAsync);

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    public async Task SyncEach()
    {
        using var turn = new SemaphoreSlim(1);
        await FromAllWritersAsync(() => WriteAndSyncAsync(turn));
    }

    [IterationCleanup]
    public void Close()
    {
        _log?.Dispose();
        _log = null;
        _thread?.Join();
        _thread = null;
        _file?.Dispose();
        _file = null;
        _directory?.Dispose();
    }

    private void Open(WalDurability durability)
    {
        _directory = new BenchmarkDirectory();
        var settings = new WalSettings(durability, TimeSpan.FromSeconds(1), MaxBatch: 1000, Async: true);
        _log = new WriteAheadLog(_files, _directory.Path, Guid.NewGuid(), settings, TimeProvider.System, NullLogger.Instance);
        _log.Start(segment: 1);
        _thread = new Thread(_log.Run) { IsBackground = true, Name = "log" };
        _thread.Start();
    }

    private Task FromAllWritersAsync(Func<Task> writeAsync) => Task.WhenAll(Enumerable.Range(0, Writers).Select(_ => Task.Run(async () =>
    {
        for (int i = 0; i < Bodies / Writers; i++) await writeAsync();
    })));

    private Task EnqueueAsync()
    {
        PooledBuffer body = PooledBuffer.Rent(_body.Length);
        body.Append(_body);
        return _log!.Enqueue(WalRecordKind.WriteV1, body, Inputs.StartMs).Committed;
    }

    private async Task WriteAndSyncAsync(SemaphoreSlim turn)
    {
        await turn.WaitAsync();
        try
        {
            _file!.Write(_body);
            _file.Flush(flushToDisk: true);
        }
        finally
        {
            turn.Release();
        }
    }
}
