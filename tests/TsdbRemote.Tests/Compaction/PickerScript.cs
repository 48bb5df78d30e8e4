using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.Levels;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Compaction;

/// <summary>The world of the scripts in <c>Data/compaction</c>: tables that have levels, sequences and sizes, and no data.</summary>
/// <remarks>
/// <code>
/// levels   forgets all tables, then adds one a line: L1 7 seq=3-5 ids=1-9 10MB 00:00,02:00   (level, number, sequences, ids, size, windows;
///          converted=00:00 takes a window out of its entry)
/// add      adds tables, as levels does          age 3=11m 4=2h  time since tables were added
/// set      strategy= fanout= levels= threshold= target= max= now=   stays until it is set again
/// show     runs by window, the oldest first     pick [busy=00:00,…]   the next merge
/// debt     what waits                           rest  picks and merges until nothing is due
/// </code>
/// </remarks>
internal sealed class PickerScript
{
    public const long WindowMs = TableModel.WindowMs;
    private const long MaxMerges = 100;

    private readonly Dictionary<long, long> _ages = [];
    private LevelSet _levels = LevelSet.Empty;
    private CompactionSettings _settings = new(CompactionStrategy.SizeTiered, WindowMs, Levels: 7, Fanout: 4, Threshold: 0.8, 64 << 20, 256 << 20);
    private long _nowMs;
    private long _nextId;

    public string Execute(ScriptCommand command)
    {
        switch (command.Name)
        {
            case "set":
                Set(command.Options);
                return "";
            case "levels":
                _levels = LevelSet.Empty;
                _ages.Clear();
                goto case "add";
            case "add":
                _levels = _levels.With(command.Input.Select(Parse));
                return Show();
            case "age":
                foreach ((string table, string age) in command.Options)
                    _ages[long.Parse(table, CultureInfo.InvariantCulture)] = Duration.Parse(age).Milliseconds;
                return "";
            case "show":
                return Show();
            case "pick":
                HashSet<long> busy = [.. command.Options.GetValueOrDefault("busy", "").Split(',', StringSplitOptions.RemoveEmptyEntries).Select(TimeOf)];
                return Print(Pick(window => busy.Contains(window.MinMs)));
            case "debt":
                CompactionDebt debt = CompactionPicker.Debt(_levels, _settings, _nowMs, AgeOf);
                return $"{debt.Jobs} jobs, {debt.Bytes >> 20}MB";
            case "rest":
                return Rest();
            default:
                throw new ArgumentException($"no command {command.Name}");
        }
    }

    /// <summary>A table with as many samples in each of its windows.</summary>
    public LevelTable Table(long id, int level, ulong first, ulong last, string windows)
    {
        long[] starts = [.. windows.Split(',').Select(TimeOf)];
        string path = new DataLayout("data").Table(id, level, starts[0]);
        ModelSeries[] series = [.. starts.Select(static window => new ModelSeries(window, 1, [new ModelChunk(window, window, ChunkEncoding.Xor, "0001AA")]))];
        var files = new MemoryFileSystem(); // of its own, for a script may give a number again
        SSTableInfo info = TableModel.Write(files, series, new SSTableWriterOptions { TableId = id }, path);
        TableEntry entry = ManifestSamples.Table(id, level, first, starts) with { LastSequence = last };
        _nextId = Math.Max(_nextId, id + 1);
        return new LevelTable(entry, SSTableReader.Open(files, path, id, info.Size, mmap: true, cacheMetadata: true));
    }

    private void Set(IReadOnlyDictionary<string, string> options)
    {
        foreach ((string key, string value) in options)
        {
            switch (key)
            {
                case "strategy": _settings = _settings with { Strategy = Enum.Parse<CompactionStrategy>(value.Replace("_", "", StringComparison.Ordinal), ignoreCase: true) }; break;
                case "fanout": _settings = _settings with { Fanout = int.Parse(value, CultureInfo.InvariantCulture) }; break;
                case "levels": _settings = _settings with { Levels = int.Parse(value, CultureInfo.InvariantCulture) }; break;
                case "threshold": _settings = _settings with { Threshold = double.Parse(value, CultureInfo.InvariantCulture) }; break;
                case "target": _settings = _settings with { TargetFileBytes = ByteSize.Parse(value).Bytes }; break;
                case "max": _settings = _settings with { MaxFileBytes = ByteSize.Parse(value).Bytes }; break;
                case "now": _nowMs = TimeOf(value); break;
                default: throw new ArgumentException($"no setting {key}");
            }
        }
    }

    private LevelTable Parse(string line)
    {
        string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Dictionary<string, string> options = words.Where(static word => word.Contains('=', StringComparison.Ordinal)).Select(static word => word.Split('=')).ToDictionary(static pair => pair[0], static pair => pair[1]);
        string[] plain = [.. words.Where(static word => !word.Contains('=', StringComparison.Ordinal))];
        long id = long.Parse(plain[1], CultureInfo.InvariantCulture);
        (ulong first, ulong last) = RangeOf(options.GetValueOrDefault("seq", plain[1]));
        LevelTable table = Table(id, int.Parse(plain[0][1..], CultureInfo.InvariantCulture), first, last, plain[3]);
        (ulong minId, ulong maxId) = RangeOf(options.GetValueOrDefault("ids", "1-9"));
        ImmutableArray<long> windows = options.TryGetValue("converted", out string? gone) ? table.Entry.Windows.Remove(TimeOf(gone)) : table.Entry.Windows;
        return table with { Entry = table.Entry with { Windows = windows, MinSeriesId = minId, MaxSeriesId = maxId, Size = ByteSize.Parse(plain[2]).Bytes } };
    }

    private CompactionJob? Pick(Func<TimeRange, bool> isBusy) => CompactionPicker.Pick(_levels, _settings, _nowMs, isBusy, AgeOf);

    private long AgeOf(long table) => _ages.GetValueOrDefault(table);

    /// <summary>Merges until nothing is due. A run is as large as its inputs, and its tables of the target size.</summary>
    private string Rest()
    {
        var text = new StringBuilder();
        for (int merges = 0; Pick(static _ => false) is { } job; merges++)
        {
            Assert.True(merges < MaxMerges, "it does not come to rest");
            text.Append(Print(job)).Append('\n');
            long bytes = job.InputBytes;
            int tables = (int)((bytes + _settings.TargetFileBytes - 1) / _settings.TargetFileBytes);
            List<LevelTable> run = [];
            for (int i = 0; i < tables; i++)
            {
                LevelTable table = Table(_nextId, job.OutputLevel, job.Inputs[0].Entry.FirstSequence, job.Inputs[^1].Entry.LastSequence, Print(job.Window.MinMs));
                run.Add(table with { Entry = table.Entry with { MinSeriesId = (ulong)i * 10 + 1, MaxSeriesId = (ulong)i * 10 + 9, Size = bytes / tables } });
            }

            _levels = _levels.Replace(job.Window.MinMs, job.Inputs.Select(static table => table.Entry.Id).ToHashSet(), run, out _);
        }

        return text.Append(Show()).ToString();
    }

    private string Show()
    {
        var text = new StringBuilder();
        foreach (long window in _levels.Windows)
        {
            ImmutableArray<LevelRun> runs = _levels.Runs(window);
            text.Append(Print(window)).Append("  ")
                .AppendJoin("  ", runs.Select(run => $"L{run.Level}[{string.Join(',', run.Tables.Select(static table => table.Entry.Id))}] {run.BytesIn(window) >> 20}MB")).Append('\n');
        }

        return text.ToString();
    }

    private static string Print(CompactionJob? job) => job is null
        ? "nothing"
        : $"{Print(job.Window.MinMs)}  {string.Join('+', job.Inputs.Select(static table => $"L{table.Entry.Level}").Distinct())} → L{job.OutputLevel}  "
        + $"tables {string.Join(',', job.Inputs.Select(static table => table.Entry.Id))}  {job.InputBytes >> 20}MB  {job.Reason}";

    private static string Print(long timeMs)
    {
        long minutes = timeMs / 60_000;
        return FormattableString.Invariant($"{minutes / 60:00}:{minutes % 60:00}");
    }

    private static long TimeOf(string text)
    {
        string[] parts = text.Split(':');
        return (long.Parse(parts[0], CultureInfo.InvariantCulture) * 60 + long.Parse(parts[1], CultureInfo.InvariantCulture)) * 60_000;
    }

    private static (ulong First, ulong Last) RangeOf(string text)
    {
        string[] parts = text.Split('-');
        return (ulong.Parse(parts[0], CultureInfo.InvariantCulture), ulong.Parse(parts[^1], CultureInfo.InvariantCulture));
    }
}
