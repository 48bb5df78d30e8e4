using System.Buffers.Binary;
using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Wal;

/// <summary>The layout of a log segment: file name, header, and what the payload of each frame type holds.</summary>
/// <remarks>
/// <code>
/// segment    ┌ header 64 ┬ frame ┬ frame ┬ … ┬ seal frame ┐           before the seal: zeros reserved ahead; the seal cuts them off
///
/// header     ┌ magic 8 ┬ version u32 ┬ salt u32 ┬ segment i64 ┬ first sequence u64 ┬ directory id 16 ┬ zeros 12 ┬ crc32c of these 60 ┐
///
/// frames     (framing, salt and padding: <see cref="FrameFormat"/>; the salt comes from directory id, "wal" and segment number)
///   1   durable_to     ┌ offset u64 ┐                                every byte before offset was synced when this frame was built
///   2   seal           ┌ records u64 ┬ bytes u64 ┬ chain u32 ┐       the last frame; bytes = its own offset
///   3   previous_end   ┌ segment i64 ┬ end i64 ┐                     first frame only: that segment was left unsealed and ends there
///   16  write 1.0      ┌ sequence u64 ┬ receive time i64 ms ┬ body ┐ body as it came, snappy
///   17  write 2.0      (the same)
///   18  write 1.0      (the same, zstd)
///   19  write 2.0      (the same, zstd)
/// </code>
/// All numbers are little-endian. The chain is the running CRC-32C over the crc fields of all frames before the seal, in order.
/// A group of records that was written at once starts with durable_to, so the first frame of a segment is never a record.
/// Prose: <c>docs/formats/wal.md</c>.
/// </remarks>
public static class WalFormat
{
    /// <summary>The version that this build writes, and the newest that it reads.</summary>
    public const uint Version = 1;

    /// <summary>Bytes of the segment header; the first frame starts here.</summary>
    public const int HeaderBytes = 64;

    /// <summary>Longest payload of a frame in bytes: the largest request body that any configuration may allow, and 64 KiB.</summary>
    public const int MaxPayloadBytes = (64 << 20) + (64 << 10);

    /// <summary>Bytes of a record's payload before the body: sequence and receive time.</summary>
    public const int RecordHeaderBytes = 2 * sizeof(ulong);

    /// <summary>Longest body of one record in bytes.</summary>
    public const int MaxBodyBytes = MaxPayloadBytes - RecordHeaderBytes;

    /// <summary>Segment numbers are below this, so that number and record index fit into one sequence.</summary>
    public const long MaxSegment = 1L << (64 - IndexBits);

    internal const byte DurableTo = 1;
    internal const byte Seal = 2;
    internal const byte PreviousEnd = 3;
    internal const int DurableToBytes = sizeof(ulong);
    internal const int SealBytes = (2 * sizeof(ulong)) + sizeof(uint);
    internal const int PreviousEndBytes = 2 * sizeof(long);
    internal const int CrcAt = 4;

    /// <summary>Bytes that <see cref="MayStartFrame"/> looks at: a frame header and the longest payload of fixed size.</summary>
    internal const int LookBytes = FrameFormat.HeaderBytes + SealBytes;

    private const int IndexBits = 40;
    private const string Extension = ".log";
    private const int LengthAt = 0;
    private const int TypeAt = 8;

    // A frame type of a later build is recognised behind damage only up to this length: any longer, and a scan over
    // arbitrary bytes would compute long checksums at every other step.
    private const uint MaxUnknownPayloadBytes = 64 << 10;

    /// <summary>The file of a segment, such as <c>00000042.log</c>.</summary>
    public static string FileName(long segment) => segment.ToString("D8", CultureInfo.InvariantCulture) + Extension;

    /// <summary>Reads a segment's number from its file name.</summary>
    /// <returns>False for a name that <see cref="FileName"/> does not give.</returns>
    public static bool TryParseFileName(string name, out long segment)
    {
        segment = 0;
        return name.EndsWith(Extension, StringComparison.Ordinal)
            && long.TryParse(name.AsSpan(0, name.Length - Extension.Length), NumberStyles.None, CultureInfo.InvariantCulture, out segment)
            && FileName(segment) == name;
    }

    /// <summary>The place of a record in the order of all records: segment number, then index in the segment.</summary>
    public static ulong Sequence(long segment, long index) => ((ulong)segment << IndexBits) | (ulong)index;

    /// <summary>The segment that holds the record of this sequence.</summary>
    public static long SegmentOf(ulong sequence) => (long)(sequence >> IndexBits);

    internal static uint Salt(Guid directoryId, long segment) => FrameFormat.Salt(directoryId, "wal", segment);

    internal static bool IsRecord(byte type) => type is >= (byte)WalRecordKind.WriteV1 and <= (byte)WalRecordKind.WriteV2Zstd;

    internal static bool IsKnown(byte type) => type is DurableTo or Seal or PreviousEnd || IsRecord(type);

    internal static void WriteRecordHeader(Span<byte> destination, ulong sequence, long receiveTimeMs)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, sequence);
        BinaryPrimitives.WriteInt64LittleEndian(destination[sizeof(ulong)..], receiveTimeMs);
    }

    /// <summary>The payload of a verified frame has the form that its type asks for in this segment.</summary>
    internal static bool IsWellFormed(byte type, ReadOnlySpan<byte> payload, long segment) => type switch
    {
        DurableTo => payload.Length == DurableToBytes,
        Seal => payload.Length == SealBytes,
        PreviousEnd => payload.Length == PreviousEndBytes,
        _ => payload.Length >= RecordHeaderBytes && SegmentOf(BinaryPrimitives.ReadUInt64LittleEndian(payload)) == segment,
    };

    /// <summary>A frame may start here: a cheap look before its checksum is computed, for the scan behind damage.</summary>
    /// <param name="source">Bytes from the place on: <see cref="LookBytes"/>, or all that the file has left.</param>
    /// <param name="segment">The segment's number, which every record carries.</param>
    internal static bool MayStartFrame(ReadOnlySpan<byte> source, long segment)
    {
        if (source.Length <= FrameFormat.HeaderBytes) return false;
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(source[LengthAt..]);
        byte type = source[TypeAt];
        if (length == 0) return false;
        if (!IsKnown(type)) return length <= MaxUnknownPayloadBytes;
        ReadOnlySpan<byte> payload = source[FrameFormat.HeaderBytes..];
        return length <= MaxPayloadBytes && IsWellFormed(type, payload[..(int)Math.Min(length, (uint)payload.Length)], segment);
    }
}

/// <summary>The first 64 bytes of a segment; drawn at <see cref="WalFormat"/>.</summary>
/// <param name="Version">Format version.</param>
/// <param name="Segment">The segment's number.</param>
/// <param name="DirectoryId">The random id of the data directory.</param>
public readonly record struct SegmentHeader(uint Version, long Segment, Guid DirectoryId)
{
    private const int VersionAt = 8;
    private const int SaltAt = VersionAt + sizeof(uint);
    private const int SegmentAt = SaltAt + sizeof(uint);
    private const int FirstSequenceAt = SegmentAt + sizeof(long);
    private const int DirectoryIdAt = FirstSequenceAt + sizeof(ulong);
    private const int ZerosAt = DirectoryIdAt + 16;
    private const int CrcAt = WalFormat.HeaderBytes - sizeof(uint);

    private static ReadOnlySpan<byte> Magic => "TSDBRWAL"u8;

    /// <summary>Writes the header with its checksum.</summary>
    /// <param name="target">At least <see cref="WalFormat.HeaderBytes"/>.</param>
    public void WriteTo(Span<byte> target)
    {
        Magic.CopyTo(target);
        BinaryPrimitives.WriteUInt32LittleEndian(target[VersionAt..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(target[SaltAt..], WalFormat.Salt(DirectoryId, Segment));
        BinaryPrimitives.WriteInt64LittleEndian(target[SegmentAt..], Segment);
        BinaryPrimitives.WriteUInt64LittleEndian(target[FirstSequenceAt..], WalFormat.Sequence(Segment, 0));
        Invariant.Check(DirectoryId.TryWriteBytes(target[DirectoryIdAt..]));
        target[ZerosAt..CrcAt].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(target[CrcAt..], Crc32C.Of(target[..CrcAt]));
    }

    /// <summary>Reads a header of any version.</summary>
    /// <returns>False if length, magic or checksum are not those of a segment header.</returns>
    public static bool TryRead(ReadOnlySpan<byte> source, out SegmentHeader header)
    {
        header = default;
        if (source.Length < WalFormat.HeaderBytes || !source.StartsWith(Magic)) return false;
        if (BinaryPrimitives.ReadUInt32LittleEndian(source[CrcAt..]) != Crc32C.Of(source[..CrcAt])) return false;
        header = new SegmentHeader(
            BinaryPrimitives.ReadUInt32LittleEndian(source[VersionAt..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[SegmentAt..]),
            new Guid(source.Slice(DirectoryIdAt, 16)));
        return true;
    }
}

/// <summary>What the last frame of a finished segment states about all frames before it; drawn at <see cref="WalFormat"/>.</summary>
/// <param name="Records">Record frames in the segment.</param>
/// <param name="Bytes">Bytes before the seal frame, header included.</param>
/// <param name="Chain">Running CRC-32C over the crc fields of the frames.</param>
internal readonly record struct SegmentSeal(long Records, long Bytes, uint Chain)
{
    public void WriteTo(Span<byte> target)
    {
        BinaryPrimitives.WriteInt64LittleEndian(target, Records);
        BinaryPrimitives.WriteInt64LittleEndian(target[sizeof(long)..], Bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(target[(2 * sizeof(long))..], Chain);
    }

    public static SegmentSeal Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadInt64LittleEndian(source),
        BinaryPrimitives.ReadInt64LittleEndian(source[sizeof(long)..]),
        BinaryPrimitives.ReadUInt32LittleEndian(source[(2 * sizeof(long))..]));
}

/// <summary>Where the good bytes of a segment end that had to be left without a seal; drawn at <see cref="WalFormat"/>.</summary>
/// <param name="Segment">The segment that was left.</param>
/// <param name="End">Offset behind its last good frame.</param>
public readonly record struct SegmentEnd(long Segment, long End)
{
    internal void WriteTo(Span<byte> target)
    {
        BinaryPrimitives.WriteInt64LittleEndian(target, Segment);
        BinaryPrimitives.WriteInt64LittleEndian(target[sizeof(long)..], End);
    }

    internal static SegmentEnd Read(ReadOnlySpan<byte> source) =>
        new(BinaryPrimitives.ReadInt64LittleEndian(source), BinaryPrimitives.ReadInt64LittleEndian(source[sizeof(long)..]));
}
