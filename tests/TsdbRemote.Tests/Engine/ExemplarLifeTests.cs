using TsdbRemote.Blocks.Files;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Exemplars;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;
using MetadataType = TsdbRemote.Protos.Prometheus.MetricMetadata.Types.MetricType;

namespace TsdbRemote.Tests.Engine;

/// <summary>Exemplars and metadata through log, replay, side files and restarts.</summary>
public sealed class ExemplarLifeTests
{
    private static readonly StorageOptions Options = EngineHarness.SmallOptions;

    [Fact]
    public void After_a_kill_the_log_gives_back_what_was_acknowledged_and_nothing_that_was_refused()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        engine.Write(With("a", 5, "first"));
        engine.Write(With("a", 3, "late"));          // out of order: written without it
        engine.Write(With("b", 5, "other"));
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        EngineHarness again = Kill(disk);
        Assert.Equal([Line("a", 5, "first"), Line("b", 5, "other")], again.Engine.Exemplars.Print());
        Assert.Equal("a: Counter Help.", Metadata(again));
        Assert.Equal(3, again.ReadAll().Values.Sum(static samples => samples.Count));
    }

    [Fact]
    public void A_request_refused_in_part_is_logged_with_its_exemplars_and_its_news()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        WriteRequest request = With("a", 5, "first");
        request.Timeseries.Add(Requests.SeriesOf("job=nameless", (5, 1)));
        request.Timeseries.Add(With("b", 6, "").Timeseries[0]);
        request.Metadata.Add(Told("a", MetadataType.Gauge, new string('h', 5000)).Metadata[0]);
        Assert.Equal(WriteStatus.Rejected, engine.Write(request).Status);
        EngineHarness again = Kill(disk);
        Assert.Equal([Line("a", 5, "first"), "{__name__=\"b\"} {} 1 @6"], again.Engine.Exemplars.Print());
        Assert.Equal(Metadata(engine), Metadata(again));
        Assert.StartsWith("a: Gauge hhh", Metadata(again), StringComparison.Ordinal);
    }

    [Fact]
    public void Exemplars_that_came_without_samples_are_replayed_too()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        engine.Write(Requests.V1(Requests.SeriesOf("__name__=a", (5, 1))));
        engine.Write(Alone("a", 7, "alone"));
        EngineHarness again = Kill(disk, onlyLog: true);
        Assert.Equal([Line("a", 7, "alone")], again.Engine.Exemplars.Print());
    }

    [Fact]
    public void Metadata_told_again_needs_no_record_and_what_changes_does()
    {
        EngineHarness engine = EngineHarness.OpenStepwise(new CrashFileSystem("/disk"), Options);
        long records = Appends(engine);
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        Assert.Equal(1, Appends(engine) - records);
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        Assert.Equal(1, Appends(engine) - records);
        engine.Write(Told("a", MetadataType.Gauge, "Help."));
        engine.Write(Told("b", MetadataType.Gauge, "Help."));
        Assert.Equal(3, Appends(engine) - records);
    }

    [Fact]
    public void A_segment_without_a_sample_is_flushed_when_asked_and_when_it_is_old()
    {
        var time = new ManualTime();
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options, time);
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        engine.FlushByStep();
        Assert.Equal(1, engine.Engine.Stats().Flushes);
        engine.FlushByStep();
        Assert.Equal(1, engine.Engine.Stats().Flushes);    // nothing new: nothing to do

        engine.Write(Told("b", MetadataType.Gauge, "Other."));
        engine.Engine.Step();
        Assert.Equal(1, engine.Engine.Stats().Flushes);
        time.Advance(TimeSpan.FromHours(2));
        engine.Engine.Step();
        Assert.Equal(2, engine.Engine.Stats().Flushes);
        EngineHarness again = Kill(disk);
        Assert.Equal(0, again.Engine.Stats().RecordsReplayed);
        Assert.Equal("a: Counter Help.\nb: Gauge Other.", Metadata(again));
    }

    [Fact]
    public void Side_files_are_written_before_the_segment_goes_and_only_if_something_changed()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        var renamed = new List<string>();
        disk.BeforeOperation = (_, operation) =>
        {
            if (operation.Kind == FileOperationKind.Rename) renamed.Add(operation.ToString());
        };
        engine.Write(With("a", 5, "first"));
        engine.FlushByStep();
        Assert.Equal(["EXEMPLARS", "sst", "MANIFEST"], Targets(renamed));
        renamed.Clear();
        engine.Write(Requests.V1(Requests.SeriesOf("__name__=a", (6, 1))));
        engine.FlushByStep();
        Assert.Equal(["sst", "MANIFEST"], Targets(renamed));
        renamed.Clear();
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        engine.FlushByStep();
        Assert.Equal(["METADATA", "MANIFEST"], Targets(renamed));
    }

    [Theory]
    [InlineData("METADATA")]
    [InlineData("EXEMPLARS")]
    public async Task A_damaged_side_file_is_put_aside_and_named_and_the_start_goes_on(string name)
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        engine.Write(With("a", 5, "first"));
        engine.Write(With("a", 6, "second"));
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        engine.FlushByStep();
        await engine.DisposeAsync();
        Damage(disk, $"/disk/data/{name}");

        EngineHarness again = EngineHarness.OpenStepwise(disk, Options);
        Assert.Contains($"/disk/data/quarantine/{name}.1", Assert.Single(again.Engine.Stats().Damages), StringComparison.Ordinal);
        Assert.NotNull(disk.FileSize($"/disk/data/quarantine/{name}.1"));
        Assert.Equal(name == "METADATA" ? "" : "a: Counter Help.", Metadata(again));
        Assert.Equal(name == "METADATA" ? 2 : 1, again.Engine.Exemplars.Stats.Count);
        await again.StopWithoutFlushAsync();

        EngineHarness third = EngineHarness.OpenStepwise(disk, Options);
        Assert.Empty(third.Engine.Stats().Damages);
        Assert.Equal(again.Engine.Exemplars.Print(), third.Engine.Exemplars.Print());
        Assert.Equal(2, third.ReadAll().Values.Sum(static samples => samples.Count));
    }

    [Theory]
    [InlineData(FileOperationKind.Write, DiskException.NoSpace, "METADATA.tmp")]
    [InlineData(FileOperationKind.CreateNew, DiskException.NoSpace, "EXEMPLARS.tmp")]
    [InlineData(FileOperationKind.SyncAll, 5, "EXEMPLARS.tmp")]
    public void A_side_file_that_cannot_be_written_keeps_the_segment_and_the_flush_is_tried_again(FileOperationKind kind, int errno, string path)
    {
        var time = new ManualTime();
        var crash = new CrashFileSystem("/disk");
        var disk = new FaultInjector(crash);
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options, time);
        engine.Write(With("a", 5, "first"));
        engine.Write(Told("a", MetadataType.Counter, "Help."));
        FaultRule rule = disk.Add(new FaultRule(new Fault.Error(errno), kind) { Path = path, Sticky = true });
        Task flushed = engine.Engine.FlushAsync(CancellationToken.None);
        engine.Engine.Step();
        Assert.False(flushed.IsCompleted);
        Assert.Equal(1, engine.Engine.Stats().FlushErrors);
        Assert.Equal([Line("a", 5, "first")], Kill(crash).Engine.Exemplars.Print());

        disk.Remove(rule);
        time.Advance(TimeSpan.FromMinutes(2));
        while (!flushed.IsCompleted) Assert.True(engine.Engine.Step());
        EngineHarness again = Kill(crash);
        Assert.Equal(0, again.Engine.Stats().RecordsReplayed);
        Assert.Equal([Line("a", 5, "first")], again.Engine.Exemplars.Print());
        Assert.Equal("a: Counter Help.", Metadata(again));
    }

    [Fact]
    public async Task A_later_version_of_a_side_file_refuses_the_start()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        Guid directory = engine.Engine.StateNow.Manifest.DirectoryId;
        await engine.DisposeAsync();
        TsdbRemote.Storage.Framing.SideFile.Write(disk, "/disk/data/EXEMPLARS", ExemplarFile.Kind with { Version = 2 }, directory, static _ => false);
        DataDirectoryException refused = Assert.Throws<DataDirectoryException>(() => EngineHarness.OpenStepwise(disk, Options));
        Assert.Contains("/disk/data/EXEMPLARS at 8: was written in format version 2; this program reads up to 1", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Exemplars_that_are_not_kept_are_left_alone_in_their_file_for_when_they_are_again()
    {
        var disk = new CrashFileSystem("/disk");
        EngineHarness engine = EngineHarness.OpenStepwise(disk, Options);
        engine.Write(With("a", 5, "first"));
        engine.FlushByStep();
        EngineHarness off = EngineHarness.OpenStepwise(
            disk.CrashClone(CrashPolicy.OnlySynced, 1), Options with { Exemplars = new ExemplarOptions { Memory = ByteSize.Mebibytes(0) } });
        Assert.Equal(0, off.Write(With("a", 6, "second")).Exemplars);
        off.FlushByStep();
        Assert.Empty(off.Engine.Exemplars.Print());
        Assert.Equal([Line("a", 5, "first")], Kill(disk).Engine.Exemplars.Print());
    }

    [Theory]
    [InlineData(CrashKind.OnlySynced)]
    [InlineData(CrashKind.RandomPages)]
    [InlineData(CrashKind.DataOnly)]
    [InlineData(CrashKind.EntryOnly)]
    [InlineData(CrashKind.Reordered)]
    public void A_power_cut_before_any_operation_loses_nothing_acknowledged(CrashKind kind)
    {
        List<string> violations = Cut(static files => files, new CrashPolicy(kind), out int crashes);
        Assert.Empty(violations);
        Assert.InRange(crashes, 60, int.MaxValue);
    }

    /// <summary>Each sync of a side file is needed: a disk on which it is forgotten loses something.</summary>
    [Theory]
    [InlineData(SyncKind.All, "/data/", "EXEMPLARS.tmp")]
    [InlineData(SyncKind.All, "/data/", "METADATA.tmp")]
    public void Without_this_sync_a_power_cut_is_noticed(SyncKind kind, string directory, string suffix) => Assert.Contains(
        (CrashPolicy[])[CrashPolicy.OnlySynced, CrashPolicy.RandomPages(0.5), CrashPolicy.DataOnly, CrashPolicy.EntryOnly, CrashPolicy.Reordered],
        policy => Cut(files => new ForgetfulFileSystem(files, kind, directory, suffix), policy, out _).Count > 0);

    private static List<string> Cut(Func<CrashFileSystem, IFileSystem> wrap, CrashPolicy policy, out int crashes)
    {
        var disk = new CrashFileSystem("/disk");
        var acknowledged = new HashSet<string>();
        var sent = new HashSet<string>();
        var violations = new List<string>();
        int count = 0;
        bool isChecking = false;
        string lastWord = "";
        string nextWord = "";
        disk.BeforeOperation = (number, operation) =>
        {
            if (isChecking) return;
            isChecking = true;
            count++;
            EngineHarness again = EngineHarness.OpenStepwise(disk.CrashClone(policy, seed: count), Options);
            string when = $"before {number} ({operation})";
            violations.AddRange(again.Engine.Stats().Damages.Select(damage => $"{when}: {damage}"));
            IReadOnlyList<string> found = again.Engine.Exemplars.Print();
            violations.AddRange(acknowledged.Except(found).Select(line => $"{when}: lost {line}"));
            violations.AddRange(found.Except(sent).Select(line => $"{when}: not sent {line}"));
            string told = Metadata(again);
            if (told != lastWord && told != nextWord) violations.Add($"{when}: metadata {told} instead of {lastWord} or {nextWord}");
            isChecking = false;
        };
        EngineHarness engine = EngineHarness.OpenStepwise(wrap(disk), Options);
        for (int round = 0; round < 4; round++)
        {
            for (int i = 0; i < 2; i++)
            {
                sent.Add(Line("a", (10 * round) + i, "x"));
                engine.Write(With("a", (10 * round) + i, "x"));
                acknowledged.UnionWith(sent);
                nextWord = $"a: Counter word {round}.{i}";
                engine.Write(Told("a", MetadataType.Counter, $"word {round}.{i}"));
                lastWord = nextWord;
            }

            Task done = engine.Engine.FlushAsync(CancellationToken.None);
            engine.Engine.Step(flush: false);
            sent.Add(Line("b", round, "between"));
            engine.Write(With("b", round, "between"));
            acknowledged.UnionWith(sent);
            while (!done.IsCompleted) engine.Engine.Step();
        }

        crashes = count;
        return violations;
    }

    private static EngineHarness Kill(CrashFileSystem disk, bool onlyLog = false)
    {
        CrashFileSystem left = disk.CrashClone(CrashPolicy.OnlySynced, seed: 1);
        if (onlyLog) Assert.Null(left.FileSize("/disk/data/EXEMPLARS"));
        return EngineHarness.OpenStepwise(left, Options);
    }

    private static long Appends(EngineHarness engine)
    {
        engine.Engine.Step(flush: false);
        return engine.Engine.Stats().Wal.Appends;
    }

    private static void Damage(CrashFileSystem disk, string path)
    {
        using IFile file = disk.OpenAppendable(path);
        byte[] one = new byte[1];
        long at = file.Length - 30;        // in the last record
        file.Read(at, one);
        one[0] ^= 1;
        file.Write(at, one);
    }

    private static IEnumerable<string> Targets(List<string> renames) => renames
        .Select(static rename => new[] { "METADATA", "EXEMPLARS", "MANIFEST.prev", "MANIFEST", "sst" }.First(name => rename.Contains(name, StringComparison.Ordinal)))
        .Where(static name => name != "MANIFEST.prev");

    /// <summary>A sample of a series, and an exemplar at the same time.</summary>
    private static WriteRequest With(string name, long timeMs, string trace)
    {
        WriteRequest request = Alone(name, timeMs, trace);
        request.Timeseries[0].Samples.Add(new Sample { Timestamp = timeMs, Value = 1 });
        return request;
    }

    private static WriteRequest Alone(string name, long timeMs, string trace)
    {
        TimeSeries series = Requests.SeriesOf($"__name__={name}");
        var exemplar = new TsdbRemote.Protos.Prometheus.Exemplar { Timestamp = timeMs, Value = 1 };
        if (trace.Length > 0) exemplar.Labels.Add(new Label { Name = "trace_id", Value = trace });
        series.Exemplars.Add(exemplar);
        return Requests.V1(series);
    }

    private static WriteRequest Told(string family, MetadataType type, string help)
    {
        var request = new WriteRequest();
        request.Metadata.Add(new MetricMetadata { MetricFamilyName = family, Type = type, Help = help });
        return request;
    }

    private static string Line(string name, long timeMs, string trace) => $"{{__name__=\"{name}\"}} {{trace_id=\"{trace}\"}} 1 @{timeMs}";

    private static string Metadata(EngineHarness engine) =>
        string.Join('\n', engine.Engine.Metadata.List().Select(static family => $"{family.Key}: {family.Value.Type} {family.Value.Help}"));
}
