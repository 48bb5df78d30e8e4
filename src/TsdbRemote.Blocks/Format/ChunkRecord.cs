using System.Buffers.Binary;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Format;

/// <summary>The frame of one chunk, in a segment of a block and in the chunk area of a table alike.</summary>
/// <remarks>
/// <code>
/// ┌ data length uvarint ┬ encoding u8 ┬ data ┬ crc32c of encoding and data, u32 big-endian ┐
/// </code>
/// Source: prometheus: tsdb/chunks/chunks.go.
/// </remarks>
public static class ChunkRecord
{
    /// <summary>Bytes of the checksum behind the data.</summary>
    public const int ChecksumBytes = sizeof(uint);

    private const int EncodingBytes = 1;

    /// <summary>Most bytes before the data.</summary>
    public const int MaxPrefixBytes = Varint.MaxBytes + EncodingBytes;

    /// <summary>Bytes of a whole record whose data has this length.</summary>
    public static long SizeOf(int dataLength) => (long)PrefixOf(dataLength) + dataLength + ChecksumBytes;

    /// <summary>Bytes before the data.</summary>
    public static int PrefixOf(int dataLength) => Varint.SizeOf((ulong)dataLength) + EncodingBytes;

    /// <summary>Writes what stands before the data.</summary>
    /// <returns>Bytes written.</returns>
    public static int WritePrefix(Span<byte> target, ChunkEncoding encoding, int dataLength)
    {
        int length = Varint.Write(target, (ulong)dataLength);
        target[length] = (byte)encoding;
        return length + EncodingBytes;
    }

    /// <summary>Writes what stands behind the data.</summary>
    public static void WriteChecksum(Span<byte> target, ChunkEncoding encoding, ReadOnlySpan<byte> data) =>
        BinaryPrimitives.WriteUInt32BigEndian(target, Crc32C.Of([(byte)encoding], data));

    /// <summary>Checks a record against the length that the index names.</summary>
    /// <param name="record">The whole record.</param>
    /// <param name="dataLength">Length of the data.</param>
    /// <param name="encoding">The chunk's encoding, only if nothing is wrong.</param>
    /// <returns>What is wrong, or null.</returns>
    public static string? TryRead(ReadOnlySpan<byte> record, int dataLength, out ChunkEncoding encoding)
    {
        encoding = ChunkEncoding.None;
        int at = 0;
        if (!Varint.TryRead(record, ref at, out ulong length) || length != (ulong)dataLength || at != Varint.SizeOf(length))
            return $"chunk record does not begin with the length {dataLength} that the index names";
        ReadOnlySpan<byte> covered = record.Slice(at, EncodingBytes + dataLength);
        uint expected = BinaryPrimitives.ReadUInt32BigEndian(record[(at + covered.Length)..]);
        if (Crc32C.Of(covered) != expected) return "checksum of a chunk differs";
        encoding = (ChunkEncoding)covered[0];
        return null;
    }
}
