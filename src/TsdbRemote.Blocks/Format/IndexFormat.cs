using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Format;

/// <summary>The bytes of a block's <c>index</c>, version 2. Fixed-width numbers are big-endian, all checksums CRC-32C.</summary>
/// <remarks>
/// <code>
/// ┌ magic BAAAD700 ┬ version 02 ┐                                                                                  5 bytes
/// ├ symbols    ┌ length u32 ┬ count u32 ┬ ( length uvarint │ bytes ) … ┬ crc32c of count and strings ┐          ascending, unique
/// ├ zeros to a multiple of 16, before each series
/// ├ series …   ┌ length uvarint ┬ body ┬ crc32c of the body ┐                         id = offset / 16, see <see cref="SeriesEntry"/>
/// ├ zeros to a multiple of 4
/// ├ postings … ┌ length u32 = 4 + 4n ┬ n u32 ┬ n × series id u32 ┬ crc32c of n and ids ┐          ("", "") = every series, comes first
/// ├ table      ┌ length u32 ┬ count u32 ┬ entry … ┬ crc32c of count and entries ┐          ascending by name, then value
/// │   entry    ┌ 02 ┬ name length uvarint ┬ name ┬ value length uvarint ┬ value ┬ offset of its list uvarint ┐
/// └ TOC        ┌ symbols ┬ series ┬ label indices ┬ label indices table ┬ postings ┬ postings table, u64 each ┬ crc32c of them ┐
/// </code>
/// Lists stand back to back in the order of the table: Thanos takes the end of a list from the next one's offset.
/// Prometheus before 3.7 puts label index sections between series and postings, and their table before the postings table. Nobody reads them:
/// they are not written, and stepped over when read.
/// Source: prometheus: tsdb/docs/format/index.md, tsdb/index/index.go.
/// </remarks>
public static class IndexFormat
{
    /// <summary>Name of the file in its block.</summary>
    public const string FileName = "index";

    /// <summary>First bytes of the file.</summary>
    public const uint Magic = 0xBAAAD700;

    /// <summary>The only version that is written and read. Version 1 counts in other units; 3 is read by nobody but newest Prometheus.</summary>
    public const byte Version = 2;

    /// <summary>Bytes of magic and version; the symbols follow.</summary>
    public const int HeaderBytes = sizeof(uint) + 1;

    /// <summary>Every series begins at a multiple of this, and its id is the quotient.</summary>
    public const int SeriesAlignment = 16;

    /// <summary>Every postings list begins at a multiple of this.</summary>
    public const int PostingsAlignment = 4;

    /// <summary>Bytes of a list without its ids: length, n, checksum.</summary>
    public const int ListFrameBytes = 3 * sizeof(uint);

    /// <summary>Names and values of one entry of the postings table.</summary>
    public const ulong TableKeys = 2;

    /// <summary>Bytes of a checksum.</summary>
    public const int ChecksumBytes = sizeof(uint);

    /// <summary>Every so many values of a name the reader keeps an offset in memory. Prometheus' figure.</summary>
    public const int ValueStep = 32;

    /// <summary>Every so many symbols the reader keeps an offset. Prometheus: 32; a series needs several symbols, each a walk from there.</summary>
    public const int SymbolStep = 8;

    /// <summary>Most bytes of one name or value, and of one series' labels as a run. The format has no bound, memory has; every server's is far below.</summary>
    public const int MaxLabelBytes = 1 << 20;

    /// <summary>Most bytes of the body of a series: room for millions of chunks.</summary>
    public const int MaxSeriesBytes = 256 << 20;

    /// <summary>Bytes of the file up to which ids fit 32 bits.</summary>
    public const long MaxBytes = SeriesAlignment * (long)uint.MaxValue;

    /// <summary>The next multiple.</summary>
    /// <param name="offset">0 or more.</param>
    /// <param name="alignment">A power of two.</param>
    public static long Align(long offset, int alignment) => (offset + alignment - 1) & -alignment;

    /// <summary>Bytes of one string with its length before it.</summary>
    public static int SizeOfString(int length) => Varint.SizeOf((ulong)length) + length;

    /// <summary>Writes magic and version.</summary>
    public static void WriteHeader(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, Magic);
        target[sizeof(uint)] = Version;
    }

    /// <summary>Checks magic and version.</summary>
    /// <returns>What is wrong, or null.</returns>
    public static string? CheckHeader(ReadOnlySpan<byte> header)
    {
        if (BinaryPrimitives.ReadUInt32BigEndian(header) != Magic) return "does not begin as an index of a block";
        byte version = header[sizeof(uint)];
        return version == Version ? null : $"written as version {version}, version {Version} can be read";
    }

    /// <summary>True if a header names a later version.</summary>
    public static bool IsNewer(ReadOnlySpan<byte> header) => BinaryPrimitives.ReadUInt32BigEndian(header) == Magic && header[sizeof(uint)] > Version;
}

/// <summary>Where the sections lie: the last 52 bytes of the index.</summary>
/// <param name="Symbols">Offset of the symbols.</param>
/// <param name="Series">End of the symbols.</param>
/// <param name="LabelIndices">End of the last series.</param>
/// <param name="LabelIndicesTable">End of the last postings list. Mimir takes it as that, whatever its name.</param>
/// <param name="Postings">End of the last series, or of the label indices where there are any.</param>
/// <param name="PostingsTable">Offset of the postings table.</param>
public readonly record struct IndexToc(long Symbols, long Series, long LabelIndices, long LabelIndicesTable, long Postings, long PostingsTable)
{
    /// <summary>Bytes it takes.</summary>
    public const int Size = 6 * sizeof(ulong) + IndexFormat.ChecksumBytes;

    /// <summary>Writes offsets and checksum.</summary>
    public void WriteTo(Span<byte> target)
    {
        ReadOnlySpan<long> offsets = [Symbols, Series, LabelIndices, LabelIndicesTable, Postings, PostingsTable];
        for (int i = 0; i < offsets.Length; i++) BinaryPrimitives.WriteInt64BigEndian(target[(i * sizeof(ulong))..], offsets[i]);
        int covered = offsets.Length * sizeof(ulong);
        BinaryPrimitives.WriteUInt32BigEndian(target[covered..], Crc32C.Of(target[..covered]));
    }

    /// <summary>Reads and checks what readers depend on.</summary>
    /// <param name="source">The last <see cref="Size"/> bytes of the file.</param>
    /// <param name="fileLength">Bytes of the file.</param>
    /// <param name="toc">The offsets; to be used only if nothing is wrong.</param>
    /// <returns>What is wrong, or null.</returns>
    /// <remarks>Both label index offsets may be anything: old and foreign writers leave zeros there, and no reader goes by them.</remarks>
    public static string? TryRead(ReadOnlySpan<byte> source, long fileLength, out IndexToc toc)
    {
        const int Covered = Size - IndexFormat.ChecksumBytes;
        toc = new IndexToc(At(source, 0), At(source, 1), At(source, 2), At(source, 3), At(source, 4), At(source, 5));
        uint stored = BinaryPrimitives.ReadUInt32BigEndian(source[Covered..]);
        if (Crc32C.Of(source[..Covered]) != stored) return "checksum of the table of contents differs";
        long end = fileLength - Size;
        bool ascends = toc.Symbols >= IndexFormat.HeaderBytes && toc.Symbols < toc.Series;
        ascends = ascends && toc.Series < toc.PostingsTable && toc.PostingsTable < end;
        return ascends ? null : "sections of the table of contents do not follow each other inside the file";
    }

    private static long At(ReadOnlySpan<byte> source, int index) => BinaryPrimitives.ReadInt64BigEndian(source[(index * sizeof(ulong))..]);
}
