using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Puts checksums right, so that what stands behind them is reached. Follows lengths as far as they lead, and stops where they cannot be.</summary>
internal static class Seals
{
    public static readonly Guid DirectoryId = new("0f8fad5b-d9cb-469f-a165-70867728950e");

    public static void Log(Span<byte> file, long segment)
    {
        if (file.Length < WalFormat.HeaderBytes) return;
        int crcAt = WalFormat.HeaderBytes - sizeof(uint);
        BinaryPrimitives.WriteUInt32LittleEndian(file[crcAt..], Crc32C.Of(file[..crcAt]));
        Frames(file, WalFormat.HeaderBytes, WalFormat.Salt(DirectoryId, segment));
    }

    /// <summary>A header that ends with the checksum of salt and itself, and frames: dictionaries and side files.</summary>
    public static void Framed(Span<byte> file, string kind, long number, int headerBytes)
    {
        uint salt = FrameFormat.Salt(DirectoryId, kind, number);
        if (file.Length < headerBytes) return;
        Span<byte> prefix = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(prefix, salt);
        int crcAt = headerBytes - sizeof(uint);
        BinaryPrimitives.WriteUInt32LittleEndian(file[crcAt..], Crc32C.Of(prefix, file[..crcAt]));
        Frames(file, headerBytes, salt);
    }

    /// <summary>The last line of a manifest.</summary>
    public static void Manifest(Span<byte> file)
    {
        const int LineBytes = 17;
        if (file.Length < LineBytes) return;
        Span<byte> line = file[^LineBytes..];
        "crc32c: "u8.CopyTo(line);
        Crc32C.Of(file[..^LineBytes]).TryFormat(line[8..], out _, "x8", CultureInfo.InvariantCulture);
        line[^1] = (byte)'\n';
    }

    public static void Tombstones(Span<byte> file)
    {
        const int HeaderBytes = 5;
        if (file.Length >= HeaderBytes + sizeof(uint)) BinaryPrimitives.WriteUInt32BigEndian(file[^sizeof(uint)..], Crc32C.Of(file[HeaderBytes..^sizeof(uint)]));
    }

    public static void ChunkSegment(Span<byte> file) => ChunkRecords(file, SegmentFormat.HeaderBytes, file.Length);

    public static void Table(Span<byte> file)
    {
        if (file.Length < SSTableFormat.HeaderBytes + SSTableFormat.FooterBytes) return;
        int footerAt = file.Length - SSTableFormat.FooterBytes;
        Span<byte> footer = file[footerAt..];
        Span<long> offsets = stackalloc long[5];
        for (int i = 0; i < 4; i++) offsets[i] = BinaryPrimitives.ReadInt64LittleEndian(footer[(8 + 8 * i)..]);
        offsets[4] = footerAt;
        long previous = SSTableFormat.HeaderBytes;
        bool ascends = true;
        foreach (long offset in offsets)
        {
            ascends &= offset >= previous && offset <= footerAt;
            previous = offset;
        }

        if (ascends)
        {
            (int index, int sparse, int bloom, int properties) = ((int)offsets[0], (int)offsets[1], (int)offsets[2], (int)offsets[3]);
            ChunkRecords(file, SSTableFormat.HeaderBytes, index);
            IndexBlocks(file, sparse, bloom);
            Section(file[sparse..bloom]);
            Section(file[bloom..properties]);
            Section(file[properties..footerAt]);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(footer[40..], XxHash3.HashToUInt64(file[..footerAt]));
        BinaryPrimitives.WriteUInt32LittleEndian(footer[52..], Crc32C.Of(footer[..52]));
    }

    public static void BlockIndex(Span<byte> file)
    {
        if (file.Length < IndexFormat.HeaderBytes + IndexToc.Size) return;
        int tocAt = file.Length - IndexToc.Size;
        Span<byte> toc = file[tocAt..];
        BinaryPrimitives.WriteUInt32BigEndian(toc[48..], Crc32C.Of(toc[..48]));
        if (IndexToc.TryRead(toc, file.Length, out IndexToc places) is not null) return;
        BigEndianSection(file, places.Symbols, out _);
        BigEndianSection(file, places.PostingsTable, out _);
        long at = IndexFormat.Align(places.Series, IndexFormat.SeriesAlignment);
        long seriesEnd = Math.Clamp(places.Postings, 0, places.PostingsTable);
        while (at < seriesEnd && SeriesEntry(file, (int)at, (int)places.PostingsTable) is { } end) at = IndexFormat.Align(end, IndexFormat.SeriesAlignment);
        at = IndexFormat.Align(seriesEnd, IndexFormat.PostingsAlignment);
        while (at < places.PostingsTable && BigEndianSection(file, at, out long end)) at = end;
    }

    private static void Frames(Span<byte> file, int at, uint salt)
    {
        while (file.Length - at > FrameFormat.HeaderBytes)
        {
            Span<byte> rest = file[at..];
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(rest);
            if (length == 0 || length > rest.Length - FrameFormat.HeaderBytes) return;
            FrameFormat.WriteHeader(rest, salt, rest[FrameFormat.HeaderBytes - 1], rest.Slice(FrameFormat.HeaderBytes, (int)length), default);
            at += (int)Math.Min(FrameFormat.SizeOf(length), rest.Length);
        }
    }

    private static void ChunkRecords(Span<byte> file, int at, int end)
    {
        while (at < end)
        {
            int from = at;
            if (!Varint.TryRead(file[..end], ref from, out ulong length) || length >= (ulong)(end - from) || end - from < (int)length + 1 + sizeof(uint)) return;
            at = from + 1 + (int)length;
            BinaryPrimitives.WriteUInt32BigEndian(file[at..], Crc32C.Of(file[from..at]));
            at += sizeof(uint);
        }
    }

    private static void IndexBlocks(Span<byte> file, int sparse, int bloom)
    {
        int count = Math.Max(0, bloom - sparse - sizeof(uint)) / SSTableFormat.SparseEntryBytes;
        for (int i = 0; i < count; i++)
        {
            long start = BinaryPrimitives.ReadInt64LittleEndian(file[(sparse + i * SSTableFormat.SparseEntryBytes + 16)..]);
            long end = i + 1 < count ? BinaryPrimitives.ReadInt64LittleEndian(file[(sparse + (i + 1) * SSTableFormat.SparseEntryBytes + 16)..]) : sparse;
            if (start >= SSTableFormat.HeaderBytes && end <= sparse && start < end) Section(file[(int)start..(int)end]);
        }
    }

    private static void Section(Span<byte> section)
    {
        if (section.Length >= sizeof(uint)) BinaryPrimitives.WriteUInt32LittleEndian(section[^sizeof(uint)..], Crc32C.Of(section[..^sizeof(uint)]));
    }

    private static bool BigEndianSection(Span<byte> file, long at, out long end)
    {
        end = at;
        if (at < 0 || at > file.Length - 2 * sizeof(uint)) return false;
        long length = BinaryPrimitives.ReadUInt32BigEndian(file[(int)at..]);
        long start = at + sizeof(uint);
        end = start + length + sizeof(uint);
        if (end > file.Length) return false;
        Span<byte> body = file.Slice((int)start, (int)length);
        BinaryPrimitives.WriteUInt32BigEndian(file[(int)(start + length)..], Crc32C.Of(body));
        return true;
    }

    private static long? SeriesEntry(Span<byte> file, int at, int limit)
    {
        if (!Varint.TryRead(file[..limit], ref at, out ulong length) || length > (ulong)(limit - at) || limit - at - (int)length < sizeof(uint)) return null;
        Span<byte> body = file.Slice(at, (int)length);
        int end = at + body.Length;
        BinaryPrimitives.WriteUInt32BigEndian(file[end..], Crc32C.Of(body));
        return end + sizeof(uint);
    }
}
