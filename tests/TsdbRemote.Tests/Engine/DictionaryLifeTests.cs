using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Series whose data has all gone to blocks leave memory and file; nobody who reads or writes meanwhile notices.</summary>
public sealed class DictionaryLifeTests
{
    private const long WindowMs = 7_200_000;
    private static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);
    private static readonly StorageOptions Options = EngineHarness.SmallOptions with { Integration = new IntegrationOptions { LateDelay = Duration.Seconds(0) } };

    private readonly CrashFileSystem _disk = new("/disk");
    private readonly ManualTime _time = new();
    private readonly SortedDictionary<(string Series, long TimeMs), ulong> _expected = [];
    private EngineHarness _engine;

    public DictionaryLifeTests()
    {
        _time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(40));
        _engine = Open(Options);
    }

    private EngineStats Stats => _engine.Engine.Stats();

    [Fact]
    public void Under_churn_memory_and_file_follow_what_is_live()
    {
        const int PerWindow = 50;
        for (int window = -14; window <= -2; window++)
        {
            Write(window, SeriesNumbers((window + 20) * PerWindow, PerWindow));
            Write(0, SeriesNumbers(0, 5)); // what stays
            _engine.FlushByStep();
            Assert.InRange(Stats.Series, PerWindow, 2 * PerWindow + 10);
            _engine.CompactByStep();
            Assert.Equal(5, Stats.Series);
            Assert.Equal(5, Stats.DictionaryFileSeries);
            Assert.Equal(_disk.FileSize(DictionaryFile()), Stats.DictionaryFileBytes);
        }

        Assert.Equal((13, 14), (Stats.DictionaryCollections, Stats.DictionaryEpoch));
        Assert.Equal(13 * PerWindow, Stats.SeriesDropped);
        Check();
        Restart();
        Assert.Equal(5, Stats.Series);
        Check();
    }

    [Fact]
    public void Nothing_is_collected_while_half_of_the_series_live_or_they_are_few()
    {
        Write(-3, SeriesNumbers(0, 50));
        Write(0, SeriesNumbers(50, 50));
        _engine.CompactByStep();
        Assert.Equal((100, 0), (Stats.Series, Stats.DictionaryCollections)); // exactly half is not over half
        Write(-3, SeriesNumbers(100, 1));
        _engine.CompactByStep();
        Assert.Equal((50, 1), (Stats.Series, Stats.DictionaryCollections));

        Close();
        _engine = EngineHarness.OpenStepwise(_disk, Options, _time);
        Write(-4, SeriesNumbers(200, 500));
        _engine.CompactByStep();
        Assert.Equal((550, 0), (Stats.Series, Stats.DictionaryCollections));
        Write(-4, SeriesNumbers(700, 500));
        _engine.CompactByStep();
        Assert.Equal((50, 1), (Stats.Series, Stats.DictionaryCollections));
        Write(-4, SeriesNumbers(1200, 1000));
        _engine.FlushByStep();
        _engine.BlocksByStep();
        Assert.False(_engine.CollectByStep()); // a minute has not passed
        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.True(_engine.CollectByStep());
        Check();
    }

    [Fact]
    public void Series_that_come_or_come_back_while_the_successor_is_made_are_in_it()
    {
        Write(-3, SeriesNumbers(0, 40));
        Write(0, SeriesNumbers(40, 4));
        _engine.FlushByStep();
        _engine.BlocksByStep();
        Assert.True(_engine.Engine.StepDictionary());
        Write(0, SeriesNumbers(10, 3)); // back
        Write(0, SeriesNumbers(50, 3)); // new
        _engine.FlushByStep(); // takes over, then flushes a MemTable of the dictionary before
        Assert.Equal((2, 10), (Stats.DictionaryEpoch, Stats.Series));
        Assert.Equal(10, Stats.DictionaryFileSeries);
        Write(0, SeriesNumbers(12, 10), step: 7);
        Check();
        _engine.CompactByStep();
        Check();
        Restart();
        Check();

        // Once more, out of a dictionary whose ids do not ascend.
        _time.Advance(TimeSpan.FromHours(6));
        Write(3, SeriesNumbers(11, 1));
        _engine.CompactByStep();
        Assert.Equal(1, Stats.Series);
        Check();
    }

    [Fact]
    public void What_was_flushed_to_new_tables_while_the_successor_was_made_is_in_it_and_in_its_file()
    {
        Write(-3, SeriesNumbers(0, 40));
        Write(0, SeriesNumbers(40, 4));
        _engine.FlushByStep();
        _engine.BlocksByStep();
        Write(0, SeriesNumbers(5, 2)); // held by a MemTable only, and persisted long ago
        Assert.True(_engine.Engine.StepDictionary());
        Write(0, SeriesNumbers(20, 2));
        Write(0, SeriesNumbers(60, 2));
        _engine.FlushByStep();
        Restart(); // ids and labels from the file alone
        Assert.Equal(10, Stats.Series);
        Check();
    }

    [Fact]
    public void A_series_that_left_and_came_back_is_one_series_with_all_its_samples()
    {
        Write(-4, SeriesNumbers(0, 20));
        Write(0, SeriesNumbers(90, 3));
        _engine.CompactByStep();
        Assert.Equal(3, Stats.Series);
        for (int round = 0; round < 3; round++)
        {
            Write(0, SeriesNumbers(0, 4), step: round); // another id than before
            Write(-3, SeriesNumbers(4, 16), step: round);
            Check();
            _engine.CompactByStep();
            Assert.Equal(7, Stats.Series);
            Check();
        }

        Restart();
        Check();
    }

    [Fact]
    public void Two_ids_with_equal_labels_are_read_as_one_over_epochs()
    {
        // A file may hold a series twice: it left memory, came back under another id, and a crash kept the old file. Here the file is made so by hand.
        Write(-4, SeriesNumbers(100, 40));
        Write(0, SeriesNumbers(0, 2));
        _engine.FlushByStep();
        Duplicate(0, 900);
        Reopen(Options);
        Assert.Equal(43, Stats.Series);
        Write(0, SeriesNumbers(0, 2), step: 1);
        _engine.BlocksByStep();
        Assert.True(_engine.Engine.StepDictionary());
        Write(0, SeriesNumbers(0, 2), step: 2);
        _engine.Engine.Step(flush: false);
        Assert.Equal(2, Stats.DictionaryEpoch);
        Write(0, SeriesNumbers(0, 2), step: 3);
        Check();
        _engine.CompactByStep();
        Check();
        Restart();
        Check();
    }

    [Fact]
    public void A_snapshot_and_waiting_memtables_of_old_epochs_read_the_same_to_the_end()
    {
        _time.Advance(TimeSpan.FromMinutes(90)); // window 0 is over, but not closed
        Write(-4, SeriesNumbers(1000, 300));
        Write(0, SeriesNumbers(100, 100));
        Write(1, SeriesNumbers(40, 4));
        _engine.FlushByStep();
        Write(1, SeriesNumbers(40, 8), step: 1);
        using ReadSnapshot first = _engine.Engine.AcquireSnapshot();
        Dictionary<string, List<Sample>> before = All(first);
        _engine.BlocksByStep();
        Assert.True(_engine.Engine.StepDictionary());
        _engine.Engine.Step(flush: false); // a MemTable of epoch 1 waits, one of epoch 2 is active
        Assert.Equal((2, 2, 108), (Stats.DictionaryEpoch, Stats.MemTables.Length, Stats.Series));
        Check();
        Write(1, SeriesNumbers(44, 8), step: 2);
        Check();
        using ReadSnapshot second = _engine.Engine.AcquireSnapshot();
        Dictionary<string, List<Sample>> between = All(second);

        // A second collection while the MemTable of the first epoch still waits.
        _time.Advance(TimeSpan.FromMinutes(40));
        _engine.BlocksByStep();
        Assert.True(_engine.Engine.StepDictionary());
        _engine.Engine.Step(flush: false);
        Assert.Equal((3, 3, 12), (Stats.DictionaryEpoch, Stats.MemTables.Length, Stats.Series));
        Write(1, SeriesNumbers(44, 12), step: 3);
        Check();
        AssertSame(before, All(first));
        AssertSame(between, All(second));
        _engine.CompactByStep();
        Check();
        AssertSame(before, All(first));
        AssertSame(between, All(second));
        Restart();
        Check();
    }

    [Fact]
    public void The_limit_of_series_counts_those_that_live()
    {
        Reopen(Options with { Limits = new LimitsOptions { Series = 50 } });
        Write(-3, SeriesNumbers(0, 50));
        WriteReport refused = Send(0, SeriesNumbers(50, 1), 0);
        Assert.Equal(WriteStatus.Rejected, refused.Status);
        Assert.Contains("storage.limits.series", refused.Message, StringComparison.Ordinal);
        _engine.CompactByStep();
        Write(0, SeriesNumbers(50, 50));
        Assert.Equal(WriteStatus.Rejected, Send(0, SeriesNumbers(0, 1), 0).Status);
        Check();
    }

    [Fact]
    public void What_conflicts_and_windows_need_is_known_after_a_collection()
    {
        Reopen(Options with { OutOfOrderWindow = Duration.Minutes(30), Conflicts = ConflictPolicy.Reject });
        Write(-4, SeriesNumbers(0, 20));
        Write(0, SeriesNumbers(20, 2), step: 35);
        _engine.FlushByStep();
        _engine.BlocksByStep();
        Write(0, SeriesNumbers(20, 2), step: 36);
        Assert.True(_engine.Engine.StepDictionary());
        Write(0, SeriesNumbers(20, 2), step: 37);
        _engine.Engine.Step(flush: false); // the MemTable with minutes 36 and 37 waits, and has other ordinals
        Assert.Equal(2, Stats.DictionaryEpoch);
        WriteReport conflict = Send(0, SeriesNumbers(20, 1), 36, value: 1e6);
        Assert.Equal(WriteStatus.Rejected, conflict.Status);
        Assert.Equal(WriteStatus.Rejected, Send(0, SeriesNumbers(20, 1), 5).Status); // 32 minutes behind
        Assert.Equal(WriteStatus.Written, Send(0, SeriesNumbers(20, 1), 36).Status); // the same again
        Write(0, SeriesNumbers(20, 1), step: 8);
        Check();
    }

    [Fact]
    public void Files_that_nothing_names_are_removed_at_the_next_open()
    {
        Write(-3, SeriesNumbers(0, 40));
        Write(0, SeriesNumbers(40, 4));
        _engine.CompactByStep();
        Assert.Equal("00000002.dict", Path.GetFileName(DictionaryFile()));
        string old = "/disk/data/series/00000001.dict";
        string aborted = "/disk/data/series/00000009.dict";
        foreach (string rest in (string[])[old, aborted]) _disk.CreateNew(rest).Dispose();
        Restart();
        Assert.Null(_disk.FileSize(old));
        Assert.Null(_disk.FileSize(aborted));
        Write(-3, SeriesNumbers(50, 40));
        _engine.CompactByStep();
        Assert.Equal("00000010.dict", Path.GetFileName(DictionaryFile())); // a name that was there is not used again
        Check();
    }

    [Fact]
    public void While_a_table_is_out_of_service_its_series_stay()
    {
        Write(-3, SeriesNumbers(0, 40));
        Write(0, SeriesNumbers(40, 4));
        _engine.FlushByStep();
        Write(0, SeriesNumbers(44, 4));
        _engine.FlushByStep();
        _engine.BlocksByStep();
        TableEntry broken = Stats.Tables.Single(static table => table.Series == 4 && table.MinSeriesId > 44);
        Close();
        using (IFile file = _disk.OpenAppendable($"/disk/data/tables/{broken.Id}.sst")) file.Write(broken.Size - 3, [1, 2, 3]);
        _engine = Open(Options);
        Assert.Single(Stats.Damages);
        Assert.False(_engine.CollectByStep());
        Assert.Equal(48, Stats.Series);
    }

    [Fact]
    public void Beside_tables_in_quarantine_the_old_dictionary_file_is_kept_too()
    {
        Write(-3, SeriesNumbers(0, 40));
        Write(0, SeriesNumbers(40, 4));
        _engine.FlushByStep();
        _engine.BlocksByStep();
        _disk.CreateNew("/disk/data/quarantine/table-77.sst").Dispose();
        long size = _disk.FileSize(DictionaryFile())!.Value;
        Assert.True(_engine.CollectByStep());
        Assert.Equal(size, _disk.FileSize("/disk/data/quarantine/series-1.dict"));
        Check();
    }

    [Fact]
    public async Task Writers_and_readers_beside_collections_lose_nothing()
    {
        using var directory = new TempDirectory();
        StorageOptions options = EngineHarness.SmallOptions with
        {
            DataDir = directory.Path,
            Wal = new WalOptions { Durability = WalDurability.Interval },
            Integration = new IntegrationOptions { LateDelay = Duration.Seconds(1) },
        };
        var window = new StrongBox<int>();
        var acknowledged = new ConcurrentDictionary<(string Series, long TimeMs), ulong>();
        await using (EngineHarness engine = await EngineHarness.OpenAsync(new LocalFileSystem(), options, collectFrom: 20))
        {
            using var stop = new CancellationTokenSource();
            Task[] writers = [.. Enumerable.Range(0, 2).Select(writer => Task.Run(() => WriteChurnAsync(engine, writer, window, acknowledged, stop.Token)))];
            Task<int> reads = Task.Run(() => ReadChurn(engine, acknowledged, stop.Token));
            using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(3));
            while (engine.Engine.Stats().DictionaryCollections < 4)
            {
                Assert.DoesNotContain(writers, static writer => writer.IsFaulted);
                await Task.Delay(100, patience.Token);
                Interlocked.Increment(ref window.Value); // what is written from here on is in the next one
                await engine.Engine.CompactAsync(patience.Token);
            }

            await stop.CancelAsync();
            await Task.WhenAll(writers);
            Assert.True(await reads > 0);
            AssertHolds(acknowledged, engine.ReadAll());
            Assert.True(engine.Engine.Stats().SeriesDropped > 100);
            Assert.Equal((null, 0), (engine.Engine.Stats().Failure, engine.Engine.Stats().DictionaryCollectionErrors));
            await engine.StopWithoutFlushAsync();
        }

        await using EngineHarness again = await EngineHarness.OpenAsync(new LocalFileSystem(), options, collectFrom: 20);
        Assert.Empty(again.Engine.Stats().Damages);
        AssertHolds(acknowledged, again.ReadAll());
    }

    internal static byte[] LabelsOf(int number) => Labels.Encode(("__name__", "life"), ("series", $"{number:D5}"));

    private static async Task WriteChurnAsync(
        EngineHarness engine, int writer, StrongBox<int> window, ConcurrentDictionary<(string Series, long TimeMs), ulong> acknowledged, CancellationToken stop)
    {
        long start = CurrentMs - 2000 * WindowMs;
        for (int round = 0; !stop.IsCancellationRequested; round++)
        {
            // New ones, a few that always go on, and some that come back every fifth round.
            IEnumerable<int> numbers =
            [
                .. Enumerable.Range(0, 20).Select(i => 1000 + (round * 20 + i) * 2 + writer), .. Enumerable.Range(writer * 5, 5),
                .. Enumerable.Range(100 + (round % 5) * 10 + writer * 50, 10),
            ];
            var samples = new Sample[3];
            for (int i = 0; i < samples.Length; i++) samples[i] = Sample.Of(start + Volatile.Read(ref window.Value) * WindowMs + (round * 3 + i) * 2 + writer, round + i);
            (byte[], Sample[])[] request = [.. numbers.Select(number => (LabelsOf(number), samples))];
            WriteReport report = await engine.WriteAsync(request);
            if (report.Status == WriteStatus.Unavailable) continue;
            Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
            foreach ((byte[] labels, _) in request)
            {
                foreach (Sample sample in samples) acknowledged[(Labels.Print(labels), sample.TimeMs)] = sample.ValueBits;
            }

            await Task.Delay(2, CancellationToken.None);
        }
    }

    private static int ReadChurn(EngineHarness engine, ConcurrentDictionary<(string Series, long TimeMs), ulong> acknowledged, CancellationToken stop)
    {
        int reads = 0;
        for (; reads == 0 || !stop.IsCancellationRequested; reads++)
        {
            KeyValuePair<(string, long), ulong>[] before = acknowledged.ToArray(); // its own copy is one instant, that of a collection expression is not
            AssertHolds(before, engine.ReadAll());
        }

        return reads;
    }

    private static void AssertHolds(IEnumerable<KeyValuePair<(string Series, long TimeMs), ulong>> expected, Dictionary<string, List<Sample>> read)
    {
        HashSet<(string, Sample)> found = [.. read.SelectMany(static pair => pair.Value.Select(sample => (pair.Key, sample)))];
        string[] lost = [.. expected.Where(one => !found.Contains((one.Key.Series, new Sample(one.Key.TimeMs, one.Value)))).Take(5).Select(static one => $"{one}")];
        Assert.Empty(lost);
    }

    private static IEnumerable<int> SeriesNumbers(int from, int count) => Enumerable.Range(from, count);

    private static Dictionary<string, List<Sample>> All(ReadSnapshot snapshot) =>
        EngineHarness.Read(snapshot, new TimeRange(0, CurrentMs + WindowMs + 2 * 60_000), Matcher.Create(MatcherType.Regex, "__name__", ".+"));

    private static void AssertSame(Dictionary<string, List<Sample>> expected, Dictionary<string, List<Sample>> actual)
    {
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), actual.Keys.Order(StringComparer.Ordinal));
        foreach ((string series, List<Sample> samples) in expected) Assert.Equal(samples, actual[series]);
    }

    private EngineHarness Open(StorageOptions options) => EngineHarness.OpenStepwise(_disk, options, _time, collectFrom: 2);

    private void Close() => _engine.DisposeAsync().AsTask().GetAwaiter().GetResult();

    private void Reopen(StorageOptions options)
    {
        Close();
        _engine = Open(options);
    }

    private void Restart()
    {
        Reopen(Options);
        Assert.Empty(Stats.Damages);
    }

    /// <summary>Gives a table's series a second id in the committed dictionary, as the manifest's next one.</summary>
    private void Duplicate(int number, ulong id)
    {
        Close();
        ManifestState manifest = Manifest.TryLoad(_disk, Options.DataDir, out _)!;
        using var series = new SeriesDictionary(id);
        uint ordinal = series.GetOrAdd(LabelsOf(number), Labels.Hash(LabelsOf(number)), out _);
        DictionaryEntry file = manifest.Dictionaries.Single();
        SeriesFileEnd end = SeriesFile.Append(
            _disk, new DataLayout(Options.DataDir).Dictionary(file.Number), manifest.DirectoryId, file.Number, file.Length, file.Crc, series, [ordinal]);
        Manifest.Commit(_disk, Options.DataDir, manifest with
        {
            Generation = manifest.Generation + 1,
            NextSeriesId = id + 1,
            Dictionaries = [file with { Length = end.Length, Crc = end.Crc, Entries = file.Entries + 1 }],
        });
    }

    private string DictionaryFile() => $"/disk/data/series/{Assert.Single(_disk.List("/disk/data/series")).Name}";

    private WriteReport Send(int window, IEnumerable<int> numbers, int step, double value = 0) => _engine.WriteAsync(
        [.. numbers.Select(number => (LabelsOf(number), new[] { Sample.Of(CurrentMs + window * WindowMs + step * 60_000, number + step + value) }))]).GetAwaiter().GetResult();

    private void Write(int window, IEnumerable<int> numbers, int step = 0)
    {
        int[] series = [.. numbers];
        WriteReport report = Send(window, series, step);
        Assert.Equal((WriteStatus.Written, null), (report.Status, report.Message));
        foreach (int number in series)
        {
            Sample sample = Sample.Of(CurrentMs + window * WindowMs + step * 60_000, number + step);
            _expected[(Labels.Print(LabelsOf(number)), sample.TimeMs)] = sample.ValueBits;
        }
    }

    private void Check()
    {
        Dictionary<string, List<Sample>> expected = _expected.GroupBy(static pair => pair.Key.Series)
            .ToDictionary(static series => series.Key, static series => series.Select(static pair => new Sample(pair.Key.TimeMs, pair.Value)).ToList());
        AssertSame(expected, _engine.ReadAll());
        Assert.Null(Stats.Failure);
    }
}
