using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T19, the loop of SQLite: the n-th disk operation of a history of open, writes, flushes, reads and close fails once, for every n. Nobody hangs or
/// crashes, somebody is told, and after a restart all that was acknowledged is there.
/// </summary>
public sealed class DiskErrorSweepTests
{
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Lsm = EngineHarness.SmallOptions.Lsm with { Stripes = 4 } };

    private static readonly FileOperationKind[] NeedRoom =
    [
        FileOperationKind.CreateNew, FileOperationKind.Write, FileOperationKind.WriteGather, FileOperationKind.Preallocate, FileOperationKind.MakeDir, FileOperationKind.Link,
        FileOperationKind.Rename, FileOperationKind.SyncData, FileOperationKind.SyncAll, FileOperationKind.SyncDir,
    ];

    [Fact]
    public void T19_whichever_operation_fails_nothing_acknowledged_is_lost_and_the_error_shows() => Sweep(Options, DiskException.InputOutput, atLeast: 300);

    [Fact]
    public void T19_in_block_only_mode_too_nothing_acknowledged_is_lost_and_the_error_shows() => Sweep(
        Options with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } }, DiskException.InputOutput, atLeast: 400);

    [Fact]
    public void T20_whichever_operation_finds_the_disk_full_nothing_acknowledged_is_lost_and_the_error_shows() =>
        Sweep(Options, DiskException.NoSpace, atLeast: 100, NeedRoom);

    [Fact]
    public void T20_in_block_only_mode_too_a_full_disk_loses_nothing_acknowledged_and_shows() => Sweep(
        Options with { Integration = new IntegrationOptions { WritePath = WritePathChoice.Blocks } }, DiskException.NoSpace, atLeast: 200, NeedRoom);

    private static void Sweep(StorageOptions options, int errno, int atLeast, params FileOperationKind[] kinds)
    {
        var problems = new List<string>();
        int n = 1;
        for (; ; n++)
        {
            var history = new History(options, new FaultRule(new Fault.Error(errno), kinds) { OnCall = n });
            problems.AddRange(history.Run());
            if (history.Injected is null) break;
        }

        Assert.True(problems.Count == 0, string.Join("\n", problems));
        Assert.True(n > atLeast, $"only {n} operations");
    }

    private sealed class History(StorageOptions options, FaultRule rule) : ILoggerFactory, ILogger
    {
        private static readonly byte[][] Series = [.. Enumerable.Range(0, 3).Select(static i => Labels.Encode(("__name__", "sweep"), ("i", $"{i}")))];
        private readonly CrashFileSystem _disk = new("/disk");
        private readonly ManualTime _time = new();
        private readonly HashSet<(string, Sample)> _sent = [];
        private readonly HashSet<(string, Sample)> _acknowledged = [];
        private readonly List<string> _problems = [];
        private readonly List<string> _shown = [];
        private FaultInjector? _files;

        public string? Injected => _files!.Injected.Count == 0 ? null : _files.Injected[0];

        public List<string> Run()
        {
            _time.Advance(TimeSpan.FromDays(1));
            _files = new FaultInjector(_disk);
            _files.Add(rule);
            for (int life = 0; life < 2; life++)
            {
                // A life that does not begin, for an error now passed, begins at the next attempt.
                EngineHarness? engine = Open() ?? Open();
                if (engine is null)
                {
                    _problems.Add($"{Injected}: the engine does not open");
                    break;
                }

                Live(engine, life);
                Try(() => engine.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(5)) ? engine : throw new TimeoutException("the stop hangs"));
            }

            foreach (CrashPolicy policy in (CrashPolicy[])[CrashPolicy.All, CrashPolicy.OnlySynced]) Check(policy);

            // A read of the log is tried three times before anybody is told.
            bool healed = Injected is { } hit && hit.StartsWith("Read /disk/data/wal/", StringComparison.Ordinal);

            // A start that cannot be counted is told in the log alone, unless it is at its first word for another reason than room: nothing depends on it.
            bool isUncounted = Injected is { } full && (full.Contains("Errno = 28", StringComparison.Ordinal) || full.StartsWith("Write ", StringComparison.Ordinal)) && full.Contains(" /disk/data/REPLAY", StringComparison.Ordinal);
            if (Injected is not null && !healed && !isUncounted && _shown.Count == 0) _problems.Add($"{Injected}: nobody was told");
            return _problems;
        }

        private EngineHarness? Open() => Try(() => EngineHarness.OpenStepwise(_files!, options, _time, this));

        private void Live(EngineHarness engine, int life)
        {
            for (int round = life * 2; round < life * 2 + 2; round++)
            {
                Write(engine, round * 10_000_000, 0, 1);
                Write(engine, round * 10_000_000 + 1000, 1, 1 + round % 2);
                Write(engine, round * 10_000_000 - 1000, 0);
                Flush(engine);
                Write(engine, round * 10_000_000 + 2000, 2);
                Read(engine);
            }
        }

        private void Write(EngineHarness engine, long time, params int[] series)
        {
            Sample sample = Sample.Of(time, time + 0.5);
            foreach (int i in series) _sent.Add((Labels.Print(Series[i]), sample));
            WriteReport? report = Try(() => engine.WriteAsync([.. series.Select(i => (Series[i], new[] { sample }))]).GetAwaiter().GetResult());
            if (report is { Status: WriteStatus.Written }) _acknowledged.UnionWith(series.Select(i => (Labels.Print(Series[i]), sample)));
            else if (report is { Status: WriteStatus.Unavailable }) _shown.Add(report.Message!);
            else if (report is not null) _problems.Add($"{Injected}: {report}");
            engine.Engine.Step(flush: false);
        }

        private void Flush(EngineHarness engine)
        {
            Task flush = engine.Engine.FlushAsync(CancellationToken.None);
            for (int i = 0; i < 5 && !flush.IsCompleted; i++)
            {
                while (engine.Engine.Step())
                {
                }

                _time.Advance(TimeSpan.FromMinutes(6));
            }

            if (options.Integration.WritePath == WritePathChoice.Blocks) WorkOnBlocks(engine);
            if (!flush.IsCompleted) _problems.Add($"{Injected}: the flush never ends");
            else if (flush.Exception is { InnerException: EngineUnavailableException unavailable }) _shown.Add(unavailable.Message);
            else if (flush.Exception is { } other) _problems.Add($"{Injected}: {other}");
        }

        private void WorkOnBlocks(EngineHarness engine)
        {
            for (int round = 0; round < 2; round++)
            {
                for (int i = 0; i < 50 && engine.Engine.StepBlocks(); i++)
                {
                }

                _time.Advance(TimeSpan.FromSeconds(31)); // the directory is looked into again
            }

            if (engine.Engine.Stats().BlocksAdopted > 0) _problems.Add($"{Injected}: {engine.Engine.Stats().BlocksAdopted} blocks of its own are adopted as foreign ones");

            // A block that the disk would not let be looked at is left for the next look, and counted.
            if (engine.Engine.Stats().BlockCompactionErrors > 0) _shown.Add("an error of a compaction of blocks is counted");
        }

        private void Read(EngineHarness engine)
        {
            Dictionary<string, List<Sample>>? read = Try(engine.ReadAll) ?? Try(engine.ReadAll);
            if (read is null) _problems.Add($"{Injected}: reads do not recover");
            else Compare("live", read);
        }

        private void Check(CrashPolicy policy)
        {
            try
            {
                EngineHarness again = EngineHarness.OpenStepwise(_disk.CrashClone(policy, seed: 1), Options);
                foreach (string damage in again.Engine.Stats().Damages) _problems.Add($"{Injected}: {policy}: {damage}");
                Compare($"{policy}", again.ReadAll());
            }
            catch (Exception failure)
            {
                _problems.Add($"{Injected}: {policy}: {failure}");
            }
        }

        private void Compare(string when, Dictionary<string, List<Sample>> read)
        {
            HashSet<(string, Sample)> found = [.. read.SelectMany(static pair => pair.Value.Select(sample => (pair.Key, sample)))];
            _problems.AddRange(_acknowledged.Except(found).Select(lost => $"{Injected}: {when}: {lost} was acknowledged and is lost"));
            _problems.AddRange(found.Except(_sent).Select(strange => $"{Injected}: {when}: {strange} was never sent"));
        }

        private T? Try<T>(Func<T> step)
            where T : class
        {
            try
            {
                return step();
            }
            catch (Exception told) when (told is IOException or CorruptFileException or DataDirectoryException)
            {
                _shown.Add(told.Message);
            }
            catch (Exception failure)
            {
                _problems.Add($"{Injected}: {failure}");
            }

            return null;
        }

        ILogger ILoggerFactory.CreateLogger(string categoryName) => this;

        void ILoggerFactory.AddProvider(ILoggerProvider provider)
        {
        }

        void IDisposable.Dispose()
        {
        }

        IDisposable? ILogger.BeginScope<TState>(TState state) => null;

        bool ILogger.IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

        void ILogger.Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            _shown.Add(formatter(state, exception));
    }
}
