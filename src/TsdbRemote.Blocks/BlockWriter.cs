using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks;

/// <summary>Writes one new block, such that after a crash at any moment either no block of its name is there or all of it.</summary>
/// <remarks>
/// Use:       <see cref="Declare"/> every series in any order; <see cref="Add"/> the same series in label order with their chunks;
///            <see cref="FinishData"/>; <see cref="OpenFinished"/> if it is to be read at once; <see cref="Commit"/>, or, of several that are to be
///            there together, <see cref="WriteMeta"/> of all, <see cref="TakeName"/> of all and one sync of the directory above;
///            <see cref="Dispose"/> in any case, which aborts what was not committed.
/// Order:     everything is written into <c>ULID.tmp-for-creation</c>: chunk segments, index, tombstones, each synced when it is
///            finished; then <c>meta.json</c> as the last file, sync of <c>chunks/</c> and of the temporary
///            directory, rename to <c>ULID</c>, sync of the directory above. The rename is the one moment at which the block begins.
/// Cost:      <see cref="Commit"/> writes one small file and syncs three directories, however large the block: a caller may hold a lock.
/// Memory:    2 MiB of pending bytes and what <see cref="IndexWriter"/> keeps of symbols and postings.
/// Failure:   after an exception the writer can only be aborted. What the disk did not let it remove, the next start sweeps.
/// Not here:  merging, deduplication, cutting of chunks, verification of what was written (<c>BlockVerifier</c>). Not thread-safe.
/// </remarks>
public sealed class BlockWriter : IDisposable
{
    private readonly IFileSystem _files;
    private readonly string _blocksDirectory;
    private readonly string _temporary;
    private readonly ChunkSegmentWriter _segments;
    private readonly IndexWriter _index;
    private readonly List<ChunkMeta> _metas = [];
    private BlockStats? _stats;
    private Step _step;
    private long _floatSamples;
    private long _histogramSamples;
    private long _chunks;
    private long _series;
    private long _minTimeMs = long.MaxValue;
    private long _maxTimeMs = long.MinValue;

    /// <summary>Makes the temporary directory; the rest of an earlier attempt under this name is removed.</summary>
    /// <param name="files">Where to.</param>
    /// <param name="blocksDirectory">The directory that holds the blocks; exists.</param>
    /// <param name="ulid">Name of the new block; no block has it yet.</param>
    /// <param name="maxSegmentBytes">Length that no chunk segment exceeds.</param>
    /// <exception cref="DiskException">The disk refused.</exception>
    public BlockWriter(IFileSystem files, string blocksDirectory, Ulid ulid, long maxSegmentBytes = SegmentFormat.MaxSegmentBytes)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentException.ThrowIfNullOrEmpty(blocksDirectory);
        _files = files;
        _blocksDirectory = blocksDirectory;
        Ulid = ulid;
        _temporary = BlockDirectory.PathOf(blocksDirectory, ulid) + BlockDirectory.CreationSuffix;
        _segments = new ChunkSegmentWriter(files, ChunksPath, maxSegmentBytes);
        if (files.List(_temporary).Count > 0) BlockDirectory.RemoveTree(files, _temporary);
        try
        {
            files.MakeDir(_temporary);
            files.MakeDir(ChunksPath);
            _index = new IndexWriter(files, $"{_temporary}/{BlockDirectory.IndexFileName}");
        }
        catch
        {
            TryRemoveTemporary();
            throw;
        }
    }

    private enum Step
    {
        /// <summary>Series come in.</summary>
        Writing,

        /// <summary>All but <c>meta.json</c> is durable.</summary>
        DataFinished,

        /// <summary>All is durable but the name.</summary>
        MetaWritten,

        /// <summary>The block has its name, or may have it: its files are no longer this writer's to remove.</summary>
        Renamed,

        /// <summary>Something failed: there is nothing but to abort.</summary>
        Broken,

        /// <summary>Given up.</summary>
        Aborted,
    }

    /// <summary>Name of the block.</summary>
    public Ulid Ulid { get; }

    /// <summary>Bytes of chunks so far: where a caller decides that a block is large enough.</summary>
    public long ChunkBytes => _segments.Bytes;

    /// <summary>What the block holds; from <see cref="FinishData"/> on.</summary>
    /// <exception cref="InvalidOperationException">It is not finished.</exception>
    public BlockStats Stats => _stats ?? throw new InvalidOperationException("the data of the block is not finished");

    private string ChunksPath => $"{_temporary}/{SegmentFormat.DirectoryName}";

    /// <summary>Names a series that will be added: the index begins with all symbols, so they must be known first.</summary>
    /// <param name="labelRun">Its labels in canonical form (see <see cref="Model.Labels"/>).</param>
    public void Declare(ReadOnlySpan<byte> labelRun)
    {
        Begin(Step.Writing);
        _index.Declare(labelRun);
        _step = Step.Writing;
    }

    /// <summary>Adds a series.</summary>
    /// <param name="labelRun">Its labels, declared before, above those of the last call in label order.</param>
    /// <param name="chunks">One or more, ascending and without overlap. Their ranks are not kept.</param>
    /// <exception cref="ArgumentException">The order is broken, or a chunk is none: a block that hides samples is not written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void Add(ReadOnlySpan<byte> labelRun, ReadOnlySpan<SeriesChunk> chunks)
    {
        Begin(Step.Writing);
        if (chunks.IsEmpty) throw new ArgumentException("a series without chunks", nameof(chunks));
        _metas.Clear();
        foreach (ref readonly SeriesChunk chunk in chunks)
        {
            if (chunk.MinTimeMs > chunk.MaxTimeMs || (_metas.Count > 0 && chunk.MinTimeMs <= _metas[^1].MaxTimeMs))
                throw new ArgumentException($"chunk of {chunk.MinTimeMs} to {chunk.MaxTimeMs} ms out of order", nameof(chunks));
            if (chunk.MaxTimeMs == long.MaxValue) throw new ArgumentException("a sample at the end of time has no maxTime above it", nameof(chunks));
            ulong reference = _segments.Add(chunk.Encoding, chunk.Data.Span);
            _metas.Add(new ChunkMeta(chunk.MinTimeMs, chunk.MaxTimeMs, reference));
            Count(chunk);
        }

        _index.Add(labelRun, CollectionsMarshal.AsSpan(_metas));
        _series++;
        _step = Step.Writing;
    }

    /// <summary>Writes and syncs everything but <c>meta.json</c>.</summary>
    /// <exception cref="InvalidOperationException">The block is empty; such blocks are not written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void FinishData()
    {
        Begin(Step.Writing);
        if (_series == 0) throw new InvalidOperationException("a block without series");
        _segments.Finish();
        IndexCounts index = _index.Finish();
        TombstonesFormat.Write(_files, $"{_temporary}/{TombstonesFormat.FileName}", Tombstones.None);
        _stats = new BlockStats
        {
            Series = _series,
            Chunks = _chunks,
            FloatSamples = _floatSamples,
            HistogramSamples = _histogramSamples,
            MinTimeMs = _minTimeMs,
            MaxTimeMs = _maxTimeMs,
            ChunkBytes = _segments.Bytes,
            IndexBytes = index.Bytes,
        };
        _step = Step.DataFinished;
    }

    /// <summary>Opens what was written, so that it can be served the moment that it is committed: <see cref="Commit"/> then stays as short as it is.</summary>
    /// <param name="mmap">Whether to map index and segments; where that is not possible they are read.</param>
    /// <param name="postings">As of <see cref="BlockReader.Open"/>.</param>
    /// <exception cref="InvalidOperationException">The data is not finished, or the block is committed.</exception>
    /// <exception cref="CorruptFileException">What was written reads otherwise.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public FinishedBlock OpenFinished(bool mmap, PostingsCacheBudget? postings = null)
    {
        if (_step != Step.DataFinished) throw new InvalidOperationException($"the block is {_step}, it must be {Step.DataFinished}");
        return new FinishedBlock(_files, _temporary, BlockDirectory.PathOf(_blocksDirectory, Ulid), mmap, postings);
    }

    /// <summary>
    /// What <c>meta.json</c> of a block of level 1 says that spans exactly its samples; a caller changes what is otherwise.
    /// </summary>
    public BlockMeta NewMeta() => new()
    {
        Ulid = Ulid,
        MinTimeMs = Stats.MinTimeMs,
        EndTimeMs = Stats.MaxTimeMs + 1,
        Stats = Stats.ToMeta(),
        Compaction = new BlockMetaCompaction { Level = 1, Sources = [Ulid] },
        Version = BlockMeta.CurrentVersion,
    };

    /// <summary>Gives the block its name, durably: all that is left to do of a block that is committed alone.</summary>
    /// <param name="meta">As of <see cref="WriteMeta"/>.</param>
    /// <exception cref="ArgumentException">It is another block's, or contradicts what was written.</exception>
    /// <exception cref="DiskException">
    /// The disk refused. Of the rename, or of the sync of the blocks' directory: whether the block is there shows after the next start.
    /// </exception>
    public void Commit(BlockMeta meta)
    {
        WriteMeta(meta);
        TakeName();
        _files.SyncDir(_blocksDirectory);
    }

    /// <summary>Writes <c>meta.json</c>, so that all of the block is durable but its name.</summary>
    /// <param name="meta">This block's name and counts, and a range that holds its samples.</param>
    /// <exception cref="ArgumentException">It is another block's, or contradicts what was written.</exception>
    /// <exception cref="DiskException">The disk refused; the block has no name and gets none.</exception>
    public void WriteMeta(BlockMeta meta)
    {
        ArgumentNullException.ThrowIfNull(meta);
        Begin(Step.DataFinished);
        RequireThisBlock(meta);
        meta.WriteTo(_files, $"{_temporary}/{BlockMeta.FileName}");
        _files.SyncDir(ChunksPath);
        _files.SyncDir(_temporary);
        _step = Step.MetaWritten;
    }

    /// <summary>Gives the block its name, which is durable once the caller has synced the blocks' directory: once for all that are named together.</summary>
    /// <exception cref="DiskException">The disk refused; whether the block has its name is not known.</exception>
    public void TakeName()
    {
        Begin(Step.MetaWritten);
        _step = Step.Renamed;
        _files.Rename(_temporary, BlockDirectory.PathOf(_blocksDirectory, Ulid));
    }

    /// <summary>Gives up and removes the temporary directory, as far as the disk lets it. Nothing after <see cref="TakeName"/>.</summary>
    public void Abort()
    {
        if (_step is Step.Renamed or Step.Aborted) return;
        _step = Step.Aborted;
        TryClose(_segments);
        TryClose(_index);
        TryRemoveTemporary();
    }

    /// <summary>Aborts what was not committed.</summary>
    public void Dispose()
    {
        Abort();
        TryClose(_segments);
        TryClose(_index);
    }

    private static void TryClose(IDisposable writer)
    {
        try
        {
            writer.Dispose();
        }
        catch (IOException)
        {
            // Close of a file that is given up, or that was synced before: nothing is lost by it.
        }
    }

    private void TryRemoveTemporary()
    {
        try
        {
            BlockDirectory.RemoveIfThere(_files, _temporary);
        }
        catch (IOException)
        {
            // The failure that led here is the one to report; the next start sweeps temporary directories.
        }
    }

    /// <summary>Requires a step. Until the operation ends well the writer counts as broken.</summary>
    private void Begin(Step expected)
    {
        if (_step != expected) throw new InvalidOperationException($"the block is {_step}, it must be {expected}");
        _step = Step.Broken;
    }

    private void Count(in SeriesChunk chunk)
    {
        int samples = SegmentFormat.SamplesOf(chunk.Data.Span);
        if (samples == 0) throw new ArgumentException($"chunk of {chunk.MinTimeMs} ms holds no sample");
        if (chunk.Encoding == ChunkEncoding.Xor) _floatSamples += samples;
        else _histogramSamples += samples;
        _chunks++;
        _minTimeMs = Math.Min(_minTimeMs, chunk.MinTimeMs);
        _maxTimeMs = Math.Max(_maxTimeMs, chunk.MaxTimeMs);
    }

    private void RequireThisBlock(BlockMeta meta)
    {
        if (meta.Ulid != Ulid) throw new ArgumentException($"meta of {meta.Ulid}, the block is {Ulid}", nameof(meta));
        if (meta.MinTimeMs > Stats.MinTimeMs || meta.EndTimeMs <= Stats.MaxTimeMs)
            throw new ArgumentException(
                $"meta of {meta.MinTimeMs} to {meta.EndTimeMs} ms, samples span {Stats.MinTimeMs} to {Stats.MaxTimeMs}", nameof(meta));
        if (meta.Stats != Stats.ToMeta()) throw new ArgumentException($"meta counts {meta.Stats}, the block holds {Stats}", nameof(meta));
    }
}
