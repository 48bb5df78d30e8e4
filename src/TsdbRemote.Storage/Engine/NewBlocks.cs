using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Blocks on their way into the manifest: what a conversion, a compaction or a flush has written and wants named, all of them or none.</summary>
/// <remarks>
/// Use:      <see cref="Add"/> each one, all of its files written and synced but <c>meta.json</c>; <see cref="Commit"/>; dispose in any case, which drops what was
///           not committed. The blocks are open from then on, so the commit stays short.
/// Order (reliability §2.3), while no other commit can come between: of each block <c>meta.json</c> with the generation that stands and its rank, and its syncs; the
///           names of all; the sync of the directory; then the manifest, then the state that readers see. A crash before the manifest leaves blocks whose marks equal
///           directory and generation and that nobody names: the next open removes them.
/// Failure:  what may fail for want of room or of a file's sync comes before the first name. Of a rename, or of the manifest's new file: the names are taken back. Of the
///           sync of a directory: the storage becomes read-only, nothing more is touched, and the next open removes them.
/// Rank:     the next of the conversion counter, so that a block ranks above every one there is, in the order in which they were added. A compaction, which holds no newer
///           sample than its inputs, brings the rank of the newest of them (<see cref="BlockCompactionWork"/>).
/// Adoption: who looks for foreign blocks in the directory passes over these, from <see cref="Add"/> until the manifest names them or they are gone; while neither
///           is so, as long as the process lives.
/// Not thread-safe; several of these may be at work, each on a thread of its own.
/// </remarks>
internal sealed class NewBlocks : IDisposable
{
    // 1 is what is made of foreign blocks alone (BlockCompactionJob).
    private const long FirstRank = 2;

    private readonly BlockStore _store;
    private readonly ILogger _log;
    private readonly List<NewBlock> _blocks = [];

    public NewBlocks(BlockStore store, ILogger log)
    {
        _store = store;
        _log = log;
    }

    /// <summary>How many there are.</summary>
    public int Count => _blocks.Count;

    /// <summary>True if a failed sync says nothing about files that the manifest names: those of a block that is given up are dropped.</summary>
    public static bool IsOfNewBlock(DiskException failure)
    {
        int suffix = failure.Path.IndexOf(BlockDirectory.CreationSuffix + "/", StringComparison.Ordinal);
        return suffix >= 0 && failure.Path[(suffix + BlockDirectory.CreationSuffix.Length + 1)..] != SegmentFormat.DirectoryName;
    }

    /// <summary>Takes a block over and opens it.</summary>
    /// <param name="writer">Its data is finished.</param>
    /// <param name="metaOf">Its <c>meta.json</c>, given our mark.</param>
    /// <param name="appliedTo">Tombstones up to this sequence do not reach it.</param>
    /// <param name="rank">Its rank; null for one above all that are there when it is committed.</param>
    /// <exception cref="CorruptFileException">It reads otherwise than it was written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void Add(BlockWriter writer, Func<BlockMark, BlockMeta> metaOf, ulong appliedTo = 0, long? rank = null)
    {
        var block = new NewBlock(writer, metaOf, appliedTo, rank) { Reservation = _store.Reserve(writer.Ulid) };
        _blocks.Add(block);
        block.Finished = _store.OpenFinished(writer);
    }

    /// <summary>Gives all of them their names and commits them, together with a change of the manifest.</summary>
    /// <param name="commits">Where manifests are replaced.</param>
    /// <param name="change">The rest of the change.</param>
    /// <param name="publish">Makes the new state, given the one that stands, the committed manifest, and the new blocks.</param>
    /// <param name="flushedSegment">As of <see cref="StateCommits.Commit"/>.</param>
    /// <exception cref="ManifestUncertainException">Nobody knows which manifest stands.</exception>
    /// <exception cref="DiskException">The disk refused; the old state stands.</exception>
    public void Commit(
        StateCommits commits, Func<ManifestState, ManifestState> change, Func<EngineState, ManifestState, IReadOnlyList<StoredBlock>, EngineState> publish,
        long? flushedSegment = null)
    {
        bool isCommitted = false;
        try
        {
            commits.Commit(
                manifest => Name(change(manifest)),
                (state, manifest) =>
                {
                    isCommitted = true;
                    return publish(state, manifest, [.. _blocks.Select(static block => block.Stored!)]);
                },
                flushedSegment);
        }
        catch (DiskException failure) when (!isCommitted && !failure.IsSync)
        {
            RemoveNamed();
            throw;
        }

        foreach (NewBlock block in _blocks) block.MayBeStray = false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NewBlock block in _blocks) block.Dispose();
        _blocks.Clear();
    }

    private ManifestState Name(ManifestState manifest)
    {
        foreach (NewBlock block in _blocks)
        {
            long rank = block.Rank ?? Math.Max(FirstRank, manifest.ConversionCounter + 1);
            BlockMeta meta = block.MetaOf(new BlockMark { Directory = manifest.DirectoryId, Generation = manifest.Generation, Rank = rank });
            block.Writer.WriteMeta(meta);
            block.Stored = new StoredBlock(BlockEntry.Of(meta, rank, block.AppliedTo), block.Finished!.Serve(meta));
            manifest = manifest with { ConversionCounter = Math.Max(manifest.ConversionCounter, rank), Blocks = manifest.Blocks.Add(block.Stored.Entry) };
        }

        foreach (NewBlock block in _blocks)
        {
            block.MayBeStray = true; // whatever comes of the rename
            block.Writer.TakeName();
        }

        if (_blocks.Count > 0) _store.SyncNames();
        return manifest;
    }

    /// <summary>Takes the names back.</summary>
    /// <exception cref="DiskException">
    /// Of a sync of the directory, which makes the storage read-only and so outweighs the failure that led here. What is left is removed by the next open.
    /// </exception>
    private void RemoveNamed()
    {
        foreach (NewBlock block in _blocks.Where(static block => block.MayBeStray))
        {
            block.Close();
            string name = block.Writer.Ulid.ToString();
            try
            {
                _store.Remove(name);
                block.MayBeStray = false;
            }
            catch (DiskException refused) when (!refused.IsSync)
            {
                // The failure that led here is the one to report. A start that comes before the block is gone removes it, if no commit came between; else it
                // adopts it: then its samples are where it was made from as well, and outrank it.
                Log.DeleteFailed(_log, refused.Path, refused);
                _store.RemoveLater(name);
            }
        }
    }

    private sealed class NewBlock(BlockWriter writer, Func<BlockMark, BlockMeta> metaOf, ulong appliedTo, long? rank) : IDisposable
    {
        public BlockWriter Writer { get; } = writer;

        public Func<BlockMark, BlockMeta> MetaOf { get; } = metaOf;

        public ulong AppliedTo { get; } = appliedTo;

        public long? Rank { get; } = rank;

        public required IDisposable Reservation { get; init; }

        public FinishedBlock? Finished { get; set; }

        public StoredBlock? Stored { get; set; }

        /// <summary>True while it may bear its name although the manifest does not say so: it stays reserved, lest it be adopted.</summary>
        public bool MayBeStray { get; set; }

        /// <summary>Lets the files go: a state that serves the block holds it by now.</summary>
        public void Close()
        {
            Stored?.Reader.Dispose();
            Finished?.Dispose();
        }

        public void Dispose()
        {
            Close();
            Writer.Dispose();
            if (!MayBeStray) Reservation.Dispose();
        }
    }
}
