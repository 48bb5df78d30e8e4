using System.Buffers.Binary;
using System.Numerics;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Wal;

/// <summary>Finds the single flipped bit that explains why a frame does not verify.</summary>
/// <remarks>
/// For the report only, which tells an operator to suspect the memory and not the disk; the frame is not repaired by it. (The idea is
/// that of Pebble, <c>internal/bitflip</c>; reliability.md §2.6.) A CRC is linear: a flipped bit changes it by a value that depends only
/// on the bit's distance from the end, so one walk over the distances finds the bit. A flipped length moves that end; its 32 bits are
/// tried one by one.
/// </remarks>
internal static class FlippedBit
{
    /// <summary>Longest payload that is looked at. Longer ones would be explained by chance too often.</summary>
    public const int MaxPayloadBytes = 40 << 10;

    private const uint Polynomial = 0x82F63B78; // CRC-32C, reflected
    private const int LengthBits = 8 * sizeof(uint);

    /// <summary>The bit, counted from the frame's first byte, lowest bit first.</summary>
    /// <param name="source">Bytes from the frame's first on; more than the frame is fine.</param>
    /// <param name="salt">The segment's salt.</param>
    /// <returns>Null if no single bit explains it.</returns>
    public static int? Find(ReadOnlySpan<byte> source, uint salt)
    {
        if (source.Length <= FrameFormat.HeaderBytes) return null;
        return FindInLength(source, salt) ?? FindBehindLength(source, salt);
    }

    private static int? FindInLength(ReadOnlySpan<byte> source, uint salt)
    {
        byte[] copy = source[..Math.Min(source.Length, FrameFormat.HeaderBytes + MaxPayloadBytes)].ToArray();
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(copy);
        for (int bit = 0; bit < LengthBits; bit++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(copy, length ^ (1u << bit));
            if (FrameFormat.TryRead(copy, salt, MaxPayloadBytes, out _, out _) == FrameStatus.Valid) return bit;
        }

        return null;
    }

    private static int? FindBehindLength(ReadOnlySpan<byte> source, uint salt)
    {
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(source);
        if (length is 0 or > MaxPayloadBytes || length > source.Length - FrameFormat.HeaderBytes) return null;
        byte type = source[FrameFormat.HeaderBytes - 1];
        Span<byte> header = stackalloc byte[FrameFormat.HeaderBytes];
        FrameFormat.WriteHeader(header, salt, type, source.Slice(FrameFormat.HeaderBytes, (int)length), default);
        uint difference = BinaryPrimitives.ReadUInt32LittleEndian(header[WalFormat.CrcAt..])
            ^ BinaryPrimitives.ReadUInt32LittleEndian(source[WalFormat.CrcAt..]);
        if (BitOperations.PopCount(difference) == 1) return (8 * WalFormat.CrcAt) + BitOperations.TrailingZeroCount(difference);

        // From the last bit of the payload back to the first of the type.
        uint change = 1;
        for (int bit = 8 * (FrameFormat.HeaderBytes + (int)length); bit > 8 * (FrameFormat.HeaderBytes - 1);)
        {
            bit--;
            change = (change >> 1) ^ ((change & 1) * Polynomial);
            if (change == difference) return bit;
        }

        return null;
    }
}
