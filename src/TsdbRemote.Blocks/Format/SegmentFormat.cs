using System.Buffers.Binary;
using System.Globalization;

namespace TsdbRemote.Blocks.Format;

/// <summary>The files under <c>chunks/</c> of a block: their names, their header, and how the index refers into them.</summary>
/// <remarks>
/// <code>
/// chunks/000001, 000002, …      from 1 on, without gaps: readers count files, not names
///   0  magic 85 BD 40 DD
///   4  version 01
///   5  padding, three zeros
///   8  chunk records, back to back (see ChunkRecord)
///
/// reference in the index:  segment, from 0 on, in the upper 32 bits │ offset of the record in the lower 32
/// </code>
/// A record lies in one segment whole; the chunks of a series may lie in several. Records stand in the order of the index.
/// Source: prometheus: tsdb/chunks/chunks.go.
/// </remarks>
public static class SegmentFormat
{
    /// <summary>The directory in its block.</summary>
    public const string DirectoryName = "chunks";

    /// <summary>First word of a segment, big-endian.</summary>
    public const uint Magic = 0x85BD40DD;

    /// <summary>The only version.</summary>
    public const byte Version = 1;

    /// <summary>Bytes before the first record.</summary>
    public const int HeaderBytes = 8;

    /// <summary>Length that no segment exceeds, in bytes, as in Prometheus.</summary>
    public const long MaxSegmentBytes = 512L << 20;

    /// <summary>What is reckoned for a record beyond its data, in bytes: the longest length, the encoding and the checksum.</summary>
    public const int MaxFrameBytes = MaxLengthBytes + 1 + ChunkRecord.ChecksumBytes;

    /// <summary>Bytes that the length before a chunk takes at most.</summary>
    public const int MaxLengthBytes = 5;

    /// <summary>Bytes that any chunk has at least: its number of samples.</summary>
    public const int MinChunkBytes = sizeof(ushort);

    /// <summary>Bytes that any record has at least.</summary>
    public const int MinRecordBytes = 1 + 1 + MinChunkBytes + ChunkRecord.ChecksumBytes;

    /// <summary>Name of a segment's file.</summary>
    /// <param name="segment">From 0 on.</param>
    public static string NameOf(int segment) => (segment + 1).ToString("D6", CultureInfo.InvariantCulture);

    /// <summary>How the index refers to a record.</summary>
    public static ulong Reference(int segment, uint offset) => ((ulong)segment << 32) | offset;

    /// <summary>Number of samples of a chunk of any encoding.</summary>
    /// <param name="data">At least <see cref="MinChunkBytes"/>.</param>
    public static int SamplesOf(ReadOnlySpan<byte> data) => BinaryPrimitives.ReadUInt16BigEndian(data);

    /// <summary>Writes <see cref="HeaderBytes"/>.</summary>
    public static void WriteHeader(Span<byte> target)
    {
        target[..HeaderBytes].Clear();
        BinaryPrimitives.WriteUInt32BigEndian(target, Magic);
        target[sizeof(uint)] = Version;
    }

    /// <summary>Checks <see cref="HeaderBytes"/>.</summary>
    /// <returns>What is wrong, or null.</returns>
    public static string? TryReadHeader(ReadOnlySpan<byte> header)
    {
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(header);
        if (magic != Magic) return $"begins with {magic:x8}, a segment begins with {Magic:x8}";
        byte version = header[sizeof(uint)];
        return version == Version ? null : $"segment of version {version}, {Version} is expected";
    }

    /// <summary>True if a header names a later version.</summary>
    public static bool IsNewer(ReadOnlySpan<byte> header) => BinaryPrimitives.ReadUInt32BigEndian(header) == Magic && header[sizeof(uint)] > Version;
}
