using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Verification;

/// <summary>What stands at a place in a segment.</summary>
internal enum RecordKind
{
    /// <summary>A record whose checksum holds.</summary>
    Whole,

    /// <summary>A record by its length, but with another checksum.</summary>
    Damaged,

    /// <summary>A record longer than any chunk can be; not read.</summary>
    TooLong,

    /// <summary>No record: the length cannot be read or runs past the end.</summary>
    None,
}

/// <summary>Reads one chunk record from a segment.</summary>
/// <remarks>
/// <code>
/// data length uvarint, 1 to 5 bytes │ encoding u8 │ data │ crc32c of encoding and data, be32
/// </code>
/// </remarks>
internal static class ChunkRecordScan
{
    /// <summary>The shortest record: no data at all.</summary>
    public const int MinBytes = 1 + 1 + sizeof(uint);

    // 65,535 XOR samples of 20 bytes are 1.3 MB; only histograms with thousands of buckets come near.
    private const ulong MaxDataBytes = 16 << 20;
    private const int MaxLengthBytes = 5;

    /// <summary>Reads what stands at the file's position, without moving.</summary>
    /// <param name="file">The segment.</param>
    /// <param name="size">Bytes of the record, if it has a length.</param>
    /// <param name="body">Encoding and data of a whole record; valid until the file is used again.</param>
    public static RecordKind Read(SequentialFile file, out long size, out ReadOnlySpan<byte> body)
    {
        int prefix = 0;
        size = 0;
        body = default;
        if (!Varint.TryRead(file.Peek(MaxLengthBytes), ref prefix, out ulong length)) return RecordKind.None;
        if (length > (ulong)file.Remaining) return RecordKind.None;
        size = prefix + 1 + (long)length + sizeof(uint);
        if (size > file.Remaining) return RecordKind.None;
        if (length > MaxDataBytes) return RecordKind.TooLong;
        ReadOnlySpan<byte> record = file.Peek((int)size)[prefix..];
        body = record[..^sizeof(uint)];
        return Crc32C.Of(body) == BinaryPrimitives.ReadUInt32BigEndian(record[body.Length..]) ? RecordKind.Whole : RecordKind.Damaged;
    }
}
