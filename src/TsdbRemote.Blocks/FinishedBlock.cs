using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks;

/// <summary>The data of a block that has neither its <c>meta.json</c> nor its name yet, open.</summary>
/// <remarks>
/// What opening costs, the checks of symbols and postings table above all, is paid here, before the commit and beside everybody else.
/// Use: <see cref="BlockWriter.OpenFinished"/>; <see cref="Serve"/> once the block is committed; dispose in any case.
/// Files and maps stay what they are when the directory is renamed. Not thread-safe.
/// </remarks>
public sealed class FinishedBlock : IDisposable
{
    private readonly string _directory;
    private readonly Tombstones _tombstones;
    private readonly long _tombstonesBytes;
    private readonly PostingsCacheBudget? _postings;
    private readonly IndexReader _index;
    private readonly ChunkSegmentReader _chunks;
    private bool _isServed;

    /// <summary>Opens the data.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="temporary">The directory that it is in.</param>
    /// <param name="directory">The directory that it will be in.</param>
    /// <param name="mmap">Whether to map index and segments.</param>
    /// <param name="postings">As of <see cref="BlockReader.Open"/>.</param>
    internal FinishedBlock(IFileSystem files, string temporary, string directory, bool mmap, PostingsCacheBudget? postings)
    {
        _directory = directory;
        _postings = postings;
        string tombstones = $"{temporary}/{TombstonesFormat.FileName}";
        _tombstones = TombstonesFormat.Read(files, tombstones);
        _tombstonesBytes = files.FileSize(tombstones) ?? 0;
        _index = IndexReader.OpenAs(files, $"{temporary}/{BlockDirectory.IndexFileName}", mmap, $"{directory}/{BlockDirectory.IndexFileName}");
        try
        {
            _chunks = ChunkSegmentReader.OpenAs(
                files, $"{temporary}/{SegmentFormat.DirectoryName}", mmap, $"{directory}/{SegmentFormat.DirectoryName}");
        }
        catch
        {
            _index.Dispose();
            throw;
        }
    }

    /// <summary>The block, now that it has its name. Touches no file.</summary>
    /// <param name="meta">What was committed.</param>
    /// <returns>The caller's.</returns>
    public BlockReader Serve(BlockMeta meta)
    {
        ArgumentNullException.ThrowIfNull(meta);
        if (_isServed) throw new InvalidOperationException("the block is served already");
        _isServed = true;
        return new BlockReader(_directory, meta, _index, _chunks, _tombstones, _tombstonesBytes, _postings);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isServed) return; // the reader owns the files
        _isServed = true;
        _index.Dispose();
        _chunks.Dispose();
    }
}
