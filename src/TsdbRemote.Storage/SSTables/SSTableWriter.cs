using System.Buffers.Binary;
using Google.Protobuf;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Protos.Tables;

namespace TsdbRemote.Storage.SSTables;

/// <summary>What a table to be written is, beyond its chunks.</summary>
public sealed record SSTableWriterOptions
{
    /// <summary>The table's number, unique in its data directory; 0 or more.</summary>
    public required long TableId { get; init; }

    /// <summary>Id of the data directory, kept so that a lost manifest can be rebuilt.</summary>
    public Guid DirectoryId { get; init; }

    /// <summary>Level at which the table will stand; 0 after a flush.</summary>
    public int Level { get; init; }

    /// <summary>Size of the bloom filter, 0 (none) to <see cref="BloomFilter.MaxBitsPerKey"/> bits for each distinct series.</summary>
    public int BloomBitsPerKey { get; init; } = 10;
}

/// <summary>A finished table.</summary>
/// <param name="Size">Length of the file in bytes.</param>
/// <param name="Crc">Checksum of the footer, which covers all else: the root that the manifest keeps.</param>
/// <param name="Properties">What the file says about itself.</param>
public sealed record SSTableInfo(long Size, uint Crc, SSTableProperties Properties);

/// <summary>Writes one table front to back; its bytes are drawn in <see cref="SSTableFormat"/>.</summary>
/// <remarks>
/// Use:       <see cref="Add"/> all series in the order (window, id), <see cref="Finish"/> once, <see cref="Dispose"/> in any case.
/// Promise:   after <see cref="Finish"/> the contents are durable and were read back; the name is not: the caller renames the file and
///            syncs its directory (<c>docs/formats/sstable.md</c>, "How a table comes to be").
/// Memory:    1 MiB of pending chunk bytes, the index (about 11 bytes a chunk), 8 bytes a distinct series and its bloom filter.
/// Failure:   after an exception the file is worthless and the writer unusable. It stays where it is: the caller unlinks it, or the next
///            open does.
/// Not here:  merging, cutting at windows, the manifest. Not thread-safe.
/// </remarks>
public sealed class SSTableWriter : IDisposable
{
    // Beyond its chunks: id and count of a series, and the head of an index block in case that it begins one.
    private const int LargestSeriesBytes = 5 * Varint.MaxBytes;

    // Of each field of a property a byte of tag and a number or, for the directory id, 17 bytes; of a window also its length.
    private const int LargestFixedProperties = 256;
    private const int LargestWindowProperties = 8 * (Varint.MaxBytes + 1);

    private readonly IFileSystem _fileSystem;
    private readonly string _path;
    private readonly SSTableWriterOptions _options;
    private readonly FileAppender _appender;
    private readonly IndexBlockWriter _block = new();
    private readonly PagedBytes _index = new();
    private readonly List<SparseEntry> _sparse = [];
    private readonly DistinctIds _ids = new();
    private readonly SSTableProperties _properties;
    private SSTableWindow? _window;
    private ulong _lastId;
    private bool _finished;

    /// <summary>Creates the file, which must not exist yet.</summary>
    /// <exception cref="DiskException">It could not be created.</exception>
    public SSTableWriter(IFileSystem fs, string path, SSTableWriterOptions options)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegative(options.TableId);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Level);
        ArgumentOutOfRangeException.ThrowIfNegative(options.BloomBitsPerKey);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.BloomBitsPerKey, BloomFilter.MaxBitsPerKey);
        _fileSystem = fs;
        _path = path;
        _options = options;
        _properties = new SSTableProperties
        {
            TableId = options.TableId,
            DirectoryId = ByteString.CopyFrom(options.DirectoryId.ToByteArray(bigEndian: true)),
            Level = options.Level,
            BloomBitsPerKey = (uint)options.BloomBitsPerKey,
            MinTimeMs = long.MaxValue,
            MaxTimeMs = long.MinValue,
        };
        _appender = new FileAppender(fs.CreateNew(path));
        Span<byte> header = stackalloc byte[SSTableFormat.HeaderBytes];
        SSTableFormat.WriteHeader(header, options.TableId);
        _appender.Append(header);
    }

    /// <summary>Bytes that the file would have at least if it were finished now: where a compaction decides to cut.</summary>
    public long EstimatedBytes => _appender.Position + _index.Length + _block.Length;

    /// <summary>Bytes that the file has at most if one more series is added and it is then finished.</summary>
    /// <param name="chunks">Chunks of the series.</param>
    /// <param name="parents">Number of tables that it was merged from.</param>
    public long LargestBytesWith(ReadOnlySpan<SeriesChunk> chunks, int parents)
    {
        long bytes = EstimatedBytes + LargestSeriesBytes;
        foreach (ref readonly SeriesChunk chunk in chunks) bytes += ChunkRecord.SizeOf(chunk.Data.Length) + 3 * Varint.MaxBytes;

        // Behind the index: an entry for each block, the current one and one more; the filter; properties of a few numbers, but for windows and parents.
        bytes += (_sparse.Count + 2L) * (SSTableFormat.SparseEntryBytes + SSTableFormat.ChecksumBytes);
        bytes += SSTableFormat.BloomHeaderBytes + BloomFilter.BodyBytes(_ids.Count + 1L, _options.BloomBitsPerKey) + SSTableFormat.ChecksumBytes;
        bytes += LargestFixedProperties + (_properties.Windows.Count + 1L) * LargestWindowProperties + parents * (long)Varint.MaxBytes;
        return bytes + 2 * SSTableFormat.ChecksumBytes + SSTableFormat.FooterBytes;
    }

    /// <summary>Chunks added so far.</summary>
    public long Chunks => _properties.Chunks;

    /// <summary>Adds a series of a window.</summary>
    /// <param name="windowStartMs">The window, not before that of the last call.</param>
    /// <param name="seriesId">The series, above that of the last call for this window.</param>
    /// <param name="chunks">One or more, ascending, not overlapping, inside the window. Their ranks are not kept.</param>
    /// <exception cref="InvariantViolatedException">The order is broken; a table that hides samples is not written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void Add(long windowStartMs, ulong seriesId, ReadOnlySpan<SeriesChunk> chunks)
    {
        Invariant.Check(!_finished);
        Invariant.Check(!chunks.IsEmpty);
        if (_window is null || _window.StartMs != windowStartMs)
        {
            Invariant.Check(_window is null || windowStartMs > _window.MaxTimeMs);
            BeginWindow(windowStartMs);
        }
        else
        {
            Invariant.Check(seriesId > _lastId);
            if (_block.Length >= SSTableFormat.IndexBlockTargetBytes) EndBlock();
        }

        if (_block.Length == 0) BeginBlock(windowStartMs, seriesId);
        _block.AddSeries(seriesId, chunks.Length);
        _ids.Add(seriesId);
        _lastId = seriesId;
        _window!.Series++;
        long afterMs = windowStartMs;
        for (int i = 0; i < chunks.Length; i++)
        {
            AddChunk(chunks[i], afterMs, isFirst: i == 0);
            afterMs = chunks[i].MaxTimeMs;
        }
    }

    /// <summary>
    /// Writes what stands behind the chunks, reads all of it back through a second handle, and makes the contents durable.
    /// </summary>
    /// <param name="firstSequence">First log sequence that the table is complete for.</param>
    /// <param name="lastSequence">Last log sequence that the table is complete for; not below the first.</param>
    /// <param name="parents">Tables that it was merged from.</param>
    /// <param name="cancel">Gives up; the file is then worthless.</param>
    /// <exception cref="CorruptFileException">What was read back is not what was written.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public SSTableInfo Finish(ulong firstSequence, ulong lastSequence, IEnumerable<long> parents, CancellationToken cancel = default)
    {
        Invariant.Check(!_finished);
        Invariant.Check(_window is not null); // a table of nothing is the caller's mistake
        Invariant.Check(firstSequence <= lastSequence);
        _finished = true;
        EndWindow();
        _properties.FirstSequence = firstSequence;
        _properties.LastSequence = lastSequence;
        _properties.Parents.AddRange(parents);
        _properties.Series = _ids.Ids.Length;
        _properties.MinSeriesId = _ids.Ids[0];
        _properties.MaxSeriesId = _ids.Ids[^1];
        uint crc = WriteSections();
        SSTableVerifier.Verify(_fileSystem, _path, _options.TableId, _appender.Position, crc, cancel);
        _appender.File.SyncAll();
        return new SSTableInfo(_appender.Position, crc, _properties);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _appender.Dispose();
        _block.Dispose();
        _index.Dispose();
    }

    private void AddChunk(in SeriesChunk chunk, long afterMs, bool isFirst)
    {
        Invariant.Check(isFirst ? chunk.MinTimeMs >= afterMs : chunk.MinTimeMs > afterMs);
        Invariant.Check(chunk.MaxTimeMs >= chunk.MinTimeMs);
        ReadOnlySpan<byte> data = chunk.Data.Span;
        Invariant.Check(data.Length >= SSTableFormat.MinChunkBytes);
        Span<byte> frame = stackalloc byte[ChunkRecord.MaxPrefixBytes];
        _appender.Append(frame[..ChunkRecord.WritePrefix(frame, chunk.Encoding, data.Length)]);
        _appender.Append(data);
        ChunkRecord.WriteChecksum(frame, chunk.Encoding, data);
        _appender.Append(frame[..SSTableFormat.ChecksumBytes]);
        _block.AddChunk(afterMs, chunk.MinTimeMs, chunk.MaxTimeMs, data.Length);
        Count(_window!, chunk, SSTableFormat.SamplesOf(data));
    }

    private void Count(SSTableWindow window, in SeriesChunk chunk, int samples)
    {
        window.MinTimeMs = Math.Min(window.MinTimeMs, chunk.MinTimeMs);
        window.MaxTimeMs = Math.Max(window.MaxTimeMs, chunk.MaxTimeMs);
        window.Chunks++;
        window.Samples += samples;
        _properties.Chunks++;
        _properties.Samples += samples;
    }

    private void BeginWindow(long startMs)
    {
        if (_window is not null) EndWindow();
        _window = new SSTableWindow { StartMs = startMs, MinTimeMs = long.MaxValue, MaxTimeMs = long.MinValue };
        _properties.Windows.Add(_window);
    }

    private void EndWindow()
    {
        EndBlock();
        _ids.EndRun();
        _properties.MinTimeMs = Math.Min(_properties.MinTimeMs, _window!.MinTimeMs);
        _properties.MaxTimeMs = Math.Max(_properties.MaxTimeMs, _window.MaxTimeMs);
    }

    private void BeginBlock(long windowStartMs, ulong firstId)
    {
        _sparse.Add(new SparseEntry(windowStartMs, firstId, _index.Length));
        _block.Begin(windowStartMs, firstId, _appender.Position);
    }

    private void EndBlock()
    {
        _index.Append(_block.Finish());
        _block.Clear();
    }

    private uint WriteSections()
    {
        long indexOffset = _appender.Position;
        _index.WriteTo(_appender);
        long sparseOffset = _appender.Position;
        WriteSparseIndex(indexOffset);
        long bloomOffset = _appender.Position;
        WriteSection(BloomFilter.Build(_ids.Ids, _options.BloomBitsPerKey));
        long propertiesOffset = _appender.Position;
        WriteSection(_properties.ToByteArray());
        ulong contentHash = _appender.Flush();
        Span<byte> footer = stackalloc byte[SSTableFormat.FooterBytes];
        SSTableFooter layout = new(_options.TableId, indexOffset, sparseOffset, bloomOffset, propertiesOffset, contentHash);
        uint crc = layout.WriteTo(footer);
        _appender.Append(footer);
        _appender.Flush();
        return crc;
    }

    private void WriteSparseIndex(long indexOffset)
    {
        Span<byte> entry = stackalloc byte[SSTableFormat.SparseEntryBytes];
        uint crc = uint.MaxValue;
        foreach (SparseEntry block in _sparse)
        {
            SparseIndex.WriteEntry(entry, block.WindowStartMs, block.FirstId, indexOffset + block.OffsetInIndex);
            crc = Crc32C.Update(crc, entry);
            _appender.Append(entry);
        }

        WriteChecksum(~crc);
    }

    private void WriteSection(ReadOnlySpan<byte> section)
    {
        _appender.Append(section);
        WriteChecksum(Crc32C.Of(section));
    }

    private void WriteChecksum(uint crc)
    {
        Span<byte> bytes = stackalloc byte[SSTableFormat.ChecksumBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, crc);
        _appender.Append(bytes);
    }

    private readonly record struct SparseEntry(long WindowStartMs, ulong FirstId, long OffsetInIndex);
}
