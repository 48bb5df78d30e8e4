using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Benchmarks;

/// <summary>The engine in this process, without HTTP, and a load for it whose bodies are made before.</summary>
internal sealed class EngineLoad
{
    private const int Senders = 4;

    private readonly ScrapeLoad _load;
    private readonly byte[][] _bodies;
    private readonly int _scrapes;
    private BenchmarkDirectory? _directory;
    private LsmEngine _engine = null!;

    /// <summary>Makes the bodies.</summary>
    /// <param name="series">Series.</param>
    /// <param name="scrapes">Scrapes beside the first one, which makes the series known.</param>
    public EngineLoad(int series, int scrapes)
    {
        _load = new ScrapeLoad(series, Inputs.SamplesPerRequest, Inputs.StartMs, Inputs.IntervalMs);
        int batches = _load.BatchesPerScrape;
        _scrapes = scrapes;
        Series = series;
        _bodies = [.. Enumerable.Range(0, scrapes * batches).AsParallel().AsOrdered().Select(body => _load.Body(scrape: 1 + body / batches, body % batches))];
        Console.WriteLine($"// {_bodies.Length} bodies, {_bodies.Sum(static body => (long)body.Length) >> 20} MiB");
    }

    /// <summary>How many series.</summary>
    public int Series { get; }

    /// <summary>Samples that are sent once the series are known.</summary>
    public long Samples => (long)Series * _scrapes;

    /// <summary>Opens an engine on an empty directory and makes the series known.</summary>
    public async Task OpenAsync(LsmOptions lsm, WalOptions wal)
    {
        _directory = new BenchmarkDirectory();
        var options = new StorageOptions { DataDir = _directory.File("data"), Lsm = lsm, Wal = wal };
        _engine = LsmEngine.Open(options, new LocalFileSystem(), TimeProvider.System, NullLoggerFactory.Instance);
        await _engine.WhenReady;
        for (int batch = 0; batch < _load.BatchesPerScrape; batch++) await WriteAsync(_load.Body(0, batch));
    }

    /// <summary>Sends all from four senders at once; completes with the last acknowledgement.</summary>
    public Task SendAsync() => Task.WhenAll(Enumerable.Range(0, Senders).Select(sender => Task.Run(() => SendAsync(sender))));

    /// <summary>All into tables.</summary>
    public Task FlushAsync() => _engine.FlushAsync(CancellationToken.None);

    /// <summary>Ends the engine.</summary>
    /// <exception cref="InvalidOperationException">Not all samples have been flushed.</exception>
    public async Task CloseAsync()
    {
        EngineStats stats = _engine.Stats();
        await _engine.StopAsync(CancellationToken.None);
        _directory?.Dispose();
        if (stats.FlushSamples != Samples + Series) throw new InvalidOperationException($"{stats.FlushSamples} samples flushed");
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
