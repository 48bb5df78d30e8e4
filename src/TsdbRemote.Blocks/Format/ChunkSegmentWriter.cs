using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>Writes the chunks of a block, front to back; the bytes are drawn in <see cref="SegmentFormat"/>.</summary>
/// <remarks>
/// Use:       <see cref="Add"/> in the order of the index, <see cref="Finish"/> once, <see cref="Dispose"/> in any case.
/// Promise:   after <see cref="Finish"/> the contents of every segment are durable; their names are not: the caller syncs the directory.
/// Memory:    1 MiB of pending bytes. One file is open at a time; a full one is synced before the next is made.
/// Failure:   after an exception the files are worthless and the writer unusable; the caller removes them with their directory.
/// Not thread-safe.
/// </remarks>
public sealed class ChunkSegmentWriter : IDisposable
{
    private readonly IFileSystem _files;
    private readonly string _directory;
    private readonly long _maxSegmentBytes;
    private FileAppender? _segment;
    private long _finishedBytes;
    private bool _finished;

    /// <summary>Prepares to write; no file is made before the first chunk.</summary>
    /// <param name="files">Where to.</param>
    /// <param name="chunksDirectory">An empty directory.</param>
    /// <param name="maxSegmentBytes">
    /// Length that no segment exceeds, at most <see cref="SegmentFormat.MaxSegmentBytes"/>; a smaller one for tests.
    /// </param>
    public ChunkSegmentWriter(IFileSystem files, string chunksDirectory, long maxSegmentBytes = SegmentFormat.MaxSegmentBytes)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentException.ThrowIfNullOrEmpty(chunksDirectory);
        const long MinSegmentBytes = SegmentFormat.HeaderBytes + SegmentFormat.MaxFrameBytes + SegmentFormat.MinChunkBytes;
        ArgumentOutOfRangeException.ThrowIfLessThan(maxSegmentBytes, MinSegmentBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxSegmentBytes, SegmentFormat.MaxSegmentBytes);
        _files = files;
        _directory = chunksDirectory;
        _maxSegmentBytes = maxSegmentBytes;
    }

    /// <summary>Bytes of all segments so far.</summary>
    public long Bytes => _finishedBytes + (_segment?.Position ?? 0);

    /// <summary>Segments begun so far.</summary>
    public int Segments { get; private set; }

    /// <summary>Longest chunk that fits a segment, bytes.</summary>
    public long MaxChunkBytes => _maxSegmentBytes - SegmentFormat.HeaderBytes - SegmentFormat.MaxFrameBytes;

    /// <summary>Writes a chunk.</summary>
    /// <param name="encoding">Its encoding.</param>
    /// <param name="data">Its bytes, without framing; <see cref="SegmentFormat.MinChunkBytes"/> to <see cref="MaxChunkBytes"/>.</param>
    /// <returns>How the index refers to it.</returns>
    /// <exception cref="ArgumentException">No reader would take it.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public ulong Add(ChunkEncoding encoding, ReadOnlySpan<byte> data)
    {
        if (_finished) throw new InvalidOperationException("the segments are finished");
        if (!ChunkEncodings.IsKnown(encoding)) throw new ArgumentException($"chunk of encoding {(byte)encoding}", nameof(encoding));
        if (data.Length < SegmentFormat.MinChunkBytes || data.Length > MaxChunkBytes)
            throw new ArgumentException($"chunk of {data.Length} bytes, {SegmentFormat.MinChunkBytes} to {MaxChunkBytes} are possible", nameof(data));
        FileAppender segment = SegmentFor(data.Length);
        ulong reference = SegmentFormat.Reference(Segments - 1, (uint)segment.Position);
        Span<byte> frame = stackalloc byte[ChunkRecord.MaxPrefixBytes];
        segment.Append(frame[..ChunkRecord.WritePrefix(frame, encoding, data.Length)]);
        segment.Append(data);
        ChunkRecord.WriteChecksum(frame, encoding, data);
        segment.Append(frame[..ChunkRecord.ChecksumBytes]);
        return reference;
    }

    /// <summary>Makes the contents of all segments durable and closes them.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void Finish()
    {
        if (_finished) throw new InvalidOperationException("the segments are finished");
        _finished = true;
        FinishSegment();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _finished = true;
        _segment?.Dispose();
        _segment = null;
    }

    private FileAppender SegmentFor(int dataLength)
    {
        // Prometheus reckons with the longest frame, too; so its segments and ours are cut alike.
        if (_segment is { } open && open.Position + SegmentFormat.MaxFrameBytes + dataLength <= _maxSegmentBytes) return open;
        FinishSegment();
        _segment = new FileAppender(_files.CreateNew($"{_directory}/{SegmentFormat.NameOf(Segments)}"));
        Segments++;
        Span<byte> header = stackalloc byte[SegmentFormat.HeaderBytes];
        SegmentFormat.WriteHeader(header);
        _segment.Append(header);
        return _segment;
    }

    private void FinishSegment()
    {
        if (_segment is null) return;
        _segment.Flush();
        _segment.File.SyncAll();
        _finishedBytes += _segment.Position;
        FileAppender done = _segment;
        _segment = null;
        done.Dispose();
    }
}
