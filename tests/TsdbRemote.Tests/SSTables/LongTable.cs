using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

/// <summary>Makes a table of one window as long as if gigabytes of other chunks stood before its own.</summary>
internal static class LongTable
{
    public static long ShiftChunks(MemoryFileSystem fs, string path, long by)
    {
        byte[] table = fs[path];
        int footerAt = table.Length - SSTableFormat.FooterBytes;
        Assert.Null(SSTableFooter.TryRead(table.AsSpan(footerAt), table.Length, out SSTableFooter footer, out _));
        ReadOnlySpan<byte> section = table.AsSpan((int)footer.SparseOffset, (int)(footer.BloomOffset - footer.SparseOffset));
        Assert.Null(SparseIndex.TryParse(section, footer.IndexOffset, footer.SparseOffset, out SparseIndex? sparse));
        List<byte> shifted = [.. table.AsSpan(0, (int)footer.IndexOffset)];
        List<byte> entries = [];
        byte[] entry = new byte[SSTableFormat.SparseEntryBytes];
        for (int block = 0; block < sparse!.BlockCount; block++)
        {
            SparseIndex.WriteEntry(entry, 0, sparse.FirstIdOf(block), shifted.Count + by);
            entries.AddRange(entry);
            shifted.AddRange(ShiftBlock(table.AsSpan((int)sparse.OffsetOf(block), sparse.LengthOf(block)), by));
        }

        long sparseOffset = shifted.Count + by;
        shifted.AddRange(entries);
        BinaryPrimitives.WriteUInt32LittleEndian(entry, Crc32C.Of([.. entries]));
        shifted.AddRange(entry.AsSpan(0, sizeof(uint)));
        long moved = shifted.Count + by - footer.BloomOffset;
        shifted.AddRange(table.AsSpan((int)footer.BloomOffset, footerAt - (int)footer.BloomOffset));
        byte[] footerBytes = new byte[SSTableFormat.FooterBytes];
        SSTableFooter layout = footer with
        {
            IndexOffset = footer.IndexOffset + by,
            SparseOffset = sparseOffset,
            BloomOffset = footer.BloomOffset + moved,
            PropertiesOffset = footer.PropertiesOffset + moved,
        };
        layout.WriteTo(footerBytes);
        shifted.AddRange(footerBytes);
        fs[path] = [.. shifted];
        fs.PutHole(path, SSTableFormat.HeaderBytes + by, by);
        return shifted.Count + by;
    }

    private static byte[] ShiftBlock(ReadOnlySpan<byte> block, long by)
    {
        IndexBlockReader reader = new(block[..^SSTableFormat.ChecksumBytes]);
        using IndexBlockWriter writer = new();
        writer.Begin(reader.WindowStartMs, reader.SeriesId, reader.NextOffset + by);
        while (reader.MoveNextSeries())
        {
            Assert.True(reader.MoveNextChunk(out IndexedChunk chunk));
            writer.AddSeries(reader.SeriesId, 1);
            writer.AddChunk(reader.WindowStartMs, chunk.MinTimeMs, chunk.MaxTimeMs, chunk.Length);
        }

        return writer.Finish().ToArray();
    }
}
