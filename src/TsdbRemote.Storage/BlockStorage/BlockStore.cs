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
/// <param name="IsUnsupported">It is whole, but holds what this version cannot serve: it stays where it is.</param>
public sealed record ForeignBlock(BlockReader? Reader, string? Problem, bool IsUnsupported);

/// <summary>The directory <c>blocks/</c>: opens, verifies, quarantines and removes blocks. Never touches the manifest.</summary>
/// <remarks>
/// Whose a block is: one that the manifest names is in service. One that it names as deleted, and one whose mark says that this directory made it for
/// the manifest that stands, is the rest of a deletion or of a conversion that a crash cut off, and is removed. Any other, restored from a
/// snapshot or made by Prometheus, is verified and adopted, or put into <c>quarantine/</c>.
/// Not thread-safe: recovery uses it first, then one thread.
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

    /// <summary>Bytes of what was found damaged, which counts against the size of the directory as everything else does.</summary>
    public long QuarantineBytes => BytesOf(_paths.Quarantine);

    /// <summary>Opens a block; the caller owns the reader.</summary>
    /// <exception cref="CorruptFileException">It is damaged, or missing.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public BlockReader OpenBlock(string ulid) => BlockReader.Open(_files, _paths.Block(ulid), _mmap, _cache);

    /// <summary>Opens the blocks that the manifest names. What cannot be opened is out of service and stays where it is.</summary>
    /// <param name="manifest">The committed state.</param>
    /// <param name="damaged">Told of each block that cannot be served.</param>
    public BlockSet OpenNamed(ManifestState manifest, Action<string> damaged)
    {
        List<StoredBlock> blocks = [];
        foreach (BlockEntry entry in manifest.Blocks)
        {
            try
            {
                blocks.Add(new StoredBlock(entry, OpenBlock(entry.Ulid)));
            }
            catch (CorruptFileException corrupt)
            {
                damaged($"{corrupt.Message}; block {entry.Ulid} is out of service");
            }
            catch (DiskException missing) when (missing.Errno == Errno.NoEntry)
            {
                damaged($"{missing.Message}; block {entry.Ulid} is out of service until it is put back");
            }
        }

        return BlockSet.Empty.With(blocks);
    }

    /// <summary>Removes the rests of crashes: what carries a temporary name, what the manifest says is deleted, what a conversion never got named.</summary>
    public void RemoveRests(ManifestState manifest)
    {
        foreach (string name in BlockDirectory.SweepTemporaries(_files, _paths.Blocks)) Log.RestRemoved(_log, DataLayout.Join(_paths.Blocks, name));
        HashSet<string> named = [.. manifest.Blocks.Select(static block => block.Ulid)];
        HashSet<string> deleted = [.. manifest.DeletedBlocks];
        foreach (string ulid in Directories())
        {
            if (named.Contains(ulid) || !(deleted.Contains(ulid) || IsUnnamedConversion(ulid, manifest))) continue;
            Remove(ulid);
            Log.RestRemoved(_log, _paths.Block(ulid));
        }
    }

    /// <summary>Names of the blocks that are there and that the manifest knows nothing of.</summary>
    public IReadOnlyList<string> FindUnknown(ManifestState manifest)
    {
        HashSet<string> known = [.. manifest.Blocks.Select(static block => block.Ulid), .. manifest.DeletedBlocks];
        return [.. Directories().Where(ulid => !known.Contains(ulid))];
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
        if (!hasChunks) return new ForeignBlock(null, $"{SegmentFormat.DirectoryName} is no directory in it", IsUnsupported: false);

        // Times are what their sender said: the store takes samples of any, so a block of it that comes back may hold them.
        BlockReport report = BlockVerifier.Verify(_files, _paths.Block(ulid), new BlockVerifyOptions { CheckTimeUnits = false }, cancel);
        if (!report.IsAcceptable) return new ForeignBlock(null, report.ToString(), IsUnsupported: false);
        if (report.Counts.HistogramSamples > 0)
            return new ForeignBlock(null, $"it holds {report.Counts.HistogramSamples} native histograms, which this version does not serve", IsUnsupported: true);
        try
        {
            return new ForeignBlock(OpenBlock(ulid), null, IsUnsupported: false);
        }
        catch (CorruptFileException corrupt)
        {
            return new ForeignBlock(null, corrupt.Message, IsUnsupported: false);
        }
    }

    /// <summary>Moves a block out of the way.</summary>
    /// <returns>Where it is now.</returns>
    public string Quarantine(string ulid)
    {
        HashSet<string> taken = [.. _files.List(_paths.Quarantine).Select(static entry => entry.Name)];
        string name = $"block-{ulid}";
        for (int copy = 2; taken.Contains(name); copy++) name = $"block-{ulid}-{copy}";
        string target = DataLayout.Join(_paths.Quarantine, name);
        _files.Rename(_paths.Block(ulid), target);
        _files.SyncDir(_paths.Quarantine);
        _files.SyncDir(_paths.Blocks);
        return target;
    }

    /// <summary>Removes a block: its name at once, its files behind it.</summary>
    public void Remove(string ulid) => BlockDirectory.Remove(_files, _paths.Blocks, Ulid.Parse(ulid));

    private long BytesOf(string directory) => _files.List(directory)
        .Sum(entry => entry.IsDirectory ? BytesOf(DataLayout.Join(directory, entry.Name)) : entry.Length);

    private IEnumerable<string> Directories() => BlockDirectory.List(_files, _paths.Blocks).Select(static ulid => ulid.ToString());

    private bool IsUnnamedConversion(string ulid, ManifestState manifest)
    {
        try
        {
            BlockMark? mark = BlockMeta.Read(_files, DataLayout.Join(_paths.Block(ulid), BlockMeta.FileName)).Mark;
            return mark is not null && mark.Directory == manifest.DirectoryId && mark.Generation == manifest.Generation;
        }
        catch (Exception unreadable) when (unreadable is CorruptFileException or DiskException)
        {
            return false; // not ours to remove: whoever examines it says what is wrong with it
        }
    }
}
