using System.Buffers.Binary;
using System.Diagnostics;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.SSTables;

/// <summary>The byte layout of a table file (.sst), drawn once; every constant that writer and reader share.</summary>
/// <remarks>
/// <code>
/// ┌ header 16 B ┬ chunk area ┬ index blocks ┬ sparse index ┬ bloom filter ┬ properties ┬ footer 60 B ┐
///               16           index          sparse         bloom          properties   size - 60          offsets, all in the footer
///
/// header        ┌ magic u32 ┬ version u32 ┬ table id i64 ┐
/// chunk record  ┌ data length uvarint ┬ encoding u8 ┬ data ┬ crc32c of encoding and data, u32 big-endian ┐   as in a Prometheus segment
/// index block   ┌ window start zigzag ┬ first id uvarint ┬ offset of the first record uvarint ┬ series … ┬ crc32c u32 ┐
///   series      ┌ id delta uvarint ┬ chunk count uvarint ┬ chunk … ┐                                        the first delta is 0
///   chunk       ┌ gap uvarint ┬ duration uvarint ┬ data length uvarint ┐
/// sparse index  ┌ window start i64 ┬ first id u64 ┬ offset of the block i64 ┐ × blocks ┬ crc32c u32 ┐
/// bloom filter  ┌ blocks u32 ┬ probes u32 ┬ 64 B × blocks ┬ crc32c u32 ┐                                    see BloomFilter
/// properties    ┌ protobuf SSTableProperties ┬ crc32c u32 ┐                                                 protos/tsdbremote/sstable.proto
/// footer        ┌ table id i64 ┬ index i64 ┬ sparse i64 ┬ bloom i64 ┬ properties i64 ┬ XXH3 of all before the footer u64
///               ┬ version u32 ┬ crc32c of the 52 bytes before u32 ┬ magic u32 ┐
/// </code>
/// Little-endian, but for the checksum of a chunk record, whose bytes are Prometheus'. Chunk area and index are ordered by (window, id); a
/// block holds series of one window. Records and blocks stand without gaps: a block's length is the distance to the next one, and a chunk's
/// offset is where the record before it ends, so that the index stores lengths only. A gap is the distance from the last chunk's end, for a
/// series' first chunk from the window's start.
/// The footer's checksum covers the hash of everything before it: it is the root that the manifest keeps. Two tables that changed places on
/// disk are told apart by it, and by the id. That hash is no CRC on purpose: a part that ends with its own CRC adds the same to a CRC over
/// the whole whatever it holds, so that two tables of equal lengths would have equal roots.
/// </remarks>
public static class SSTableFormat
{
    /// <summary>The version that this code writes, and the newest that it reads.</summary>
    public const int Version = 1;

    /// <summary>Bytes of the header.</summary>
    public const int HeaderBytes = 16;

    /// <summary>Bytes of the footer.</summary>
    public const int FooterBytes = 60;

    /// <summary>Bytes of each checksum.</summary>
    public const int ChecksumBytes = sizeof(uint);

    /// <summary>An index block is closed by the first series that begins at or behind this length.</summary>
    public const int IndexBlockTargetBytes = 4096;

    /// <summary>Bytes of one entry of the sparse index.</summary>
    public const int SparseEntryBytes = 24;

    /// <summary>Bytes of a bloom filter before its blocks.</summary>
    public const int BloomHeaderBytes = 8;

    /// <summary>Least bytes of a chunk: the sample count that each Prometheus chunk begins with.</summary>
    public const int MinChunkBytes = 2;

    /// <summary>End of a table's file name.</summary>
    public const string FileSuffix = ".sst";

    /// <summary>Added to the name while the table is being written.</summary>
    public const string TemporarySuffix = ".tmp";

    internal const uint HeaderMagic = 0x42545254; // "TRTB" in the order of the file
    internal const uint FooterMagic = 0x45545254; // "TRTE"

    /// <summary>Writes the header.</summary>
    internal static void WriteHeader(Span<byte> target, long tableId)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(target, HeaderMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(target[4..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(target[8..], tableId);
    }

    /// <summary>Compares the header with the only one that is right.</summary>
    internal static bool IsHeader(ReadOnlySpan<byte> source, long tableId)
    {
        Span<byte> expected = stackalloc byte[HeaderBytes];
        WriteHeader(expected, tableId);
        return source.SequenceEqual(expected);
    }

    /// <summary>Samples of a chunk, as its first two bytes say, whatever its encoding.</summary>
    internal static int SamplesOf(ReadOnlySpan<byte> data) => BinaryPrimitives.ReadUInt16BigEndian(data);

    /// <summary>True if a section ends with the checksum of its bytes.</summary>
    internal static bool HasValidChecksum(ReadOnlySpan<byte> section)
    {
        if (section.Length < ChecksumBytes) return false;
        int length = section.Length - ChecksumBytes;
        return Crc32C.Of(section[..length]) == BinaryPrimitives.ReadUInt32LittleEndian(section[length..]);
    }
}

/// <summary>The last bytes of a table: where its sections are, and the checksums that make it one.</summary>
internal readonly record struct SSTableFooter(
    long TableId, long IndexOffset, long SparseOffset, long BloomOffset, long PropertiesOffset, ulong ContentHash)
{
    private const int OffsetsAt = sizeof(long);
    private const int ContentHashAt = 5 * sizeof(long);
    private const int VersionAt = ContentHashAt + sizeof(ulong);
    private const int CrcAt = VersionAt + sizeof(uint);
    private const int MagicAt = CrcAt + sizeof(uint);

    /// <summary>Writes the footer.</summary>
    /// <returns>Its checksum: the root of the table.</returns>
    public uint WriteTo(Span<byte> target)
    {
        Debug.Assert(MagicAt + sizeof(uint) == SSTableFormat.FooterBytes, "the drawing and the constants differ");
        BinaryPrimitives.WriteInt64LittleEndian(target, TableId);
        BinaryPrimitives.WriteInt64LittleEndian(target[OffsetsAt..], IndexOffset);
        BinaryPrimitives.WriteInt64LittleEndian(target[(OffsetsAt + 8)..], SparseOffset);
        BinaryPrimitives.WriteInt64LittleEndian(target[(OffsetsAt + 16)..], BloomOffset);
        BinaryPrimitives.WriteInt64LittleEndian(target[(OffsetsAt + 24)..], PropertiesOffset);
        BinaryPrimitives.WriteUInt64LittleEndian(target[ContentHashAt..], ContentHash);
        BinaryPrimitives.WriteUInt32LittleEndian(target[VersionAt..], SSTableFormat.Version);
        uint crc = Crc32C.Of(target[..CrcAt]);
        BinaryPrimitives.WriteUInt32LittleEndian(target[CrcAt..], crc);
        BinaryPrimitives.WriteUInt32LittleEndian(target[MagicAt..], SSTableFormat.FooterMagic);
        return crc;
    }

    /// <summary>The version of a footer whose magic and checksum hold, if it is a later one; null otherwise.</summary>
    public static uint? NewerVersion(ReadOnlySpan<byte> source)
    {
        if (source.Length != SSTableFormat.FooterBytes || BinaryPrimitives.ReadUInt32LittleEndian(source[MagicAt..]) != SSTableFormat.FooterMagic) return null;
        if (BinaryPrimitives.ReadUInt32LittleEndian(source[CrcAt..]) != Crc32C.Of(source[..CrcAt])) return null;
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(source[VersionAt..]);
        return version > SSTableFormat.Version ? version : null;
    }

    /// <summary>Reads a footer: magic, version, checksum, then whether the sections lie in the file in their order.</summary>
    /// <param name="source">The last bytes of the file.</param>
    /// <param name="fileLength">Length of the file.</param>
    /// <param name="footer">The footer, only if there is no problem.</param>
    /// <param name="crc">Its checksum.</param>
    /// <returns>What is wrong, or null.</returns>
    public static string? TryRead(ReadOnlySpan<byte> source, long fileLength, out SSTableFooter footer, out uint crc)
    {
        footer = default;
        crc = 0;
        if (source.Length != SSTableFormat.FooterBytes) return "too short for a footer";
        if (BinaryPrimitives.ReadUInt32LittleEndian(source[MagicAt..]) != SSTableFormat.FooterMagic) return "no footer of a table";
        crc = BinaryPrimitives.ReadUInt32LittleEndian(source[CrcAt..]);
        if (Crc32C.Of(source[..CrcAt]) != crc) return "checksum of the footer differs";
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(source[VersionAt..]);
        if (version != SSTableFormat.Version) return $"written as version {version}, version {SSTableFormat.Version} can be read";
        footer = new SSTableFooter(
            BinaryPrimitives.ReadInt64LittleEndian(source),
            BinaryPrimitives.ReadInt64LittleEndian(source[OffsetsAt..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[(OffsetsAt + 8)..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[(OffsetsAt + 16)..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[(OffsetsAt + 24)..]),
            BinaryPrimitives.ReadUInt64LittleEndian(source[ContentHashAt..]));
        bool ordered = footer.IndexOffset >= SSTableFormat.HeaderBytes && footer.SparseOffset >= footer.IndexOffset
            && footer.BloomOffset >= footer.SparseOffset && footer.PropertiesOffset >= footer.BloomOffset
            && footer.PropertiesOffset <= fileLength - SSTableFormat.FooterBytes;
        return ordered ? null : "sections do not lie in the file in their order";
    }
}
