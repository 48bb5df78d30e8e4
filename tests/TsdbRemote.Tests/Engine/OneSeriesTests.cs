using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>One series in a store that is opened again and again, with other options each time, on a disk and by a clock that go on.</summary>
public abstract class OneSeriesTests
{
    protected const long WindowMs = 7_200_000;
    private EngineHarness? _open;

    /// <summary>The clock stands so long into window 0.</summary>
    protected OneSeriesTests(TimeSpan intoWindow) => Time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + intoWindow);

    /// <summary>Start of window 0, ms.</summary>
    protected static long CurrentMs { get; } = TimeWindow.StartOf(1_700_000_000_000, WindowMs);

    /// <summary>The series.</summary>
    protected static byte[] Name { get; } = Labels.Encode(("__name__", "m"));

    protected CrashFileSystem Disk { get; } = new("/disk");

    private protected ManualTime Time { get; } = new();

    /// <summary>Start of a window, ms.</summary>
    protected static long At(int window) => CurrentMs + window * WindowMs;

    /// <summary>Options of a small store whose blocks stay as they are made.</summary>
    protected static StorageOptions OptionsOf(IntegrationOptions integration) =>
        EngineHarness.SmallOptions with { Integration = integration with { BlockCompaction = false } };

    protected static void Write(EngineHarness engine, long time, double value) => Write(engine, Sample.Of(time, value));

    protected static void Write(EngineHarness engine, params Sample[] samples)
    {
        WriteReport report = engine.WriteAsync((Name, samples)).GetAwaiter().GetResult();
        Assert.True(report.Status == WriteStatus.Written, report.Message);
    }

    protected EngineHarness Open(IntegrationOptions integration) => Open(OptionsOf(integration));

    /// <summary>Closes the store that is open, if one is, and opens it anew.</summary>
    protected EngineHarness Open(StorageOptions options, ILoggerFactory? log = null)
    {
        _open?.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return _open = EngineHarness.OpenStepwise(Disk, options, Time, log);
    }
}
