using System.Runtime.InteropServices;
using TsdbRemote.Options;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Access;

/// <summary>Looks every few seconds, and at SIGHUP, whether the web config or a certificate has changed.</summary>
internal sealed class WebConfigReloads(WebAccess access, AccessMetrics metrics, TimeProvider time, ILogger<WebConfigReloads> log) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(3);

    /// <summary>Looks once.</summary>
    public void Look()
    {
        try
        {
            if (!access.Refresh()) return;
            metrics.Reloaded(isGood: true, access.Current.Tls?.NotAfter);
            Log.WebConfigReloaded(log, access.Path);
        }
        catch (OptionsException refused)
        {
            metrics.Reloaded(isGood: false, access.Current.Tls?.NotAfter);
            Log.WebConfigRefused(log, string.Join("; ", refused.Problems));
        }
        catch (Exception failure)
        {
            // A bug of ours must not end a server that goes on well with what it has. The exception's own text may hold what it failed on.
            metrics.Reloaded(isGood: false, access.Current.Tls?.NotAfter);
            Log.WebConfigRefused(log, failure.GetType().Name);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        metrics.Loaded(access.Current.Tls?.NotAfter);
        using PosixSignalRegistration hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
        {
            signal.Cancel = true; // it would end the process
            Look();
        });
        using var timer = new PeriodicTimer(Interval, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                if (access.HaveSettled()) Look();
            }
        }
        catch (OperationCanceledException)
        {
            // The server stops.
        }
    }
}
