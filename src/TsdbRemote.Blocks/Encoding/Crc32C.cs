using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>CRC-32C (Castagnoli), by the processor's instruction. The only checksum of the on-disk formats.</summary>
/// <remarks><c>System.IO.Hashing.Crc32</c> is another polynomial.</remarks>
public static class Crc32C
{
    /// <summary>Checksum of one run of bytes.</summary>
    public static uint Of(ReadOnlySpan<byte> source) => ~Update(uint.MaxValue, source);

    /// <summary>Checksum of two runs, as if they stood one behind the other.</summary>
    public static uint Of(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second) => ~Update(Update(uint.MaxValue, first), second);

    /// <summary>One step of a running checksum: start with <see cref="uint.MaxValue"/>, complement at the end.</summary>
    public static uint Update(uint state, ReadOnlySpan<byte> source)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(source);
        foreach (ulong word in words)
        {
            state = BitOperations.Crc32C(state, BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word));
        }

        foreach (byte b in source[(words.Length * sizeof(ulong))..]) state = BitOperations.Crc32C(state, b);
        return state;
    }
}
