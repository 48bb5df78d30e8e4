using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Tables;

namespace TsdbRemote.Storage.SSTables;

/// <summary>An open table: finds the chunks of series by id; its bytes are drawn in <see cref="SSTableFormat"/>.</summary>
/// <remarks>
/// Use:       <see cref="Open"/>; the owner disposes it once it is in no level any
///            more, after <see cref="MarkObsolete"/> if the manifest dropped it. A reader calls <see cref="TryAcquire"/>, collects, uses
///            the chunks, and calls <see cref="Release"/>: the last one to let go closes the file and, if it is obsolete, unlinks it.
/// Invariant: nothing read from the file is believed before its checksum, nor is memory taken by a length that the file's size does not
///            bear out.
/// Memory:    properties; with cacheMetadata 16 bytes for each index block (about 370 series of one chunk) and the bloom filter.
/// Thread-safe. Not here: labels, merging, which version wins.
/// </remarks>
public sealed class SSTableReader : IDisposable
{
    /// <summary>
    /// Ids asked for at once up to which the bloom filter is tried: beyond it a pass over the index costs less than the cache misses.
    /// </summary>
    public const int MaxBloomIds = 256;

    private readonly IFileSystem _fileSystem;
    private readonly FileSource _source;
    private readonly SSTableFooter _footer;
    private readonly bool _cacheMetadata;
    private readonly int _readBufferBytes;
    private SparseIndex? _sparse;
    private byte[]? _bloom;
    private volatile string? _bloomDamage;
    private ReferenceCount _references;
    private Action<string, IOException>? _unlinkFailed;
    private int _disposed;
    private int _obsolete;
    private long _bloomHits;
    private long _bloomMisses;

    private SSTableReader(
        IFileSystem fs,
        FileSource source,
        SSTableFooter footer,
        uint crc,
        SSTableProperties properties,
        bool cacheMetadata,
        int readBufferBytes)
    {
        _fileSystem = fs;
        _source = source;
        _footer = footer;
        _cacheMetadata = cacheMetadata;
        _readBufferBytes = readBufferBytes;
        Crc = crc;
        Properties = properties;
    }

    /// <summary>What the file says about itself. Not to be changed.</summary>
    public SSTableProperties Properties { get; }

    /// <summary>The table's number.</summary>
    public long TableId => Properties.TableId;

    /// <summary>Name of the file.</summary>
    public string Path => _source.Path;

    /// <summary>Bytes of the file.</summary>
    public long Size => _source.Length;

    /// <summary>Checksum of the footer, as the manifest keeps it.</summary>
    public uint Crc { get; }

    /// <summary>True if chunks are handed out of a map, false if they are read.</summary>
    public bool IsMapped => _source.Map is not null;

    /// <summary>Ids that the bloom filter kept from being looked for.</summary>
    public long BloomHits => Interlocked.Read(ref _bloomHits);

    /// <summary>Ids that the bloom filter let pass, whether the table held them or not.</summary>
    public long BloomMisses => Interlocked.Read(ref _bloomMisses);

    /// <summary>
    /// What is wrong with the bloom filter, or null. The table then serves without it, until a compaction writes another.
    /// </summary>
    public string? BloomDamage => _bloomDamage;

    /// <summary>Opens a table and checks everything but index blocks and chunks.</summary>
    /// <param name="fs">Where it is.</param>
    /// <param name="path">Its name.</param>
    /// <param name="tableId">Its number, as the manifest says.</param>
    /// <param name="expectedSize">Its length, as the manifest says.</param>
    /// <param name="mmap">Whether to map it; where that is not possible it is read.</param>
    /// <param name="cacheMetadata">Whether sparse index and bloom filter stay in memory; else they are read for each use.</param>
    /// <param name="expectedCrc">Its <see cref="Crc"/>, as the manifest says; null if it is not known.</param>
    /// <param name="readBufferBytes">Most bytes read at once where chunks lie close together, if the file is not mapped.</param>
    /// <exception cref="CorruptFileException">It is not that table, or it is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static SSTableReader Open(
        IFileSystem fs,
        string path,
        long tableId,
        long expectedSize,
        bool mmap,
        bool cacheMetadata,
        uint? expectedCrc = null,
        int readBufferBytes = 1 << 20)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentOutOfRangeException.ThrowIfLessThan(readBufferBytes, SSTableFormat.IndexBlockTargetBytes);
        IFile file = fs.OpenRead(path);
        FileSource? source = null;
        try
        {
            // Before it is mapped: a file shorter than its sections would end the process.
            long length = file.Length;
            if (length != expectedSize)
                throw new CorruptFileException(path, length, $"the file has {length} bytes, {expectedSize} are expected");
            source = new FileSource(file, length, mmap);
            return OpenChecked(fs, source, tableId, expectedCrc, cacheMetadata, readBufferBytes);
        }
        catch
        {
            if (source is null) file.Dispose();
            else source.Dispose();
            throw;
        }
    }

    /// <summary>Counts one more reader, unless the table is closed.</summary>
    public bool TryAcquire() => _references.TryAcquire();

    /// <summary>Lets a reader go; the last one closes the file, and unlinks it if it is obsolete.</summary>
    public void Release()
    {
        if (!_references.Release()) return;
        _source.Dispose();
        if (Volatile.Read(ref _obsolete) == 0) return;
        try
        {
            _fileSystem.Unlink(Path);
        }
        catch (IOException failure)
        {
            // The name stays and the next open sweeps it; whoever let go last is a query that must not fail for it.
            _unlinkFailed?.Invoke(Path, failure);
        }
    }

    /// <summary>Says that no durable manifest names the file any more: the last one to let go unlinks it.</summary>
    /// <param name="unlinkFailed">Called with path and error, on the thread of the last reader, if the file could not be unlinked.</param>
    public void MarkObsolete(Action<string, IOException>? unlinkFailed = null)
    {
        _unlinkFailed = unlinkFailed;
        Volatile.Write(ref _obsolete, 1);
    }

    /// <summary>Lets the owner's reference go.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0) Release();
    }

    /// <summary>What the file says about a window; null if it does not hold it.</summary>
    public SSTableWindow? FindWindow(long windowStartMs)
    {
        int low = 0;
        int high = Properties.Windows.Count;
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            if (Properties.Windows[middle].StartMs < windowStartMs) low = middle + 1;
            else high = middle;
        }

        return low < Properties.Windows.Count && Properties.Windows[low].StartMs == windowStartMs ? Properties.Windows[low] : null;
    }

    /// <summary>Hands out all chunks of the series asked for that hold some instant of the range, whole.</summary>
    /// <param name="ascendingIds">The series, ascending, each once.</param>
    /// <param name="range">The time asked for.</param>
    /// <param name="rank">Goes into each chunk: how new this table is.</param>
    /// <param name="arena">Takes the bytes where the file is not mapped; where it is, the chunks point into the map, and live as long as
    /// the caller's reference.</param>
    /// <param name="sink">Takes the chunks: window by window, in each by ascending id.</param>
    /// <param name="onlyWindows">Starts of the windows looked at, ascending; none for all. Those converted to blocks are left out so.</param>
    /// <param name="asksBloom">False for a part of so many series that the filter would not spare a pass over the index.</param>
    /// <exception cref="CorruptFileException">Bytes that were asked for are damaged; names file and offset.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void Collect(
        ReadOnlySpan<ulong> ascendingIds, TimeRange range, long rank, NativeArena arena, ISeriesChunkSink sink, ReadOnlySpan<long> onlyWindows = default,
        bool asksBloom = true)
    {
        if (range.IsEmpty || !range.Overlaps(new TimeRange(Properties.MinTimeMs, Properties.MaxTimeMs))) return;
        int first = LowerBound(ascendingIds, Properties.MinSeriesId);
        int end = Properties.MaxSeriesId == ulong.MaxValue ? ascendingIds.Length : LowerBound(ascendingIds, Properties.MaxSeriesId + 1);
        scoped ReadOnlySpan<ulong> ids = ascendingIds[first..end];
        if (ids.IsEmpty) return;
        Span<ulong> passed = stackalloc ulong[MaxBloomIds];
        Span<int> indexes = stackalloc int[MaxBloomIds];
        scoped ReadOnlySpan<int> map = default;
        if (asksBloom && ids.Length <= MaxBloomIds && Properties.BloomBitsPerKey > 0)
        {
            int count = Filter(ids, first, passed, indexes);
            if (count == 0) return;
            ids = passed[..count];
            map = indexes[..count];
        }

        SparseIndex sparse = Volatile.Read(ref _sparse) ?? LoadSparseIndex();
        using ChunkFetcher fetcher = new(_source, rank, arena, sink, _readBufferBytes);
        using TableScan scan = new(_source, sparse, _footer.IndexOffset, ids, map, first, range, fetcher);
        for (int i = 0; i < sparse.Windows.Length; i++)
        {
            SSTableWindow window = Properties.Windows[i];
            if (!range.Overlaps(new TimeRange(window.MinTimeMs, window.MaxTimeMs))) continue;
            if (onlyWindows.IsEmpty || onlyWindows.BinarySearch(window.StartMs) >= 0) scan.Window(sparse.Windows[i]);
        }

        fetcher.Flush();
    }

    /// <summary>Ids of the series that have chunks in a window, ascending; none if the table does not hold it.</summary>
    /// <param name="windowStartMs">Start of the window in ms.</param>
    /// <exception cref="CorruptFileException">An index block is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public List<ulong> SeriesIdsOf(long windowStartMs)
    {
        List<ulong> ids = [];
        ForEachSeriesOf(windowStartMs, ids.Add);
        return ids;
    }

    /// <summary>As <see cref="SeriesIdsOf"/>, without a list of them.</summary>
    /// <param name="windowStartMs">Start of the window in ms.</param>
    /// <param name="visit">Gets the ids, ascending.</param>
    /// <exception cref="CorruptFileException">An index block is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public void ForEachSeriesOf(long windowStartMs, Action<ulong> visit)
    {
        SparseIndex sparse = Volatile.Read(ref _sparse) ?? LoadSparseIndex();
        PooledBuffer? scratch = null;
        try
        {
            SparseWindow window = Array.Find(sparse.Windows, candidate => candidate.StartMs == windowStartMs);
            for (int block = window.FirstBlock; block < window.EndBlock; block++)
            {
                ReadOnlySpan<byte> bytes = _source.Get(sparse.OffsetOf(block), sparse.LengthOf(block), ref scratch);
                if (!SSTableFormat.HasValidChecksum(bytes)) throw _source.Corrupt(sparse.OffsetOf(block), $"index block {block} has another checksum");
                IndexBlockReader reader = new(bytes[..^SSTableFormat.ChecksumBytes]);
                while (reader.MoveNextSeries()) visit(reader.SeriesId);
                if (reader.IsCorrupt) throw _source.Corrupt(sparse.OffsetOf(block), $"index block {block} cannot be decoded");
            }
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    /// <summary>A cursor over all series of a window, by ascending id; over none if the table does not hold it.</summary>
    /// <param name="windowStartMs">Start of the window in ms.</param>
    /// <param name="rank">Goes into each chunk: how new this table is.</param>
    /// <param name="skipDamaged">Told of each chunk that is left out because its bytes are damaged.</param>
    internal WindowCursor Walk(long windowStartMs, long rank, Action<CorruptFileException> skipDamaged)
    {
        SparseIndex sparse = Volatile.Read(ref _sparse) ?? LoadSparseIndex();
        SparseWindow window = Array.Find(sparse.Windows, candidate => candidate.StartMs == windowStartMs);
        return new WindowCursor(_source, sparse, window, _footer.IndexOffset, rank, _readBufferBytes, skipDamaged);
    }

    /// <summary>Reads the whole file, by system calls, and checks every byte of it.</summary>
    /// <exception cref="CorruptFileException">Something is damaged, or the parts contradict each other.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void Verify(CancellationToken cancel)
    {
        PooledBuffer? scratch = null;
        try
        {
            ReadOnlySpan<byte> bloom = ReadBloom(ref scratch);
            if (BloomDamage is { } damage) throw _source.Corrupt(_footer.BloomOffset, damage);
            SSTableVerifier.Verify(_source, _footer, Properties, LoadSparseIndex(), bloom, cancel);
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    private static SSTableReader OpenChecked(
        IFileSystem fs, FileSource source, long tableId, uint? expectedCrc, bool cacheMetadata, int readBufferBytes)
    {
        PooledBuffer? scratch = null;
        try
        {
            if (source.Length < SSTableFormat.HeaderBytes + SSTableFormat.FooterBytes) throw source.Corrupt(0, "too short for a table");
            long footerAt = source.Length - SSTableFormat.FooterBytes;
            ReadOnlySpan<byte> footerBytes = source.Get(footerAt, SSTableFormat.FooterBytes, ref scratch);
            if (SSTableFooter.NewerVersion(footerBytes) is { } newer) throw new NewerFormatException(source.Path, footerAt, newer, SSTableFormat.Version);
            string? problem = SSTableFooter.TryRead(footerBytes, source.Length, out SSTableFooter footer, out uint crc);
            if (problem is not null) throw source.Corrupt(footerAt, problem);
            if (footer.TableId != tableId) throw source.Corrupt(footerAt, $"holds table {footer.TableId}, table {tableId} is expected");
            if (expectedCrc is { } expected && crc != expected)
                throw source.Corrupt(footerAt, $"is another table of that number: checksum {crc:x8}, {expected:x8} is expected");
            ReadOnlySpan<byte> header = source.Get(0, SSTableFormat.HeaderBytes, ref scratch);
            if (!SSTableFormat.IsHeader(header, tableId)) throw source.Corrupt(0, "header differs");
            SSTableProperties properties = ReadProperties(source, footer, ref scratch);
            SSTableReader reader = new(fs, source, footer, crc, properties, cacheMetadata, readBufferBytes);
            reader.LoadSparseIndex();
            return reader;
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    private static SSTableProperties ReadProperties(FileSource source, SSTableFooter footer, ref PooledBuffer? scratch)
    {
        long at = footer.PropertiesOffset;
        ReadOnlySpan<byte> section = ReadSection(source, at, source.Length - SSTableFormat.FooterBytes, ref scratch);
        if (!SSTableFormat.HasValidChecksum(section)) throw source.Corrupt(at, "checksum of the properties differs");
        SSTableProperties properties;
        try
        {
            properties = SSTableProperties.Parser.ParseFrom(section[..^SSTableFormat.ChecksumBytes]);
        }
        catch (Google.Protobuf.InvalidProtocolBufferException malformed)
        {
            throw source.Corrupt(at, $"properties cannot be decoded: {malformed.Message}");
        }

        if (properties.TableId != footer.TableId) throw source.Corrupt(at, $"properties are those of table {properties.TableId}");
        if (properties.MinSeriesId > properties.MaxSeriesId) throw source.Corrupt(at, $"properties name ids from {properties.MinSeriesId} to {properties.MaxSeriesId}");
        return properties;
    }

    private static ReadOnlySpan<byte> ReadSection(FileSource source, long start, long end, ref PooledBuffer? scratch)
    {
        if (end - start > Array.MaxLength) throw source.Corrupt(start, $"section of {end - start} bytes is too long");
        return source.Get(start, (int)(end - start), ref scratch);
    }

    private static int LowerBound(ReadOnlySpan<ulong> ids, ulong id)
    {
        int found = ids.BinarySearch(id);
        return found >= 0 ? found : ~found;
    }

    private int Filter(ReadOnlySpan<ulong> ids, int firstIndex, Span<ulong> passed, Span<int> indexes)
    {
        PooledBuffer? scratch = null;
        try
        {
            ReadOnlySpan<byte> filter = ReadBloom(ref scratch);
            int count = 0;
            for (int i = 0; i < ids.Length; i++)
            {
                if (!BloomFilter.MayContain(filter, ids[i])) continue;
                passed[count] = ids[i];
                indexes[count++] = firstIndex + i;
            }

            Interlocked.Add(ref _bloomHits, ids.Length - count);
            Interlocked.Add(ref _bloomMisses, count);
            return count;
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    private SparseIndex LoadSparseIndex()
    {
        PooledBuffer? scratch = null;
        try
        {
            ReadOnlySpan<byte> section = ReadSection(_source, _footer.SparseOffset, _footer.BloomOffset, ref scratch);
            string? problem = SparseIndex.TryParse(section, _footer.IndexOffset, _footer.SparseOffset, out SparseIndex? sparse);
            if (problem is null && !HasWindowsOf(sparse!)) problem = "windows of the sparse index are not those of the properties";
            if (problem is not null) throw _source.Corrupt(_footer.SparseOffset, problem);
            if (_cacheMetadata) Volatile.Write(ref _sparse, sparse);
            return sparse!;
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    private bool HasWindowsOf(SparseIndex sparse)
    {
        if (sparse.Windows.Length != Properties.Windows.Count) return false;
        for (int i = 0; i < sparse.Windows.Length; i++)
        {
            if (sparse.Windows[i].StartMs != Properties.Windows[i].StartMs) return false;
        }

        return true;
    }

    /// <summary>The bloom filter; an empty span, which everything passes, once it is known to be damaged.</summary>
    private ReadOnlySpan<byte> ReadBloom(ref PooledBuffer? scratch)
    {
        if (Volatile.Read(ref _bloom) is { } kept) return kept;
        if (_bloomDamage is not null) return default;
        if (_footer.PropertiesOffset - _footer.BloomOffset > Array.MaxLength)
        {
            _bloomDamage = "bloom filter is too long";
            return default;
        }

        ReadOnlySpan<byte> section = ReadSection(_source, _footer.BloomOffset, _footer.PropertiesOffset, ref scratch);
        if (!SSTableFormat.HasValidChecksum(section) || !BloomFilter.IsWellFormed(section[..^SSTableFormat.ChecksumBytes]))
        {
            _bloomDamage = "checksum of the bloom filter differs";
            return default;
        }

        ReadOnlySpan<byte> filter = section[..^SSTableFormat.ChecksumBytes];
        if (_cacheMetadata) Volatile.Write(ref _bloom, filter.ToArray());
        return filter;
    }
}
