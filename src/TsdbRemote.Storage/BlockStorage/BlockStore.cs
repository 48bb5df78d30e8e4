using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.BlockStorage;

/// <summary>What became of a block found in <c>blocks/</c> that the manifest does not name.</summary>
/// <param name="Reader">The open block, if it may be adopted.</param>
/// <param name="Problem">Why it may not be; null if it may.</param>
/// <param name="IsNewer">Only because a later program wrote it: it is to be left where it is.</param>
public sealed record ForeignBlock(BlockReader? Reader, string? Problem, bool IsNewer = false);

/// <summary>The directory <c>blocks/</c>: opens, verifies, quarantines and removes blocks. Never touches the manifest.</summary>
/// <remarks>
/// Whose a block is: one that the manifest names is in service. One that it names as deleted, and one whose mark says that this directory made it for
/// the manifest that stands, is the rest of a deletion or of a conversion that a crash cut off, and is removed. Any other, restored from a
/// snapshot or made by Prometheus, is verified and adopted, or put into <c>quarantine/</c>.
/// A block that is named and cannot be opened, for whatever reason, is out of service: it is named as damage, stays where it is and stays in the manifest, and
/// is tried again, so that it serves as soon as it can be opened. Nothing that is wrong with a block keeps anything else from working.
/// One that cannot be opened because the process has too many files open has nothing wrong with it, and would be missing from reads that call themselves whole:
/// it is no damage, and reads wait for it (<see cref="WhyShut"/>).
/// Not thread-safe: recovery uses it first, then one thread; but any may call <see cref="Reserve"/>, <see cref="OpenFinished"/>,
/// <see cref="SyncNames"/>, <see cref="Remove"/> and <see cref="RemoveLater"/>.
/// </remarks>
public sealed class BlockStore
{
    // A bound on the bookkeeping; their bytes are bounded apart.
    private const int MaxCachedMatchers = 10_000;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly bool _mmap;
    private readonly PostingsCacheBudget _cache;
    private readonly ILogger _log;

    // Blocks that are about to be named, by their names; the value means nothing.
    private readonly ConcurrentDictionary<string, byte> _reserved = [];

    // Of them those that the manifest will not name and that the disk did not let go at once.
    private readonly ConcurrentQueue<string> _strays = [];

    // Of blocks out of service: why, so that it is told once.
    private readonly Dictionary<string, string> _outOfService = [];

    // Of blocks that there was no file handle for: what the disk said.
    private readonly Dictionary<string, string> _shut = [];
    private volatile string? _whyShut;

    /// <summary>The blocks of a data directory.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="mmap">Whether blocks are mapped or read.</param>
    /// <param name="cacheBytes">What evaluated matchers of all blocks may take together, in bytes.</param>
    /// <param name="log">Where events go.</param>
    public BlockStore(IFileSystem files, DataLayout paths, bool mmap, long cacheBytes, ILogger log)
    {
        _files = files;
        _paths = paths;
        _mmap = mmap;
        _cache = new PostingsCacheBudget(cacheBytes, MaxCachedMatchers);
        _log = log;
    }

    /// <summary>What a block of this store is held to. Times are what their sender said: the store takes samples of any, so a block that comes back may hold them.</summary>
    internal static BlockVerifyOptions Rules { get; } = new() { CheckTimeUnits = false };

    /// <summary>Bytes of what was found damaged, which counts against the size of the directory as everything else does.</summary>
    public long QuarantineBytes => BytesOf(_paths.Quarantine, static _ => true);

    /// <summary>Why reads cannot be whole now: a block that is named could not be opened, for too many files are open; null if there is none such. Any thread.</summary>
    public string? WhyShut => _whyShut;

    /// <summary>Opens what a writer has finished, ahead of its commit; the caller owns it.</summary>
    /// <exception cref="CorruptFileException">It reads otherwise than it was written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public FinishedBlock OpenFinished(BlockWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        return writer.OpenFinished(_mmap, _cache);
    }

    /// <summary>Keeps a block of ours from being taken for a foreign one in the moment in which it has its name and the manifest does not say so yet.</summary>
    /// <returns>To be disposed when the manifest names the block, or it is gone.</returns>
    public IDisposable Reserve(Ulid ulid)
    {
        string name = ulid.ToString();
        _reserved[name] = 0;
        return new Reservation(_reserved, name);
    }

    /// <summary>Makes the names of new blocks durable.</summary>
    /// <exception cref="DiskException">The disk refused: which of them are there shows after the next start.</exception>
    public void SyncNames() => _files.SyncDir(_paths.Blocks);

    /// <summary>Notes that a reserved block, which will not be named by the manifest, could not be removed.</summary>
    public void RemoveLater(string name) => _strays.Enqueue(name);

    /// <summary>Gives what <see cref="RemoveLater"/> noted, each name once.</summary>
    public bool TryTakeStray([NotNullWhen(true)] out string? name) => _strays.TryDequeue(out name);

    /// <summary>Opens the blocks that the manifest names.</summary>
    /// <param name="manifest">The committed state.</param>
    /// <param name="damaged">Told of each block that cannot be served.</param>
    /// <exception cref="NewerFormatException">A later program wrote one of them: it worked in this directory, and knows what else there is.</exception>
    public BlockSet OpenNamed(ManifestState manifest, Action<string> damaged)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        List<StoredBlock> blocks = [];
        foreach (BlockEntry entry in manifest.Blocks)
        {
            if (TryOpen(entry, damaged, refusesNewer: true) is { } block) blocks.Add(block);
        }

        return BlockSet.Empty.With(blocks);
    }

    /// <summary>Opens a block that the manifest names; the caller owns the reader.</summary>
    /// <param name="entry">What the manifest says.</param>
    /// <param name="damaged">Told why it cannot be served, once as long as that does not change.</param>
    /// <param name="refusesNewer">False: a block of a later version is out of service, too.</param>
    /// <returns>Null if it is out of service.</returns>
    /// <exception cref="NewerFormatException">A later program wrote it.</exception>
    public StoredBlock? TryOpen(BlockEntry entry, Action<string> damaged, bool refusesNewer = false)
    {
        ArgumentNullException.ThrowIfNull(entry);
        ArgumentNullException.ThrowIfNull(damaged);
        string problem;
        try
        {
            BlockReader reader = OpenBlock(entry.Ulid);
            _outOfService.Remove(entry.Ulid);
            NoteShut(entry.Ulid, null);
            return new StoredBlock(BlockEntry.Of(reader.Meta, entry.Rank, entry.AppliedTo), reader);
        }
        catch (CorruptFileException corrupt) when (!refusesNewer || corrupt is not NewerFormatException)
        {
            problem = corrupt.Message;
        }
        catch (DiskException refused) when (refused.Errno is Errno.TooManyFiles or Errno.TooManyFilesOfAll)
        {
            // And therefore nothing is known of the block: what was said of it before stands.
            if (!_outOfService.ContainsKey(entry.Ulid)) NoteShut(entry.Ulid, refused.Message);
            return null;
        }
        catch (DiskException refused)
        {
            problem = refused.Message;
        }

        NoteShut(entry.Ulid, null);
        if (_outOfService.GetValueOrDefault(entry.Ulid) == problem) return null;
        _outOfService[entry.Ulid] = problem;
        damaged($"{problem}; block {entry.Ulid}{RangeOf(entry)} is out of service until it can be opened");
        return null;
    }

    /// <summary>Reads wait no longer for blocks that are out of service no more: they were deleted.</summary>
    /// <param name="outOfService">Names of those that still are.</param>
    public void ForgetShut(IReadOnlySet<string> outOfService)
    {
        foreach (string ulid in _shut.Keys.Where(ulid => !outOfService.Contains(ulid)).ToArray()) NoteShut(ulid, null);
    }

    /// <summary>
    /// Removes the rests of crashes: what carries a temporary name, what the manifest says is deleted, what a conversion never got named. Only while no block is
    /// being written or removed: at the start. What may be the last copy of something damaged stays, and is adopted like a foreign block.
    /// </summary>
    /// <param name="manifest">The committed state.</param>
    /// <param name="tablesAreWhole">Whether all that blocks are made of could be opened.</param>
    /// <param name="served">The blocks that could be opened.</param>
    /// <param name="damaged">Told of what cannot be removed.</param>
    /// <returns>Names of what could not be removed.</returns>
    public ImmutableArray<string> RemoveRests(ManifestState manifest, bool tablesAreWhole, BlockSet served, Action<string> damaged)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(served);
        ArgumentNullException.ThrowIfNull(damaged);
        HashSet<string> named = [.. manifest.Blocks.Select(static block => block.Ulid)];
        HashSet<string> deleted = [.. manifest.DeletedBlocks];
        HashSet<string> outOfService = [.. named.Except(served.Blocks.Select(static block => block.Entry.Ulid))];
        bool IsRest(string name)
        {
            if (name.EndsWith(BlockDirectory.DeletionSuffix, StringComparison.Ordinal)) return BlockDirectory.IsTemporary(name);
            if (deleted.Contains(name)) return true;
            if (BlockDirectory.IsTemporary(name)) return tablesAreWhole;
            return tablesAreWhole && !named.Contains(name) && BlockDirectory.IsBlock(name, out _) && IsUnnamed(_files, _paths, name, manifest, outOfService);
        }

        ImmutableArray<string> rests;
        try
        {
            rests = [.. _files.List(_paths.Blocks).Where(static entry => entry.IsDirectory).Select(static entry => entry.Name).Where(IsRest)];
        }
        catch (DiskException refused)
        {
            damaged($"{refused.Message}; rests of earlier work in it stay, and blocks that were put into it are not seen");
            return [];
        }

        // If only the process died, the renames that gave temporary names may still have to reach the disk.
        if (!rests.IsEmpty) _files.SyncDir(_paths.Blocks);
        return [.. rests.Where(name => !TryRemoveRest(name, damaged))];
    }

    /// <summary>Names of the blocks that are there and that the manifest knows nothing of.</summary>
    /// <param name="manifest">The committed state, asked for once the directory is listed: a block that was committed in between is then known.</param>
    /// <param name="odd">What bears the name of a block and is no directory, such as a symbolic link, which is not followed.</param>
    public IReadOnlyList<string> FindUnknown(Func<ManifestState> manifest, out IReadOnlyList<string> odd)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        IReadOnlyList<DirectoryEntry> there = _files.List(_paths.Blocks);

        // In this order: who gives a block its name reserves it before, and lets go of it once the manifest says so.
        HashSet<string> known = [.. _reserved.Keys];
        ManifestState committed = manifest();
        known.UnionWith(committed.Blocks.Select(static block => block.Ulid));
        known.UnionWith(committed.DeletedBlocks);
        DirectoryEntry[] unknown = [.. there.Where(entry => BlockDirectory.IsBlock(entry.Name, out _) && !known.Contains(entry.Name))];
        odd = [.. unknown.Where(static entry => !entry.IsDirectory).Select(static entry => entry.Name)];
        return [.. unknown.Where(static entry => entry.IsDirectory).Select(static entry => entry.Name)];
    }

    /// <summary>Bytes of what lies in the directory and is neither served nor being deleted: blocks out of service, and foreign ones that were not taken.</summary>
    public long UnservedBytes(ManifestState manifest, BlockSet served)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(served);
        HashSet<string> accounted = [.. served.Blocks.Select(static block => block.Entry.Ulid), .. manifest.DeletedBlocks];
        return BytesOf(_paths.Blocks, entry => !accounted.Contains(entry.Name) && !BlockDirectory.IsTemporary(entry.Name));
    }

    /// <summary>Of some blocks those of which something is still on disk, under their names or on their way out.</summary>
    public IReadOnlySet<string> Left(IEnumerable<string> ulids)
    {
        HashSet<string> there = [.. _files.List(_paths.Blocks).Select(static entry => entry.Name[..Math.Min(entry.Name.Length, Ulid.TextLength)])];
        return ulids.Where(there.Contains).ToHashSet();
    }

    /// <summary>Sizes of all files of a block, by which a copy in progress is told from one that is done.</summary>
    public string Fingerprint(string ulid)
    {
        string directory = _paths.Block(ulid);
        IEnumerable<DirectoryEntry> files = _files.List(directory).Concat(_files.List(DataLayout.Join(directory, SegmentFormat.DirectoryName)));
        return string.Join(' ', files.Select(static file => $"{file.Name}:{file.Length}"));
    }

    /// <summary>Verifies a block from its first byte to its last, and opens it if it may be served.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public ForeignBlock Examine(string ulid, CancellationToken cancel)
    {
        bool hasChunks = _files.List(_paths.Block(ulid)).Any(static entry => entry is { IsDirectory: true, Name: SegmentFormat.DirectoryName });
        if (!hasChunks) return new ForeignBlock(null, $"{SegmentFormat.DirectoryName} is no directory in it");

        if (NewerFormatOf(ulid) is { } newer) return new ForeignBlock(null, newer.Message, IsNewer: true);
        BlockReport report = BlockVerifier.Verify(_files, _paths.Block(ulid), Rules, cancel);
        if (!report.IsAcceptable) return new ForeignBlock(null, report.ToString());
        try
        {
            return new ForeignBlock(OpenBlock(ulid), null);
        }
        catch (CorruptFileException corrupt)
        {
            return new ForeignBlock(null, corrupt.Message);
        }
    }

    /// <summary>Moves a block out of the way.</summary>
    /// <returns>Where it is now.</returns>
    public string Quarantine(string ulid)
    {
        string target = QuarantineNames.Free(_files, _paths, _paths.Block(ulid));
        _files.Rename(_paths.Block(ulid), target);
        _files.SyncDir(_paths.Quarantine);
        _files.SyncDir(_paths.Blocks);
        return target;
    }

    /// <summary>Removes a block, its name at once, its files behind it; or what is left of one under a temporary name. What is gone is no longer reserved.</summary>
    public void Remove(string name)
    {
        if (BlockDirectory.IsTemporary(name)) BlockDirectory.RemoveTemporary(_files, _paths.Blocks, name);
        else BlockDirectory.Remove(_files, _paths.Blocks, Ulid.Parse(name));
        _reserved.TryRemove(name, out _);
    }

    private bool TryRemoveRest(string name, Action<string> damaged)
    {
        try
        {
            Remove(name);
            Log.RestRemoved(_log, _paths.Block(name));
            return true;
        }
        catch (DiskException refused) when (!refused.IsSync)
        {
            damaged($"{_paths.Block(name)} is the rest of earlier work and cannot be removed: {refused.Message}; it is not served, and its removal is tried again");
            return false;
        }
    }

    /// <summary>As far as the disk lets it be seen: a directory that somebody closed to us must not keep retention from its work.</summary>
    private long BytesOf(string directory, Func<DirectoryEntry, bool> counts)
    {
        try
        {
            return _files.List(directory).Where(counts)
                .Sum(entry => entry.IsDirectory ? BytesOf(DataLayout.Join(directory, entry.Name), static _ => true) : entry.Length);
        }
        catch (DiskException)
        {
            return 0;
        }
    }

    private void NoteShut(string ulid, string? why)
    {
        if (why is null)
        {
            if (!_shut.Remove(ulid)) return;
        }
        else
        {
            if (!_shut.TryAdd(ulid, why)) return;
            Log.BlockShut(_log, ulid, why);
        }

        _whyShut = _shut.Count == 0 ? null : $"{_shut.Count} blocks cannot be opened, for too many files are open: {_shut.Values.First()}; raise the limit of open files (ulimit -n)";
    }

    private static string RangeOf(BlockEntry entry) => entry.MaxTimeMs is null ? "" : $" of {entry.MinTimeMs} to {entry.MaxTimeMs} ms";

    /// <summary>
    /// True for the rest of a step of ours that a crash cut off before it was named: what it was made of is named still, and serves, unless a block that it was
    /// made of is out of service.
    /// </summary>
    internal static bool IsUnnamed(IFileSystem files, DataLayout paths, string ulid, ManifestState manifest, IReadOnlySet<string> outOfService)
    {
        try
        {
            BlockMeta meta = BlockMeta.Read(files, DataLayout.Join(paths.Block(ulid), BlockMeta.FileName));
            bool isOurs = meta.Mark is { } mark && mark.Directory == manifest.DirectoryId && mark.Generation == manifest.Generation;
            return isOurs && !meta.Compaction.Parents.Any(parent => outOfService.Contains(parent.Ulid.ToString()));
        }
        catch (Exception unreadable) when (unreadable is CorruptFileException or DiskException)
        {
            return false; // not ours to remove: whoever examines it says what is wrong with it
        }
    }

    private NewerFormatException? NewerFormatOf(string ulid)
    {
        try
        {
            using BlockReader opened = OpenBlock(ulid);
            return null;
        }
        catch (NewerFormatException newer)
        {
            return newer;
        }
        catch (CorruptFileException)
        {
            return null; // the rules say what is wrong
        }
    }

    private BlockReader OpenBlock(string ulid) => BlockReader.Open(_files, _paths.Block(ulid), _mmap, _cache);

    private sealed class Reservation(ConcurrentDictionary<string, byte> reserved, string name) : IDisposable
    {
        public void Dispose() => reserved.TryRemove(name, out _);
    }
}
