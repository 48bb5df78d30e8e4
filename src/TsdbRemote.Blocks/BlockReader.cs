using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks;

/// <summary>An open block: finds series by their labels and hands out their chunks. The block never changes.</summary>
/// <remarks>
/// Use:       <see cref="Open"/>; the owner disposes it when it serves no longer, after <see cref="MarkObsolete"/> if it is to be removed.
///            A reader calls <see cref="TryAcquire"/>, selects, uses the chunks, and calls <see cref="Release"/>: the last one to let go
///            closes the files and, if the block is obsolete, calls its owner back.
/// Invariant: nothing read from the files is believed before its checksum; <c>meta.json</c>, which has none, is checked field by field.
/// Opening:   reads <c>meta.json</c>, what <see cref="IndexReader"/> checks at once, the headers of the segments and all tombstones:
///            cheap. Series and chunks are checked when they are touched; to check all of them is <c>BlockVerifier</c>'s.
/// Memory:    <see cref="MemoryBytes"/>; nothing for each series or chunk.
/// Thread-safe.
/// </remarks>
public sealed class BlockReader : IDisposable
{
    private readonly PostingsCache? _postings;
    private ReferenceCount _references;
    private Action<BlockReader>? _unused;
    private int _disposed;

    internal BlockReader(
        string directory, BlockMeta meta, IndexReader index, ChunkSegmentReader chunks, Tombstones tombstones, long tombstonesBytes,
        PostingsCacheBudget? postings)
    {
        Directory = directory;
        Meta = meta;
        Index = index;
        Chunks = chunks;
        Tombstones = tombstones;
        Bytes = index.Size + chunks.Bytes + tombstonesBytes;
        _postings = postings is null ? null : new PostingsCache(postings);
    }

    /// <summary>What the block says about itself.</summary>
    public BlockMeta Meta { get; }

    /// <summary>The block's name.</summary>
    public Ulid Ulid => Meta.Ulid;

    /// <summary>Where it is.</summary>
    public string Directory { get; }

    /// <summary>No sample is before, ms.</summary>
    public long MinTimeMs => Meta.MinTimeMs;

    /// <summary>No sample is after, ms: <c>maxTime</c> of the file less one.</summary>
    public long MaxTimeMs => Meta.EndTimeMs - 1;

    /// <summary>Bytes of index, chunks and tombstones on disk.</summary>
    public long Bytes { get; }

    /// <summary>Bytes that the open block holds in memory, about: the index' tables and the tombstones. Maps are not counted.</summary>
    public long MemoryBytes => Index.MemoryBytes + 24L * Tombstones.Count;

    /// <summary>Its index.</summary>
    public IndexReader Index { get; }

    /// <summary>Its chunk segments; what is deleted is still in them.</summary>
    public ChunkSegmentReader Chunks { get; }

    /// <summary>What is deleted of it.</summary>
    public Tombstones Tombstones { get; }

    /// <summary>Matchers evaluated before; null where none are kept.</summary>
    public PostingsCache? Postings => _postings;

    /// <summary>Opens a block.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="directory">Its directory, which bears its name.</param>
    /// <param name="mmap">Whether to map index and segments; where that is not possible they are read.</param>
    /// <param name="postings">Bounds what is kept of evaluated matchers, over all blocks that share it; null keeps nothing.</param>
    /// <exception cref="CorruptFileException">Something is missing or damaged; names the file.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static BlockReader Open(IFileSystem files, string directory, bool mmap, PostingsCacheBudget? postings = null)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentException.ThrowIfNullOrEmpty(directory);
        directory = directory.TrimEnd('/');
        string metaPath = $"{directory}/{BlockMeta.FileName}";
        BlockMeta meta = BlockMeta.Read(files, metaPath);
        string name = directory[(directory.LastIndexOf('/') + 1)..];
        if (name != meta.Ulid.ToString()) throw new CorruptFileException(metaPath, 0, $"ulid: is {meta.Ulid}, the directory is {name}");
        string tombstonesPath = $"{directory}/{TombstonesFormat.FileName}";
        Tombstones tombstones = TombstonesFormat.Read(files, tombstonesPath);
        long tombstonesBytes = files.FileSize(tombstonesPath) ?? 0;
        IndexReader index = OpenIndex(files, $"{directory}/{BlockDirectory.IndexFileName}", mmap);
        try
        {
            ChunkSegmentReader chunks = ChunkSegmentReader.Open(files, $"{directory}/{SegmentFormat.DirectoryName}", mmap);
            return new BlockReader(directory, meta, index, chunks, tombstones, tombstonesBytes, postings);
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>Series that all matchers match and that have samples in a range, in label order.</summary>
    /// <param name="matchers">At least one; of none nothing is selected.</param>
    /// <param name="range">The time asked for.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>A cursor before the first series. The caller's reference outlives it and the chunks that it handed out.</returns>
    /// <exception cref="CorruptFileException">The index is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public BlockSeriesCursor Select(IReadOnlyList<Matcher> matchers, TimeRange range, CancellationToken cancel)
    {
        bool overlaps = !range.IsEmpty && range.Overlaps(new TimeRange(MinTimeMs, MaxTimeMs));
        SelectedSeries ids = overlaps ? Index.SelectCompact(matchers, _postings, cancel) : new SelectedSeries();
        return new BlockSeriesCursor(this, ids, range, cancel);
    }

    /// <summary>As <see cref="Select"/>, of all series: for compaction and export.</summary>
    /// <exception cref="CorruptFileException">The index is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public BlockSeriesCursor SelectAll(TimeRange range, CancellationToken cancel)
    {
        bool overlaps = !range.IsEmpty && range.Overlaps(new TimeRange(MinTimeMs, MaxTimeMs));
        return new BlockSeriesCursor(this, overlaps ? Index.AllCompact(cancel) : new SelectedSeries(), range, cancel);
    }

    /// <summary>Counts one more reader, unless the block is closed.</summary>
    public bool TryAcquire() => _references.TryAcquire();

    /// <summary>Lets a reader go; the last one closes the files and, if the block is obsolete, calls its owner back.</summary>
    public void Release()
    {
        if (!_references.Release()) return;
        _postings?.Dispose();
        Index.Dispose();
        Chunks.Dispose();
        Volatile.Read(ref _unused)?.Invoke(this);
    }

    /// <summary>Says that no durable manifest names the block any more.</summary>
    /// <param name="unused">
    /// Called once, on the thread of the last reader, when the files are closed and the directory may be removed
    /// (<see cref="BlockDirectory.Remove"/>). Must not throw: that reader may be a query which has nothing to do with it.
    /// </param>
    public void MarkObsolete(Action<BlockReader> unused)
    {
        ArgumentNullException.ThrowIfNull(unused);
        Volatile.Write(ref _unused, unused);
    }

    /// <summary>Lets the owner's reference go.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0) Release();
    }

    private static IndexReader OpenIndex(IFileSystem files, string path, bool mmap)
    {
        if (files.FileSize(path) is null) throw new CorruptFileException(path, 0, "it is missing");
        return IndexReader.Open(files, path, mmap);
    }
}
