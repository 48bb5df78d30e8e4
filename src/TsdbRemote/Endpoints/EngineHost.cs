using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Endpoints;

/// <summary>Gives the engine its life: open before the port is, closed after the last request has been answered.</summary>
/// <remarks>The framework starts hosted services in the order of registration, the web server last, and stops them in reverse.</remarks>
internal sealed class EngineHost(
    StorageOptions options, IFileSystem files, TimeProvider time, ILoggerFactory loggers, IHostApplicationLifetime lifetime) : IHostedService, IAsyncDisposable
{
    private LsmEngine? _engine;

    /// <summary>The engine.</summary>
    /// <exception cref="InvalidOperationException">It is not open yet: no request can arrive then.</exception>
    public LsmEngine Engine => _engine ?? throw new InvalidOperationException("the engine is not open");

    /// <summary>The engine, or null before it is open: a scrape of metrics may come from inside the process.</summary>
    public LsmEngine? OpenEngine => _engine;

    /// <summary>True if a log segment must not be replayed: then the program ends rather than live on without its data.</summary>
    public bool IsRefused { get; private set; }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        _engine = LsmEngine.Open(options, files, time, loggers);
        _ = StopIfRefusedAsync(_engine);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    /// <remarks>
    /// The host's token covers the draining of requests; the flush has its own time. When that runs out the log holds the rest.
    /// </remarks>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_engine is null) return;
        using var patience = new CancellationTokenSource(options.ShutdownFlushTimeout.ToTimeSpan(), time);
        await _engine.StopAsync(patience.Token);
    }

    private async Task StopIfRefusedAsync(LsmEngine engine)
    {
        try
        {
            await engine.WhenReady;
        }
        catch (DataDirectoryException)
        {
            // The engine has said which file and why.
            IsRefused = true;
            lifetime.StopApplication();
        }
        catch (Exception)
        {
            // Cut off by a stop, or a fault that left the engine read-only: it says so to whoever asks.
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _engine?.DisposeAsync() ?? ValueTask.CompletedTask;
}
