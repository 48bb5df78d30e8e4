using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Hashing;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.Framing;

/// <summary>Why a frame could not be read.</summary>
public enum FrameStatus
{
    /// <summary>The frame is whole and its checksum holds.</summary>
    Valid,

    /// <summary>Length zero, or not even a length left: the end, if all that follows is zero too.</summary>
    End,

    /// <summary>The length exceeds what is allowed or runs past the end of the bytes.</summary>
    BadLength,

    /// <summary>The checksum differs.</summary>
    BadChecksum,
}

/// <summary>The frames that the log and the dictionary are made of.</summary>
/// <remarks>
/// <code>
/// ┌ length u32 ┬ crc32c u32 ┬ type u8 ┬ payload: length bytes ┬ zeros to a multiple of 4 ┐      little-endian
/// </code>
/// The checksum runs over salt, length, type and payload. The salt is different for each file, so that stale bytes of another file or another
/// life never verify. A frame starts at a multiple of 4, which is the step of a scan for the next good one. A frame of length zero is not written:
/// zeros end a file whose space was reserved ahead.
/// </remarks>
public static class FrameFormat
{
    /// <summary>Bytes before the payload.</summary>
    public const int HeaderBytes = 9;

    /// <summary>Frames start at multiples of this.</summary>
    public const int Alignment = 4;

    private const int CrcAt = 4;
    private const int TypeAt = 8;

    /// <summary>The salt of one file.</summary>
    /// <param name="directoryId">The data directory's random id.</param>
    /// <param name="kind">Kind of file, such as <c>wal</c>.</param>
    /// <param name="number">The file's number.</param>
    public static uint Salt(Guid directoryId, string kind, long number)
    {
        Span<byte> key = stackalloc byte[16 + 8 + 32];
        directoryId.TryWriteBytes(key);
        BinaryPrimitives.WriteInt64LittleEndian(key[16..], number);
        int length = 24 + System.Text.Encoding.ASCII.GetBytes(kind, key[24..]);
        ulong hash = XxHash3.HashToUInt64(key[..length]);
        return (uint)(hash ^ (hash >> 32));
    }

    /// <summary>Bytes that a frame takes in the file, padding included.</summary>
    public static long SizeOf(long payloadLength) => (HeaderBytes + payloadLength + (Alignment - 1)) & ~(long)(Alignment - 1);

    /// <summary>Zero bytes behind a payload of this length.</summary>
    public static int PaddingOf(long payloadLength) => (int)(SizeOf(payloadLength) - HeaderBytes - payloadLength);

    /// <summary>Writes a whole frame with its padding.</summary>
    /// <returns>Bytes written, equal to <see cref="SizeOf"/>.</returns>
    public static int Write(Span<byte> destination, uint salt, byte type, ReadOnlySpan<byte> payload)
    {
        WriteHeader(destination, salt, type, payload, default);
        payload.CopyTo(destination[HeaderBytes..]);
        int size = (int)SizeOf(payload.Length);
        destination[(HeaderBytes + payload.Length)..size].Clear();
        return size;
    }

    /// <summary>Writes the header of a frame whose payload, in two parts, is written by the caller behind it.</summary>
    public static void WriteHeader(Span<byte> destination, uint salt, byte type, ReadOnlySpan<byte> payload1, ReadOnlySpan<byte> payload2)
    {
        int length = payload1.Length + payload2.Length;
        Debug.Assert(length > 0, "an empty frame would read as the end");
        BinaryPrimitives.WriteUInt32LittleEndian(destination, (uint)length);
        destination[TypeAt] = type;
        uint crc = Crc32C.Update(Start(salt, (uint)length, type), payload1);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[CrcAt..], ~Crc32C.Update(crc, payload2));
    }

    /// <summary>Reads the frame at the start of <paramref name="source"/>.</summary>
    /// <param name="source">Bytes from the frame's first to the end of the file.</param>
    /// <param name="salt">The file's salt.</param>
    /// <param name="maxPayload">Longest payload allowed.</param>
    /// <param name="type">The frame's type.</param>
    /// <param name="payload">The payload, only if valid.</param>
    public static FrameStatus TryRead(ReadOnlySpan<byte> source, uint salt, int maxPayload, out byte type, out ReadOnlySpan<byte> payload)
    {
        type = 0;
        payload = default;
        if (source.Length < HeaderBytes) return FrameStatus.End;
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(source);
        if (length == 0) return FrameStatus.End;
        if (length > (uint)maxPayload || length > (uint)(source.Length - HeaderBytes)) return FrameStatus.BadLength;
        type = source[TypeAt];
        ReadOnlySpan<byte> body = source.Slice(HeaderBytes, (int)length);
        uint crc = ~Crc32C.Update(Start(salt, length, type), body);
        if (crc != BinaryPrimitives.ReadUInt32LittleEndian(source[CrcAt..])) return FrameStatus.BadChecksum;
        payload = body;
        return FrameStatus.Valid;
    }

    private static uint Start(uint salt, uint length, byte type)
    {
        Span<byte> prefix = stackalloc byte[9];
        BinaryPrimitives.WriteUInt32LittleEndian(prefix, salt);
        BinaryPrimitives.WriteUInt32LittleEndian(prefix[4..], length);
        prefix[8] = type;
        return Crc32C.Update(uint.MaxValue, prefix);
    }
}
