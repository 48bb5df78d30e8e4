using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Tables;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>A manifest cannot be rebuilt; the message says why. Nothing was changed.</summary>
public sealed class CannotRebuildException(string message, Exception? cause = null) : Exception(message, cause);

/// <summary>What a rebuild of a manifest came to.</summary>
/// <param name="Manifest">The state that was committed.</param>
/// <param name="Told">Sentences for people: what was found, put aside, and may be lost.</param>
public sealed record RebuiltManifest(ManifestState Manifest, IReadOnlyList<string> Told);

/// <summary>Makes a manifest of what is there: tables, dictionary, blocks and log each say what they are.</summary>
/// <remarks>
/// Taken:   every table that is whole, unless all that it was merged from is there too, for then it may be a part of a merge that was cut off; of those that a taken one was merged from, the
///          windows that it does not hold. Every block that can be opened, unless one that is there replaces it. Every log segment. The dictionary that knows all series of these tables.
///          A sample that is at two places is answered once, so what is taken needlessly costs room and no more.
/// Put aside: tables that cannot be opened, into <c>quarantine/</c>, for the next start would remove what nobody names; and the manifest that was there.
/// Lost:    what only a manifest says: deletes that were not carried out everywhere, unless <c>MANIFEST.prev</c> can be read and has them.
/// Order:   everything is read before anything is changed; the commit comes last, so that a rebuild that is cut off can be done again.
/// </remarks>
public sealed partial class ManifestRebuild
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly List<string> _told = [];
    private readonly List<(string Path, long Id)> _damagedTables = [];
    private readonly Dictionary<long, SSTableInfo> _tables = [];
    private Guid? _directoryId;
    private ManifestState? _previous;
    private string _oldText = "";

    private ManifestRebuild(IFileSystem files, DataLayout paths)
    {
        _files = files;
        _paths = paths;
    }

    /// <summary>Rebuilds the manifest of a directory in which no server works, and keeps one from starting meanwhile.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="directory">The data directory.</param>
    /// <param name="windowMs">Length of a window, ms, where no manifest says it.</param>
    /// <exception cref="CannotRebuildException">There is nothing to rebuild, or not enough to rebuild it of.</exception>
    /// <exception cref="DirectoryLockedException">A server works in it.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static RebuiltManifest Run(IFileSystem files, string directory, long windowMs)
    {
        ArgumentNullException.ThrowIfNull(files);
        var paths = new DataLayout(directory);
        using IDisposable held = files.Lock(paths.Lock, $"pid {Environment.ProcessId}, which rebuilds the manifest");
        return new ManifestRebuild(files, paths).Run(windowMs);
    }

    private RebuiltManifest Run(long windowMs)
    {
        ReadManifests();
        ReadTables();
        ImmutableArray<SegmentEntry> segments = FindSegments();
        ImmutableArray<BlockEntry> blocks = FindBlocks(out long generation);
        if (_directoryId is not { } directoryId) throw new CannotRebuildException("neither tables nor blocks nor the log nor a manifest say whose data directory this is: there is nothing to rebuild");
        windowMs = WindowOf(windowMs);
        ImmutableArray<TableEntry> tables = Choose();
        CheckWindows(tables, windowMs);
        ImmutableArray<DictionaryEntry> dictionaries = FindDictionary(directoryId, tables, out ulong lastId);
        ulong lastSequence = tables.Select(static table => table.LastSequence).DefaultIfEmpty().Max();
        ImmutableArray<TombstoneEntry> tombstones = _previous?.Tombstones ?? [];
        if (_previous is null) _told.Add("deletes that were not carried out in every file are undone: what they deleted may be read again");
        var state = new ManifestState
        {
            Generation = 2 + Math.Max(generation, _previous?.Generation ?? 0),
            DirectoryId = directoryId,
            BlockDurationMs = windowMs,
            NextSeriesId = 1 + Math.Max(_previous?.NextSeriesId ?? 0, Math.Max(lastId, tables.Select(static table => table.MaxSeriesId).DefaultIfEmpty().Max())),
            NextTableId = 1 + new[] { _previous?.NextTableId ?? 0, 0 }.Concat(_tables.Keys).Concat(_damagedTables.Select(static table => table.Id)).Max(),
            NextSegment = 1 + new[] { _previous?.NextSegment ?? 0, WalFormat.SegmentOf(lastSequence), 0 }
                .Concat(segments.Select(static segment => segment.Number)).Concat(tombstones.Select(static tombstone => WalFormat.SegmentOf(tombstone.Sequence))).Max(),
            ConversionCounter = Math.Max(_previous?.ConversionCounter ?? 0, blocks.Select(static block => block.Rank).DefaultIfEmpty().Max()),
            Tables = tables,
            Dictionaries = dictionaries,
            Segments = segments,
            Tombstones = tombstones,
            Blocks = blocks,
            Losses = [.. _previous?.Losses ?? [], $"{_paths.Root}/{Manifest.FileName} was damaged, and rebuilt of what was there: {string.Join("; ", _told.Prepend("files that were gone cannot be known"))}"],
        };
        if (state.Problem() is { } problem) throw new CannotRebuildException($"what is there contradicts itself: {problem}");
        Commit(state);
        return new RebuiltManifest(state, _told);
    }

    /// <summary>The one that stands must be missing or damaged: one that is whole and refused was written by a later program, and is right.</summary>
    private void ReadManifests()
    {
        string current = DataLayout.Join(_paths.Root, Manifest.FileName);
        string previous = DataLayout.Join(_paths.Root, Manifest.PreviousFileName);
        try
        {
            if (_files.FileSize(current) is not null)
            {
                if (Manifest.Read(_files, current, out _) is null) throw new CannotRebuildException($"{current} is whole: there is nothing to rebuild");
                using IFile file = _files.OpenRead(current);
                byte[] text = new byte[Math.Min(file.Length, 1 << 20)];
                _oldText = Encoding.UTF8.GetString(text, 0, file.Read(0, text));
            }

            if (_files.FileSize(previous) is not null) Manifest.Read(_files, previous, out _previous);
            if (_previous is not null) Belongs(previous, _previous.DirectoryId);
        }
        catch (ManifestException refused)
        {
            throw new CannotRebuildException(refused.Message, refused);
        }
    }

    private void ReadTables()
    {
        foreach (string directory in WindowDirectories.All(_files, _paths).Select(window => _paths.TableDirectory(level: 1, window)).Prepend(_paths.Tables))
        {
            foreach (DirectoryEntry entry in _files.List(directory))
            {
                if (entry.IsDirectory || DataLayout.NumberOf(entry.Name, DataLayout.TableSuffix) is not { } id) continue;
                string path = DataLayout.Join(directory, entry.Name);
                try
                {
                    using SSTableReader table = SSTableReader.Open(_files, path, id, entry.Length, mmap: false, cacheMetadata: false);
                    Belongs(path, new Guid(table.Properties.DirectoryId.Span, bigEndian: true));
                    _tables[id] = new SSTableInfo(entry.Length, table.Crc, table.Properties);
                }
                catch (NewerFormatException newer)
                {
                    throw new CannotRebuildException(newer.Message, newer);
                }
                catch (CorruptFileException damaged)
                {
                    _damagedTables.Add((path, id));
                    _told.Add($"{damaged.Message}: it goes to {TableQuarantine.PathOf(_paths, id)}");
                }
            }
        }
    }

    /// <summary>
    /// Inputs are removed only once what was made of them is committed: a table of which one is gone was committed, and takes its window from the others; one whose inputs are all there is
    /// not needed, and may be a part.
    /// </summary>
    private ImmutableArray<TableEntry> Choose()
    {
        bool IsNeeded(SSTableInfo table) => table.Properties.Parents.Count == 0 || !table.Properties.Parents.All(_tables.ContainsKey);
        SSTableInfo[] needed = [.. _tables.Values.Where(IsNeeded)];
        var replaced = new HashSet<(long Id, long WindowMs)>();
        foreach (SSTableInfo table in needed)
        {
            foreach (long window in table.Properties.Windows.Select(static window => window.StartMs)) Replace(table.Properties.Parents, window, replaced);
        }

        // A delete that the previous manifest knows was applied, or not, to tables that it does not know: what is newer must not go with it.
        ulong newest = _previous?.Tombstones.Select(static tombstone => tombstone.Sequence).DefaultIfEmpty().Max() ?? 0;
        Dictionary<long, TableEntry> known = _previous?.Tables.ToDictionary(static table => table.Id) ?? [];
        IEnumerable<TableEntry> entries = needed.Select(TableEntry.Of).Select(entry => entry with
        {
            Windows = [.. (known.GetValueOrDefault(entry.Id) ?? entry).Windows.Where(window => !replaced.Contains((entry.Id, window)))],
            AppliedTo = known.GetValueOrDefault(entry.Id)?.AppliedTo ?? newest,
        });
        return [.. entries.Where(static entry => !entry.Windows.IsEmpty).OrderBy(static entry => entry.Id)];
    }

    private void Replace(IEnumerable<long> parents, long windowMs, HashSet<(long Id, long WindowMs)> replaced)
    {
        foreach (long parent in parents)
        {
            if (replaced.Add((parent, windowMs)) && _tables.TryGetValue(parent, out SSTableInfo? table)) Replace(table.Properties.Parents, windowMs, replaced);
        }
    }

    private ImmutableArray<SegmentEntry> FindSegments()
    {
        var segments = ImmutableArray.CreateBuilder<SegmentEntry>();
        Span<byte> header = stackalloc byte[WalFormat.HeaderBytes];
        foreach (DirectoryEntry entry in _files.List(_paths.Wal).OrderBy(static entry => entry.Name, StringComparer.Ordinal))
        {
            if (entry.IsDirectory || DataLayout.NumberOf(entry.Name, DataLayout.SegmentSuffix) is not { } number) continue;
            using IFile file = _files.OpenRead(_paths.Segment(number));
            int read = file.Read(0, header);
            if (SegmentHeader.TryRead(header[..read], out SegmentHeader found))
            {
                if (found.Version > WalFormat.Version) throw new CannotRebuildException(LogReader.NewerFormat(file.Path, found).Message);
                Belongs(file.Path, found.DirectoryId);
            }

            // Whoever left it is gone: it may lack a seal although later ones hold records.
            segments.Add(new SegmentEntry(number, _previous?.Segments.FirstOrDefault(known => known.Number == number)?.AcceptedEnd, Inherited: true));
        }

        return segments.ToImmutable();
    }

    private ImmutableArray<BlockEntry> FindBlocks(out long generation)
    {
        generation = 0;
        var found = new List<BlockMeta>();
        foreach (DirectoryEntry entry in _files.List(_paths.Blocks))
        {
            if (!entry.IsDirectory || !BlockDirectory.IsBlock(entry.Name, out _)) continue;
            try
            {
                using BlockReader block = BlockReader.Open(_files, _paths.Block(entry.Name), mmap: false);
                found.Add(block.Meta);
                if (block.Meta.Mark is not { } mark) continue;
                generation = Math.Max(generation, mark.Generation);
                if (_directoryId is null) Belongs(_paths.Block(entry.Name), mark.Directory);
            }
            catch (NewerFormatException newer)
            {
                throw new CannotRebuildException(newer.Message, newer);
            }
            catch (CorruptFileException damaged)
            {
                _told.Add($"{damaged.Message}: the block is not named, and judged like a foreign one");
            }
        }

        HashSet<string> replaced = [.. found.SelectMany(static meta => meta.Compaction.Parents).Select(static parent => parent.Ulid.ToString()), .. _previous?.DeletedBlocks ?? []];
        ulong newest = _previous?.Tombstones.Select(static tombstone => tombstone.Sequence).DefaultIfEmpty().Max() ?? 0;
        Dictionary<string, BlockEntry> known = _previous?.Blocks.ToDictionary(static block => block.Ulid) ?? [];
        return [.. found.Where(meta => !replaced.Contains(meta.Ulid.ToString())).Select(meta => known.GetValueOrDefault(meta.Ulid.ToString())
            ?? BlockEntry.Of(meta, meta.Mark is { } mark && mark.Directory == _directoryId ? mark.Rank : 0, newest))];
    }

    /// <summary>
    /// The newest that has the labels of all series of these tables: a collection that was cut off leaves one that has not, and one that was not removes the older. All of them if none has.
    /// </summary>
    private ImmutableArray<DictionaryEntry> FindDictionary(Guid directoryId, ImmutableArray<TableEntry> tables, out ulong lastId)
    {
        var needed = new HashSet<ulong>();
        foreach (TableEntry entry in tables)
        {
            using SSTableReader table = SSTableReader.Open(_files, _paths.Table(entry), entry.Id, entry.Size, mmap: false, cacheMetadata: false);
            try
            {
                foreach (long window in entry.Windows) table.ForEachSeriesOf(window, id => needed.Add(id));
            }
            catch (CorruptFileException damaged)
            {
                _told.Add(damaged.Message); // of this part nothing is served anyway
            }
        }

        var found = ImmutableArray.CreateBuilder<DictionaryEntry>();
        lastId = 0;
        foreach (long number in _files.List(_paths.Series).Select(static entry => DataLayout.NumberOf(entry.Name, DataLayout.DictionarySuffix)).OfType<long>().OrderDescending())
        {
            if (Scan(directoryId, number) is not { } scan) continue;
            lastId = Math.Max(lastId, scan.Ids.Max());
            if (needed.IsSubsetOf(scan.Ids)) return [scan.Entry];
            found.Insert(0, scan.Entry);
        }

        if (needed.Count > 0 && found.Count == 0)
            throw new CannotRebuildException($"no file in {_paths.Series} can be read, and without labels nothing in tables can be served: restore the whole directory from a backup");
        if (needed.Count > 0) _told.Add($"some series of tables have no labels in {_paths.Series}, and are not served");
        return found.ToImmutable();
    }

    /// <summary>All entries of a dictionary file up to the last that verifies: the end of a flush that was not committed does no harm, for its ids were never given to others.</summary>
    private (DictionaryEntry Entry, HashSet<ulong> Ids)? Scan(Guid directoryId, long number)
    {
        string path = _paths.Dictionary(number);
        using IFile file = _files.OpenRead(path);
        if (file.Length is < SeriesFile.HeaderBytes or > int.MaxValue) return null;
        using PooledBuffer bytes = PooledBuffer.Rent((int)file.Length, (int)file.Length);
        bytes.SetLength(file.Read(0, bytes.Span));
        uint salt = FrameFormat.Salt(directoryId, SeriesFile.Kind, number);
        if (SeriesFile.ProblemOf(bytes.Span, salt, number, path) is { } problem) _told.Add($"{path}: {problem}");
        var ids = new HashSet<ulong>();
        int end = 0;
        for (int at = SeriesFile.HeaderBytes; at < bytes.Length;)
        {
            if (FrameFormat.TryRead(bytes.Span[at..], salt, SeriesFile.MaxPayloadBytes, out byte type, out ReadOnlySpan<byte> payload) != FrameStatus.Valid || type != SeriesFile.EntryType)
            {
                at += FrameFormat.Alignment;
                continue;
            }

            ids.Add(BitConverter.ToUInt64(payload));
            at = end = Math.Min(at + (int)FrameFormat.SizeOf(payload.Length), bytes.Length);
        }

        return ids.Count == 0 ? null : (new DictionaryEntry(number, end, Crc32C.Of(bytes.Span[..end]), ids.Count), ids);
    }

    private void Belongs(string path, Guid directoryId)
    {
        _directoryId ??= directoryId;
        if (_directoryId != directoryId) throw new CannotRebuildException($"{path} is of data directory {directoryId}, others of {_directoryId}: move away what does not belong here");
    }

    private long WindowOf(long given)
    {
        if (_previous is not null) return _previous.BlockDurationMs;
        Match said = BlockDuration().Match(_oldText);
        return said.Success && long.TryParse(said.Groups[1].Value, CultureInfo.InvariantCulture, out long window) && window > 0 ? window : given;
    }

    /// <summary>A damaged digit, or a wrong option, would put samples outside their windows.</summary>
    private void CheckWindows(ImmutableArray<TableEntry> tables, long windowMs)
    {
        foreach (TableEntry table in tables)
        {
            foreach (SSTableWindow window in _tables[table.Id].Properties.Windows)
            {
                if (TimeWindow.StartOf(window.StartMs, windowMs) == window.StartMs && window.MaxTimeMs < window.StartMs + windowMs) continue;
                throw new CannotRebuildException(string.Create(
                    CultureInfo.InvariantCulture, $"{_paths.Table(table)} has a window at {window.StartMs} ms with samples up to {window.MaxTimeMs} ms, which windows of {windowMs} ms have not: give the storage.block_duration that it was written with"));
            }
        }
    }

    private void Commit(ManifestState state)
    {
        _paths.MakeDirectories(_files); // a restore may have left out those that were empty
        _files.SyncDir(_paths.Root);
        foreach ((string path, long id) in _damagedTables)
        {
            _files.Rename(path, TableQuarantine.PathOf(_paths, id));
            _files.SyncDir(_paths.Quarantine);
            _files.SyncDir(path[..path.LastIndexOf('/')]);
        }

        string current = DataLayout.Join(_paths.Root, Manifest.FileName);
        string previous = DataLayout.Join(_paths.Root, Manifest.PreviousFileName);
        if (_files.FileSize(current) is not null) _files.Link(current, NameInQuarantine(Manifest.FileName));
        if (_previous is null && _files.FileSize(previous) is not null) _files.Rename(previous, NameInQuarantine(Manifest.PreviousFileName));
        _files.SyncDir(_paths.Quarantine);
        Manifest.Commit(_files, _paths.Root, state);
    }

    private string NameInQuarantine(string name)
    {
        string kept = DataLayout.Join(_paths.Quarantine, name);
        for (int copy = 2; _files.FileSize(kept) is not null; copy++) kept = DataLayout.Join(_paths.Quarantine, string.Create(CultureInfo.InvariantCulture, $"{name}.{copy}"));
        return kept;
    }

    [GeneratedRegex("\"block_duration_ms\": ([0-9]{1,18})")]
    private static partial Regex BlockDuration();
}
