using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Engine;

/// <summary>The labels of a directory whose manifest is rebuilt: one file, as every commit names one.</summary>
/// <remarks>
/// Ids are given once, and a collection keeps them, so that files of one directory agree; the entries of a flush or a collection that was not committed do no harm, since their ids are not given
/// again. Only where a rest was kept beside damage may an id have been given twice: then the file that the manifest before names is right, and without one that id must not be needed.
/// Where no file has all entries of all files, one is written that has.
/// </remarks>
internal sealed class RebuildDictionary : IDisposable
{
    private const int PieceBytes = 1 << 20;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly Guid _directoryId;
    private readonly SeriesDictionary _all = new(1);
    private readonly Dictionary<ulong, ulong> _hashes = [];
    private readonly HashSet<ulong> _twice = [];
    private readonly List<(long Number, SeriesFileReport Report)> _read = [];

    /// <summary>Reads all files, and what series tables hold.</summary>
    /// <exception cref="CannotRebuildException">Labels that are needed cannot be told, or are not there at all.</exception>
    public RebuildDictionary(IFileSystem files, DataLayout paths, Guid directoryId, RebuildFindings found, IEnumerable<TableEntry> tables, List<string> told)
    {
        _files = files;
        _paths = paths;
        _directoryId = directoryId;
        HashSet<long> named = [.. found.Previous?.Dictionaries.Select(static file => file.Number) ?? []];
        foreach (long number in found.Dictionaries.OrderByDescending(named.Contains).ThenByDescending(static number => number)) Read(number, told);
        foreach (long number in named.Except(found.Dictionaries).Where(_ => _read.Count == 0)) told.Add($"{paths.Dictionary(number)}, which {Manifest.PreviousFileName} names, is gone");
        if (_hashes.Count > 0) _all.CompleteLoad();
        LastId = _hashes.Keys.DefaultIfEmpty().Max();
        Check(tables, named.Count > 0, told);
        Replaced = [.. found.Dictionaries];
        (long whole, SeriesFileReport? report) = _read.Find(one => one.Report.Entries == _hashes.Count && (_twice.Count == 0 || one == _read[0]));
        if (report is not null)
        {
            Entry = new DictionaryEntry(whole, report.End, CrcOf(whole, report.End), report.Entries);
            Replaced.Remove(whole);
        }

        long newest = found.Dictionaries.Concat(found.Numbers(paths.Quarantine, DataLayout.DictionarySuffix, "series-")).DefaultIfEmpty().Max();
        NewNumber = newest + 1;
    }

    /// <summary>The file that has all entries; null where there are none, or one has to be written.</summary>
    public DictionaryEntry? Entry { get; private set; }

    /// <summary>Numbers of files that are not named.</summary>
    public List<long> Replaced { get; }

    /// <summary>Highest id; 0 for none.</summary>
    public ulong LastId { get; }

    /// <summary>True if <see cref="Write"/> has to write a file.</summary>
    public bool MustWrite => Entry is null && _hashes.Count > 0;

    /// <summary>Number of the file to be written: no file ever had it.</summary>
    public long NewNumber { get; }

    /// <summary>Writes the file, durably.</summary>
    public void Write()
    {
        uint[] ordinals = [.. Enumerable.Range(0, _all.Count).Select(static ordinal => (uint)ordinal)];
        SeriesFileEnd end = SeriesFile.Append(_files, _paths.Dictionary(NewNumber), _directoryId, NewNumber, 0, 0, _all, ordinals);
        _files.SyncDir(_paths.Series);
        Entry = new DictionaryEntry(NewNumber, end.Length, end.Crc, ordinals.Length);
    }

    /// <inheritdoc/>
    public void Dispose() => _all.Dispose();

    private void Read(long number, List<string> told)
    {
        string path = _paths.Dictionary(number);
        try
        {
            SeriesFileReport report = SeriesFile.Load(_files, path, _directoryId, number, _files.FileSize(path) ?? 0, 0, Take);
            foreach (SeriesFileDamage damage in report.Damage.Where(damage => damage.Offset < report.End && damage.Length > 0)) told.Add($"{path} at {damage.Offset}: {damage.Reason}; the series of this entry is lost from reads");
            if (report.Entries > 0) _read.Add((number, report));
        }
        catch (NewerFormatException newer)
        {
            throw new CannotRebuildException(newer.Message, newer);
        }
        catch (CorruptFileException damaged)
        {
            told.Add(damaged.Message);
        }
    }

    private void Take(ulong id, ReadOnlySpan<byte> run)
    {
        ulong hash = Labels.Hash(run);
        if (_hashes.TryAdd(id, hash)) _all.Load(id, run);
        else if (_hashes[id] != hash) _twice.Add(id);
    }

    private void Check(IEnumerable<TableEntry> tables, bool isNamed, List<string> told)
    {
        var unknown = new HashSet<ulong>();
        ulong? doubtful = null;
        foreach (TableEntry entry in tables)
        {
            using SSTableReader table = SSTableReader.Open(_files, _paths.Table(entry), entry.Id, entry.Size, mmap: false, cacheMetadata: false);
            try
            {
                foreach (long window in entry.Windows)
                {
                    table.ForEachSeriesOf(window, id =>
                    {
                        if (!_hashes.ContainsKey(id)) unknown.Add(id);
                        else if (_twice.Contains(id)) doubtful = id;
                    });
                }
            }
            catch (CorruptFileException damaged)
            {
                told.Add($"{damaged.Message}: nothing of this part is served");
            }
        }

        if (unknown.Count > 0 && _hashes.Count == 0)
            throw new CannotRebuildException($"no file in {_paths.Series} can be read, and without labels nothing in tables can be served: restore the whole directory from a backup");
        if (doubtful is { } id && !isNamed)
            throw new CannotRebuildException($"files in {_paths.Series} do not agree on the labels of series {id}: one is the rest of a collection that was cut off; move the one that is no good away, to where nothing deletes it");
        if (unknown.Count > 0) told.Add($"{unknown.Count} series of tables have no labels in {_paths.Series}, and are not served");
    }

    private uint CrcOf(long number, long end)
    {
        using IFile file = _files.OpenRead(_paths.Dictionary(number));
        using PooledBuffer piece = PooledBuffer.Rent(PieceBytes, PieceBytes);
        uint state = uint.MaxValue;
        for (long at = 0; at < end;)
        {
            int wanted = (int)Math.Min(PieceBytes, end - at);
            piece.SetLength(wanted);
            if (file.Read(at, piece.Span) < wanted) throw new CannotRebuildException($"{file.Path} became shorter while it was read");
            state = Crc32C.Update(state, piece.Span);
            at += wanted;
        }

        return ~state;
    }
}
