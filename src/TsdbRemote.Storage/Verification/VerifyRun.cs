using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Verification;

/// <summary>What a store at work tells those who verify its directory meanwhile.</summary>
internal interface ILiveStore
{
    /// <summary>The committed state now.</summary>
    ManifestState Manifest { get; }

    /// <summary>The committed state once a commit that is under way, if one is, has ended.</summary>
    ManifestState Settle();

    /// <summary>The log segment that is being written; it and later ones are not at rest. All before it are sealed, or their ends are noted in later ones.</summary>
    long ActiveSegment { get; }

    /// <summary>Keeps a table's file from being deleted until it is disposed; null if the store does not serve the table.</summary>
    IDisposable? HoldTable(long tableId);

    /// <summary>Keeps a block's files from being deleted until it is disposed; null if the store does not serve the block.</summary>
    IDisposable? HoldBlock(string ulid);
}

/// <summary>What all parts of one verification share: the directory, what was found, how far it is.</summary>
/// <remarks>
/// Texts of findings that will not be kept are built all the same; a directory of a million faults costs a million texts, and a thousand are kept.
/// One thread uses it.
/// </remarks>
internal sealed class VerifyRun
{
    /// <summary>What a file of a later version means.</summary>
    public const string NewerMeaning = "a start is refused, and nothing is changed";

    private const int MaxKept = 1000;
    private const long MostBytes = 1L << 60;
    private const int Severities = (int)VerifySeverity.Error + 1;

    private readonly Action<VerifyProgress>? _progress;
    private readonly List<VerifyFinding> _kept = [];
    private readonly long[] _found = new long[Severities];
    private readonly List<string> _notChecked = [];
    private readonly double _startAt;
    private string _file = "";
    private long _done;
    private long _total;
    private long _expected;
    private long _read;

    /// <summary>Begins.</summary>
    /// <param name="files">The disk, which nothing here changes.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="live">The store at work in it; null if there is none.</param>
    /// <param name="progress">Told after each read.</param>
    /// <param name="cancel">Asked at each read.</param>
    /// <param name="startAt">Which part of the tables, and of the blocks, comes first, 0 or more and below 1.</param>
    public VerifyRun(IFileSystem files, DataLayout paths, ILiveStore? live, Action<VerifyProgress>? progress, CancellationToken cancel, double startAt = 0)
    {
        _startAt = startAt;
        Files = new ReadOnlyFileSystem(files, Read);
        Paths = paths;
        Live = live;
        Cancel = cancel;
        _progress = progress;
    }

    /// <summary>The disk: reads are counted, and anything else refused.</summary>
    public IFileSystem Files { get; }

    /// <summary>The data directory.</summary>
    public DataLayout Paths { get; }

    /// <summary>The store at work in it; null if there is none.</summary>
    public ILiveStore? Live { get; }

    /// <summary>Gives up.</summary>
    public CancellationToken Cancel { get; }

    /// <summary>What was counted.</summary>
    public VerifyCounts Counts { get; } = new();

    /// <summary>What was found.</summary>
    public IReadOnlyList<VerifyFinding> Findings => _kept;

    /// <summary>What could not be checked.</summary>
    public IReadOnlyList<string> NotChecked => _notChecked;

    /// <summary>Says what is still to be read; before that there is no progress to tell.</summary>
    public void Expect(params IEnumerable<long> bytes) => _total = Total([_done, .. bytes]);

    /// <summary>All of these, from where the run is to start to the end, and then those before.</summary>
    public IEnumerable<T> InTurn<T>(IReadOnlyCollection<T> all) => all.Skip((int)(all.Count * _startAt)).Concat(all.Take((int)(all.Count * _startAt)));

    /// <summary>A sum of lengths that somebody may have made up.</summary>
    public static long Total(IEnumerable<long> bytes) => bytes.Aggregate(0L, static (sum, one) => Math.Min(MostBytes, sum + Math.Clamp(one, 0, MostBytes)));

    /// <summary>How many were found of a severity.</summary>
    public long Count(VerifySeverity severity) => _found[(int)severity];

    /// <summary>Something is lost, not served, or keeps a server from starting.</summary>
    public void Error(string path, long? offset, string what, string meaning) => Add(VerifySeverity.Error, path, offset, what, meaning);

    /// <summary>Damage, or a file of a later version: of that a start says the same, whatever damage of it would mean.</summary>
    public void Error(CorruptFileException damage, string meaning) =>
        Error(damage.Path, damage.Offset, damage.What, damage is NewerFormatException ? NewerMeaning : meaning);

    /// <summary>Something is not as it should be.</summary>
    public void Warning(string path, string what, string meaning) => Add(VerifySeverity.Warning, path, null, what, meaning);

    /// <summary>Damage that costs nothing that is served.</summary>
    public void Warning(CorruptFileException damage, string meaning) => Add(VerifySeverity.Warning, damage.Path, damage.Offset, damage.What, meaning);

    /// <summary>Something is worth a word.</summary>
    public void Note(string path, long? offset, string what, string meaning) => Add(VerifySeverity.Note, path, offset, what, meaning);

    /// <summary>Something could not be checked.</summary>
    public void Skip(string what)
    {
        if (_notChecked.Count < MaxKept) _notChecked.Add(what);
    }

    /// <summary>Checks a file: what the disk refuses is a finding, and the others go on.</summary>
    /// <param name="path">The file.</param>
    /// <param name="expectedBytes">Bytes that the check will read, about.</param>
    /// <param name="meaning">What it means if the disk refuses.</param>
    /// <param name="check">The check.</param>
    /// <param name="isNamed">Online: whether the store still names the file; if it does not, its absence is no finding. Null: it always does.</param>
    public void Check(string path, long expectedBytes, string meaning, Action check, Func<bool>? isNamed = null)
    {
        Cancel.ThrowIfCancellationRequested();
        _file = Relative(path);
        _expected = expectedBytes;
        _read = 0;
        try
        {
            check();
        }
        catch (DiskException gone) when (gone.Errno == Errno.NoEntry && isNamed is not null && !isNamed())
        {
            Skip($"{_file}: replaced or removed by the server meanwhile");
        }
        catch (DiskException refused)
        {
            Error(refused.Path, null, $"the disk refused: {refused.Message}", meaning);
        }
        catch (LogRefusedException refused) when (refused.Reason == LogRefusal.Unreadable)
        {
            Error(refused.Path, refused.Offset, refused.Message, meaning);
        }

        _done = Total([_done, expectedBytes]);
        _expected = _read = 0;
        Tell();
    }

    /// <summary>A path, relative to the data directory.</summary>
    public string Relative(string path)
    {
        if (path == Paths.Root) return "";
        return path.StartsWith(Paths.Root + "/", StringComparison.Ordinal) ? path[(Paths.Root.Length + 1)..] : path;
    }

    private void Add(VerifySeverity severity, string path, long? offset, string what, string meaning)
    {
        if (_found[(int)severity]++ < MaxKept) _kept.Add(new VerifyFinding(severity, Relative(path), offset, what, meaning));
    }

    private void Read(int bytes)
    {
        Cancel.ThrowIfCancellationRequested();
        Counts.BytesRead += bytes;
        _read += bytes;
        Tell();
    }

    private void Tell()
    {
        if (_total > 0) _progress?.Invoke(new VerifyProgress(_done + Math.Min(_read, _expected), _total, _file));
    }
}
