using System.Collections.Immutable;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>What a data directory held when it was opened.</summary>
/// <param name="Manifest">The durable truth.</param>
/// <param name="Levels">The tables it names, open.</param>
/// <param name="Blocks">Blocks in service.</param>
/// <param name="Dictionary">Its series: found by label runs at once, by postings once those are built.</param>
/// <param name="Segments">Log segments to replay, oldest first.</param>
/// <param name="NextSegment">First number that no segment ever had.</param>
/// <param name="NextTableId">First id that no table ever had.</param>
/// <param name="NextDictionary">First number, above 1, that no dictionary file had when the directory was opened.</param>
/// <param name="IsDictionaryDamaged">Some of the dictionary file could not be read.</param>
/// <param name="BlockRests">What is left of blocks and could not be removed: names in <c>blocks/</c>.</param>
/// <param name="NoRoom">Why what an earlier process left could not be noted in the manifest, which must be done before a segment of this one holds records; null if it was.</param>
/// <param name="Damages">What was found damaged and taken out of service.</param>
internal sealed record RecoveredDirectory(
    ManifestState Manifest, LevelSet Levels, BlockSet Blocks, SeriesDictionary Dictionary, ImmutableArray<InheritedSegment> Segments, long NextSegment,
    long NextTableId, long NextDictionary, bool IsDictionaryDamaged, ImmutableArray<string> BlockRests, DiskException? NoRoom, ImmutableArray<string> Damages);

/// <summary>Opens a data directory up to the point where only the log is left to replay: manifest, rests of crashes, dictionary, tables.</summary>
/// <remarks>
/// Nothing that could hold acknowledged data is deleted: only files under a temporary name, tables that no manifest names (their log segment is still
/// there, or their successor is), and segments whose flush is committed. Whatever else is wrong is put into <c>quarantine/</c> or refused; but nothing that is
/// wrong with a block refuses a start: it is named, and <see cref="BlockUpkeep"/> tries it again. A file of a later version is not wrong: whatever it is, it refuses
/// the start before anything is changed.
/// Running it twice, or crashing in it, changes nothing more.
/// </remarks>
internal sealed class Recovery
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly FlushSettings _settings;
    private readonly BlockStore _store;
    private readonly CorruptionPolicy _onCorruption;
    private readonly AcceptedLosses _accepted;
    private readonly ILogger _log;
    private readonly UnnamedFiles _unnamed;
    private readonly ImmutableArray<string>.Builder _damages = ImmutableArray.CreateBuilder<string>();

    public Recovery(IFileSystem files, DataLayout paths, FlushSettings settings, BlockStore store, CorruptionPolicy onCorruption, AcceptedLosses accepted, ILogger log)
    {
        _files = files;
        _paths = paths;
        _settings = settings;
        _store = store;
        _onCorruption = onCorruption;
        _accepted = accepted;
        _log = log;
        _unnamed = new UnnamedFiles(files, paths, Damaged, log);
    }

    /// <summary>Creates the root directory, so that it can be locked.</summary>
    public static void MakeRoot(IFileSystem files, string root)
    {
        string parent = ParentOf(root);
        files.MakeDir(root);
        if (parent.Length > 0) files.SyncDir(parent);
    }

    /// <summary>
    /// Refuses a root on a network file system, or one of a process in user space: a lock may let two processes in there, a sync may promise what it does not
    /// keep, and a map may end the process. Before the lock is taken, for it would prove nothing.
    /// </summary>
    /// <exception cref="DataDirectoryException">It is on one, and the options do not allow that.</exception>
    public static void CheckKind(IFileSystem files, StorageOptions options, ILogger log)
    {
        if (files.UnreliableKind(options.DataDir) is not { } kind) return;
        if (options.AllowNetworkDisk) Log.UnreliableDisk(log, options.DataDir, kind);
        else
        {
            throw new DataDirectoryException(
                $"storage.data_dir: {options.DataDir} is on a file system of kind {kind}, whose locks and syncs cannot be relied on: what was acknowledged could be lost. "
                + "Use a local disk, or take the risk with storage.allow_network_disk: true");
        }
    }

    /// <summary>Opens the directory; the caller holds its lock.</summary>
    /// <exception cref="DataDirectoryException">It cannot be opened as it stands.</exception>
    public RecoveredDirectory Open()
    {
        try
        {
            return OpenKnown();
        }
        catch (NewerFormatException newer)
        {
            throw new DataDirectoryException(newer.Message, newer);
        }
    }

    private RecoveredDirectory OpenKnown()
    {
        ManifestState onDisk = LoadManifest();
        ManifestState manifest = _accepted.Apply(_files, _paths, onDisk);
        bool givesUp = !ReferenceEquals(manifest, onDisk);
        if (manifest.BlockDurationMs != _settings.WindowMs)
        {
            throw new DataDirectoryException(
                $"storage.block_duration: {_settings.WindowMs} ms given, but {_paths.Root} was created with {manifest.BlockDurationMs} ms, which cannot change");
        }

        // Everything that can refuse comes before anything is removed.
        CheckTombstones(manifest);
        SideFile.CheckVersion(_files, _paths.Metadata, MetadataFile.Kind, manifest.DirectoryId);
        SideFile.CheckVersion(_files, _paths.Exemplars, ExemplarFile.Kind, manifest.DirectoryId);
        LogInventory log = FindSegments(manifest);
        long nextSegment = log.Next;
        ImmutableArray<InheritedSegment> segments = LogInventory.Inherit(_files, _paths, log.Found, number => Probe(number, manifest.DirectoryId));
        if (_onCorruption == CorruptionPolicy.Refuse) RefuseDamaged(segments, manifest.DirectoryId);
        int damagesBefore = _damages.Count;
        SeriesDictionary dictionary = LoadDictionary(manifest);
        bool isDictionaryDamaged = _damages.Count > damagesBefore;
        long nextDictionary = FindNextDictionary(manifest);
        LevelSet levels = OpenTables(manifest);

        // Where something that is named turned out damaged, a rest may be the last copy of it, and stays: of a block the tables and the log it was made from,
        // of tables also what was made of them. Where something is given up, rests are put aside at once; where something was, what bears its name has come back, and is.
        bool tablesAreWhole = _damages.Count == 0 && !givesUp;
        BlockSet blocks = _store.OpenNamed(manifest, Damaged);
        _unnamed.RefuseNewerTables(manifest);

        // Nobody knows yet what a block is like that there was no file handle for.
        bool isDoubtful = _damages.Count > 0 || _store.WhyShut is not null;
        RestPolicy ofRests = givesUp ? RestPolicy.PutAside : isDoubtful ? RestPolicy.Leave : RestPolicy.Remove;
        long nextTableId = _unnamed.RemoveTables(manifest, [.. log.Found.Select(static segment => segment.Number)], ofRests);
        if (tablesAreWhole) _unnamed.RemoveTemporaries();
        SnapshotWork.RemoveRests(_files, _paths, path => Log.RestRemoved(_log, path));
        _unnamed.RemoveFlushedSegments(manifest, log, ofRests);
        ImmutableArray<string> rests = _store.RemoveRests(manifest, tablesAreWhole, blocks, Damaged);

        // Labels last: a table that was quarantined just now may need one of them.
        if (ofRests == RestPolicy.PutAside || (ofRests == RestPolicy.Remove && _damages.Count == 0)) _unnamed.RemoveDictionaries(manifest, ofRests);
        manifest = NameInherited(WithBlocks(manifest, blocks, rests), segments, nextSegment, nextTableId, givesUp, out DiskException? noRoom);
        foreach (string loss in manifest.Losses ?? []) Damaged(loss);
        return new RecoveredDirectory(manifest, levels, blocks, dictionary, segments, nextSegment, nextTableId, nextDictionary, isDictionaryDamaged, rests, noRoom, _damages.ToImmutable());
    }

    /// <summary>
    /// What the next commit says besides: the times of blocks that an early build named without; and, as deleted, blocks that were never named and could not be
    /// removed: their marks tell whose they are only as long as this generation stands.
    /// </summary>
    private static ManifestState WithBlocks(ManifestState manifest, BlockSet served, ImmutableArray<string> rests)
    {
        Dictionary<string, BlockEntry> entries = served.Blocks.ToDictionary(static block => block.Entry.Ulid, static block => block.Entry);
        IEnumerable<string> unnamed = rests.Where(static name => !BlockDirectory.IsTemporary(name)).Except(manifest.DeletedBlocks);
        return manifest with
        {
            Blocks = [.. manifest.Blocks.Select(block => entries.GetValueOrDefault(block.Ulid, block))],
            DeletedBlocks = [.. manifest.DeletedBlocks, .. unnamed],
        };
    }

    /// <summary>A delete that cannot be understood must not be passed over: what it deleted would be there again.</summary>
    private void CheckTombstones(ManifestState manifest)
    {
        try
        {
            DeletionSet.Of(manifest.Tombstones, []);
        }
        catch (ManifestException refused)
        {
            throw new DataDirectoryException($"{DataLayout.Join(_paths.Root, Manifest.FileName)}: {refused.Message}. Start the program that wrote it, or restore a backup", refused);
        }
    }

    private ManifestState LoadManifest()
    {
        ManifestState? manifest;
        try
        {
            manifest = Manifest.TryLoad(_files, _paths.Root, out string? previous);
            if (previous is not null)
            {
                Log.ManifestFallback(_log, previous);
                _damages.Add(previous);
            }
        }
        catch (ManifestException refused)
        {
            throw new DataDirectoryException(refused.Message, refused);
        }

        if (manifest is not null)
        {
            // A directory that a restore or a hand left out holds nothing; it is made again rather than refused.
            _paths.MakeDirectories(_files);
            _files.SyncDir(_paths.Root);
            return manifest;
        }

        return CreateDirectory();
    }

    private ManifestState CreateDirectory()
    {
        _paths.MakeDirectories(_files);
        var first = new ManifestState
        {
            Generation = 1,
            DirectoryId = Guid.NewGuid(),
            BlockDurationMs = _settings.WindowMs,
            NextSeriesId = 1,
            NextTableId = 1,
            NextSegment = 1,
            ConversionCounter = 0,
        };
        Manifest.Commit(_files, _paths.Root, first);
        Log.DirectoryCreated(_log, _paths.Root, first.DirectoryId);
        return first;
    }

    private LogInventory FindSegments(ManifestState manifest)
    {
        LogInventory log = LogInventory.Of(_files, _paths, manifest);
        return log.Missing.IsEmpty
            ? log
            : throw new DataDirectoryException(
                $"{_paths.Segment(log.Missing[0])} is missing, but MANIFEST names it: samples that were acknowledged are gone. "
                + AcceptedLosses.Advice(_paths, _paths.Segment(log.Missing[0])));
    }

    /// <summary>
    /// Notes, before a segment of this process exists, which ones an earlier process left: they may lack a seal although later segments will hold
    /// records, which to a recovery after the next crash would otherwise look like damage.
    /// </summary>
    private ManifestState NameInherited(
        ManifestState manifest, ImmutableArray<InheritedSegment> segments, long nextSegment, long nextTableId, bool givesUp, out DiskException? noRoom)
    {
        noRoom = null;
        if (segments.IsEmpty && !givesUp && nextTableId == manifest.NextTableId) return manifest;
        ManifestState next = manifest with
        {
            Generation = manifest.Generation + 1,
            Segments = [.. segments.Select(static segment => new SegmentEntry(segment.Number, segment.AcceptedEnd, Inherited: !segment.MustBeSealed))],
            NextSegment = nextSegment,
            NextTableId = nextTableId,
        };
        try
        {
            Manifest.Commit(_files, _paths.Root, next);
            return next;
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            // And therefore reads are served, and the log has to wait.
            noRoom = full;
            return manifest;
        }
    }

    /// <summary>
    /// Reads all segments before anything is changed, so that a refused start leaves the directory as it found it. Costs a second reading of the log, which
    /// is what an operator asks for who would rather not start than go on with a gap.
    /// </summary>
    private void RefuseDamaged(ImmutableArray<InheritedSegment> segments, Guid directoryId)
    {
        foreach (InheritedSegment segment in segments)
        {
            try
            {
                LogReader.Replay(
                    _files, _paths.Segment(segment.Number), directoryId, segment.Number, segment.ReplayOptions(_paths.Quarantine, _onCorruption), new Nobody(),
                    CancellationToken.None);
            }
            catch (LogRefusedException refused)
            {
                throw new DataDirectoryException(refused.Message, refused);
            }
        }
    }

    private sealed class Nobody : ILogRecordSink
    {
        public void Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, ReadOnlySpan<byte> body)
        {
        }
    }

    private SegmentProbe Probe(long segment, Guid directoryId)
    {
        try
        {
            return LogReader.Probe(_files, _paths.Segment(segment), directoryId, segment);
        }
        catch (LogRefusedException refused)
        {
            throw new DataDirectoryException(refused.Message, refused);
        }
    }

    private SeriesDictionary LoadDictionary(ManifestState manifest)
    {
        var dictionary = new SeriesDictionary(manifest.NextSeriesId);
        foreach (DictionaryEntry entry in manifest.Dictionaries)
        {
            string path = _paths.Dictionary(entry.Number);
            try
            {
                SeriesFileReport report = SeriesFile.Load(_files, path, manifest.DirectoryId, entry.Number, entry.Length, entry.Crc, dictionary.Load);
                foreach (SeriesFileDamage damage in report.Damage) Damaged($"{path} at {damage.Offset}: {damage.Reason}; the series of this entry is lost from reads");
            }
            catch (CorruptFileException corrupt) when (corrupt is not NewerFormatException)
            {
                throw new DataDirectoryException($"{corrupt.Message}; restore the whole directory from a backup", corrupt);
            }
        }

        dictionary.CompleteLoad();
        return dictionary;
    }

    /// <summary>Above every number that is named or there, so that no name is used twice; 1 is the first flush's.</summary>
    private long FindNextDictionary(ManifestState manifest)
    {
        long last = manifest.Dictionaries.Select(static entry => entry.Number).Append(1).Max();
        foreach (DirectoryEntry entry in _files.List(_paths.Series))
            last = Math.Max(last, DataLayout.NumberOf(entry.Name, DataLayout.DictionarySuffix) ?? 0);
        return last + 1;
    }

    private LevelSet OpenTables(ManifestState manifest)
    {
        var tables = new List<LevelTable>();
        foreach (TableEntry entry in manifest.Tables)
        {
            string path = _paths.Table(entry);
            try
            {
                tables.Add(new LevelTable(entry, SSTableReader.Open(_files, path, entry.Id, entry.Size, _settings.Mmap, _settings.CacheMetadata, entry.Crc, _settings.ReadBufferBytes)));
            }
            catch (CorruptFileException corrupt) when (corrupt is not NewerFormatException)
            {
                // The rest serves on. The file stays where it is, named by the manifest, for an operator to repair or give up.
                Damaged($"{corrupt.Message}; table {entry.Id} is out of service");
            }
            catch (DiskException missing) when (missing.Errno == 2)
            {
                throw new DataDirectoryException(
                    $"{path} is missing, but MANIFEST names it: samples that were acknowledged are gone. {AcceptedLosses.Advice(_paths, path)}", missing);
            }
        }

        return LevelSet.Empty.With(tables);
    }

    private void Damaged(string what)
    {
        Log.Damage(_log, what);
        _damages.Add(what);
    }

    private static string ParentOf(string path)
    {
        string full = path.TrimEnd('/');
        int slash = full.LastIndexOf('/');
        return slash switch { < 0 => ".", 0 => "/", _ => full[..slash] };
    }
}
