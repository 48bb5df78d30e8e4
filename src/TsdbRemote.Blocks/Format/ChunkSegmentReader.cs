using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>The open chunk segments of a block; the bytes are drawn in <see cref="SegmentFormat"/>.</summary>
/// <remarks>
/// Invariant: nothing is handed out before its checksum held, nor is memory taken by a length that the file does not bear out.
/// Memory:    nothing beyond an open file and a map for each segment.
/// Lifetime:  out of a map chunks are handed out where they lie, and live as long as this reader; else in the caller's arena.
/// Thread-safe.
/// </remarks>
public sealed class ChunkSegmentReader : IDisposable
{
    // Read at once where the file is not mapped: most records whole, so that one call suffices.
    private const int GuessBytes = 2048;

    private readonly FileSource[] _segments;

    private ChunkSegmentReader(FileSource[] segments)
    {
        _segments = segments;
        foreach (FileSource segment in segments) Bytes += segment.Length;
    }

    /// <summary>Bytes of all segments.</summary>
    public long Bytes { get; }

    /// <summary>Number of segments.</summary>
    public int Segments => _segments.Length;

    /// <summary>Opens all segments and checks their names and headers.</summary>
    /// <param name="files">Where they are.</param>
    /// <param name="chunksDirectory">Their directory.</param>
    /// <param name="mmap">Whether to map them; where that is not possible they are read.</param>
    /// <exception cref="CorruptFileException">One is missing or damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static ChunkSegmentReader Open(IFileSystem files, string chunksDirectory, bool mmap) =>
        OpenAs(files, chunksDirectory, mmap, chunksDirectory);

    /// <summary>As <see cref="Open"/>, of segments whose directory is about to be renamed.</summary>
    internal static ChunkSegmentReader OpenAs(IFileSystem files, string chunksDirectory, bool mmap, string name)
    {
        ArgumentNullException.ThrowIfNull(files);
        List<FileSource> segments = [];
        try
        {
            foreach (DirectoryEntry entry in files.List(chunksDirectory))
            {
                // Readers count the files whose names are numbers: a gap would shift all references behind it.
                if (entry.Name.AsSpan().ContainsAnyExceptInRange('0', '9')) continue;
                string path = $"{chunksDirectory}/{entry.Name}";
                string expected = SegmentFormat.NameOf(segments.Count);
                if (entry.Name != expected) throw new CorruptFileException(path, 0, $"segment {expected} is missing before it");
                if (entry.IsDirectory) throw new CorruptFileException(path, 0, "a segment is expected, it is a directory");
                segments.Add(OpenSegment(files, path, mmap, $"{name}/{entry.Name}"));
            }

            if (segments.Count == 0) throw new CorruptFileException($"{chunksDirectory}/{SegmentFormat.NameOf(0)}", 0, "it is missing");
            return new ChunkSegmentReader([.. segments]);
        }
        catch
        {
            foreach (FileSource segment in segments) segment.Dispose();
            throw;
        }
    }

    /// <summary>Fetches a chunk and checks it.</summary>
    /// <param name="meta">The chunk as the index names it.</param>
    /// <param name="rank">Goes into the chunk: how new this block is.</param>
    /// <param name="arena">Takes the bytes where the segment is not mapped.</param>
    /// <exception cref="CorruptFileException">The reference leads nowhere, or to a damaged record.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public SeriesChunk Read(in ChunkMeta meta, long rank, NativeArena arena)
    {
        PooledBuffer? scratch = null;
        try
        {
            return Read(meta, rank, arena, ref scratch);
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    /// <summary>Lets files and maps go; chunks that were handed out of a map are gone with it.</summary>
    public void Dispose()
    {
        foreach (FileSource segment in _segments) segment.Dispose();
    }

    /// <summary>As the other, for many chunks in a row: <paramref name="scratch"/> is made or replaced as needed.</summary>
    internal SeriesChunk Read(in ChunkMeta meta, long rank, NativeArena arena, ref PooledBuffer? scratch)
    {
        FileSource segment = SegmentOf(meta);
        uint offset = meta.Offset;
        int guess = (int)Math.Min(GuessBytes, segment.Length - offset);
        ReadOnlySpan<byte> record = segment.Get(offset, guess, ref scratch);
        int length = LengthOf(record, segment, offset);
        int recordBytes = (int)ChunkRecord.SizeOf(length);
        if (recordBytes > record.Length) record = segment.Get(offset, recordBytes, ref scratch);
        string? problem = ChunkRecord.TryRead(record, length, out ChunkEncoding encoding);
        if (problem is null && !ChunkEncodings.IsKnown(encoding)) problem = $"chunk of encoding {(byte)encoding}, which is not known";
        if (problem is not null) throw segment.Corrupt(offset, problem);
        int prefix = ChunkRecord.PrefixOf(length);
        return new SeriesChunk(meta.MinTimeMs, meta.MaxTimeMs, encoding, Place(segment, offset + prefix, record.Slice(prefix, length), arena), rank);
    }

    /// <summary>An exception that names the file and the place of a chunk.</summary>
    internal CorruptFileException Corrupt(in ChunkMeta meta, string what) =>
        SegmentOf(meta).Corrupt(meta.Offset, what);

    private static NativeBytes Place(FileSource segment, long offset, ReadOnlySpan<byte> data, NativeArena arena)
    {
        if (segment.Map is { } map) return map.Slice(offset, data.Length);
        NativeBytes copy = arena.Allocate(data.Length);
        data.CopyTo(copy.Span);
        return copy;
    }

    /// <summary>Length of a chunk, such that its record lies inside the file.</summary>
    private static int LengthOf(ReadOnlySpan<byte> start, FileSource segment, uint offset)
    {
        int at = 0;
        ReadOnlySpan<byte> field = start[..Math.Min(start.Length, SegmentFormat.MaxLengthBytes)];
        if (!Varint.TryRead(field, ref at, out ulong length)) throw segment.Corrupt(offset, "no chunk begins here");
        if (at != Varint.SizeOf(length) || length < SegmentFormat.MinChunkBytes || length > int.MaxValue - SegmentFormat.MaxFrameBytes)
            throw segment.Corrupt(offset, $"chunk of {length} bytes");
        if (ChunkRecord.SizeOf((int)length) > segment.Length - offset)
            throw segment.Corrupt(offset, $"chunk of {length} bytes, the segment ends at {segment.Length}");
        return (int)length;
    }

    private static FileSource OpenSegment(IFileSystem files, string path, bool mmap, string name)
    {
        IFile file = files.OpenRead(path);
        FileSource? source = null;
        PooledBuffer? scratch = null;
        try
        {
            // Before it is mapped: there is nothing to map in an empty file.
            long length = file.Length;
            if (length < SegmentFormat.HeaderBytes) throw new CorruptFileException(path, length, "too short for a segment");
            source = new FileSource(file, length, mmap, name);
            ReadOnlySpan<byte> header = source.Get(0, SegmentFormat.HeaderBytes, ref scratch);
            if (SegmentFormat.IsNewer(header)) throw new NewerFormatException(source.Path, sizeof(uint), header[sizeof(uint)], SegmentFormat.Version);
            if (SegmentFormat.TryReadHeader(header) is { } problem) throw source.Corrupt(0, problem);
            return source;
        }
        catch
        {
            if (source is null) file.Dispose();
            else source.Dispose();
            throw;
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    private FileSource SegmentOf(in ChunkMeta meta)
    {
        if ((uint)meta.Segment >= (uint)_segments.Length)
            throw _segments[^1].Corrupt(_segments[^1].Length, $"the index refers to segment {meta.Segment + 1L}, there are {_segments.Length}");
        FileSource segment = _segments[meta.Segment];
        if (meta.Offset < SegmentFormat.HeaderBytes || meta.Offset > segment.Length - SegmentFormat.MinRecordBytes)
            throw segment.Corrupt(meta.Offset, $"the index refers to a chunk here; the segment has {segment.Length} bytes");
        return segment;
    }
}
