using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Protos.Tables;

namespace TsdbRemote.Storage.SSTables;

/// <summary>Reads a table front to back, once, and checks that every byte of it is what its checksums and its other parts say.</summary>
/// <remarks>
/// The chunk area is walked by the records' own lengths, then the index beside it: the lengths in the index must be the same in the same
/// order, which a running hash of both tells without keeping either.
/// </remarks>
public static class SSTableVerifier
{
    /// <summary>Checks a table through a handle of its own: what a writer does before its table may be named.</summary>
    /// <param name="fs">Where it is.</param>
    /// <param name="path">Its name.</param>
    /// <param name="tableId">Its number.</param>
    /// <param name="expectedSize">Its length in bytes.</param>
    /// <param name="expectedCrc">Checksum of its footer; null if it is not known.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="CorruptFileException">Something is damaged, or the parts contradict each other.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void Verify(IFileSystem fs, string path, long tableId, long expectedSize, uint? expectedCrc, CancellationToken cancel)
    {
        using SSTableReader reader = SSTableReader.Open(fs, path, tableId, expectedSize, mmap: false, cacheMetadata: true, expectedCrc);
        reader.Verify(cancel);
    }

    internal static void Verify(
        FileSource source,
        SSTableFooter footer,
        SSTableProperties properties,
        SparseIndex sparse,
        ReadOnlySpan<byte> bloom,
        CancellationToken cancel)
    {
        using SequentialReader file = new(source, source.Length - SSTableFormat.FooterBytes, cancel);
        file.Take(SSTableFormat.HeaderBytes); // was checked on opening
        LengthHash inRecords = default;
        long samples = WalkChunkArea(source, file, footer.IndexOffset, ref inRecords);
        IndexWalk index = new(source, footer, sparse);
        for (int i = 0; i < sparse.Windows.Length; i++) index.Window(file, sparse.Windows[i], properties.Windows[i], bloom);
        file.SkipTo(source.Length - SSTableFormat.FooterBytes);
        if (file.Hash != footer.ContentHash) throw source.Corrupt(0, "hash of the whole content differs");
        if (index.NextOffset != footer.IndexOffset || index.Lengths != inRecords)
            throw source.Corrupt(footer.IndexOffset, "the index does not name the records of the chunk area");
        ReadOnlySpan<ulong> ids = index.Ids;
        bool countsHold = properties.Samples == samples && properties.Chunks == index.Lengths.Count && properties.Series == ids.Length
            && properties.MinSeriesId == ids[0] && properties.MaxSeriesId == ids[^1]
            && properties.MinTimeMs == properties.Windows.Min(window => window.MinTimeMs)
            && properties.MaxTimeMs == properties.Windows.Max(window => window.MaxTimeMs)
            && properties.Samples == properties.Windows.Sum(window => window.Samples);
        if (!countsHold) throw source.Corrupt(footer.PropertiesOffset, "counts or bounds of the properties differ from the contents");
    }

    private static long WalkChunkArea(FileSource source, SequentialReader file, long end, ref LengthHash lengths)
    {
        long samples = 0;
        while (file.Position < end)
        {
            long at = file.Position;
            int position = 0;
            ReadOnlySpan<byte> prefix = file.Peek((int)Math.Min(Varint.MaxBytes, end - at));
            if (!Varint.TryRead(prefix, ref position, out ulong length) || length is < SSTableFormat.MinChunkBytes or > int.MaxValue
                || ChunkRecord.SizeOf((int)length) > Math.Min(end - at, Array.MaxLength))
                throw source.Corrupt(at, "no chunk record begins here");
            ReadOnlySpan<byte> record = file.Take((int)ChunkRecord.SizeOf((int)length));
            if (ChunkRecord.TryRead(record, (int)length, out ChunkEncoding encoding) is { } problem) throw source.Corrupt(at, problem);
            if (!ChunkEncodings.IsKnown(encoding)) throw source.Corrupt(at, $"chunk of encoding {(byte)encoding}, which is not known");
            samples += SSTableFormat.SamplesOf(record[ChunkRecord.PrefixOf((int)length)..]);
            lengths.Add((int)length);
        }

        return samples;
    }

    /// <summary>Checks the index blocks in their order.</summary>
    private sealed class IndexWalk(FileSource source, SSTableFooter footer, SparseIndex sparse)
    {
        private readonly DistinctIds _ids = new();
        private LengthHash _lengths;

        /// <summary>Where the record behind the last chunk would begin.</summary>
        public long NextOffset { get; private set; } = SSTableFormat.HeaderBytes;

        public LengthHash Lengths => _lengths;

        public ReadOnlySpan<ulong> Ids => _ids.Ids;

        public void Window(SequentialReader file, SparseWindow blocks, SSTableWindow expected, ReadOnlySpan<byte> bloom)
        {
            WindowCounts counts = new() { MinTimeMs = long.MaxValue, MaxTimeMs = long.MinValue };
            for (int block = blocks.FirstBlock; block < blocks.EndBlock; block++)
            {
                ReadOnlySpan<byte> bytes = file.Take(sparse.LengthOf(block));
                if (!SSTableFormat.HasValidChecksum(bytes)) throw Damaged(block, "has another checksum");
                IndexBlockReader reader = new(bytes[..^SSTableFormat.ChecksumBytes]);
                if (reader.WindowStartMs != blocks.StartMs || reader.SeriesId != sparse.FirstIdOf(block) || reader.NextOffset != NextOffset)
                    throw Damaged(block, "is not the block named there");
                Series(ref reader, bloom, ref counts);
                if (reader.IsCorrupt) throw Damaged(block, "cannot be decoded");
                if (block + 1 < blocks.EndBlock && reader.SeriesId >= sparse.FirstIdOf(block + 1))
                    throw Damaged(block, "reaches into the next one");
                NextOffset = reader.NextOffset;
            }

            _ids.EndRun();
            if (counts.Series != expected.Series || counts.Chunks != expected.Chunks || counts.MinTimeMs != expected.MinTimeMs
                || counts.MaxTimeMs != expected.MaxTimeMs)
                throw source.Corrupt(footer.PropertiesOffset, $"counts or bounds of window {blocks.StartMs} differ from its index");
        }

        private void Series(ref IndexBlockReader reader, ReadOnlySpan<byte> bloom, ref WindowCounts counts)
        {
            while (reader.MoveNextSeries())
            {
                if (!BloomFilter.MayContain(bloom, reader.SeriesId))
                    throw source.Corrupt(footer.BloomOffset, $"bloom filter hides series {reader.SeriesId}");
                _ids.Add(reader.SeriesId);
                counts.Series++;
                while (reader.MoveNextChunk(out IndexedChunk chunk))
                {
                    _lengths.Add(chunk.Length);
                    counts.Chunks++;
                    counts.MinTimeMs = Math.Min(counts.MinTimeMs, chunk.MinTimeMs);
                    counts.MaxTimeMs = Math.Max(counts.MaxTimeMs, chunk.MaxTimeMs);
                }
            }
        }

        private CorruptFileException Damaged(int block, string what) =>
            source.Corrupt(sparse.OffsetOf(block), $"index block {block} {what}");
    }

    private struct WindowCounts
    {
        public long Series;
        public long Chunks;
        public long MinTimeMs;
        public long MaxTimeMs;
    }

    /// <summary>Count and hash of a row of lengths, order included.</summary>
    private record struct LengthHash(long Count, ulong Hash)
    {
        public void Add(int length)
        {
            Count++;
            Hash = (Hash ^ (uint)length) * 0x9E3779B97F4A7C15;
        }
    }
}
