using System.Diagnostics;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.Wire;

/// <summary>The one place that knows snappy: blocks, in and out. Stateless, thread-safe.</summary>
/// <remarks>
/// <code>
/// uvarint decoded length (below 2^32) │ elements                                  tag's low two bits:
///   00 literal: length-1 in 6 bits, 60..63 = 1..4 length bytes follow │ 01 copy: 4..11 bytes, 11-bit offset
///   10 copy: 1..64 bytes, 16-bit offset                               │ 11 copy: 1..64 bytes, 32-bit offset
/// </code>
/// Decoding is ours (<see cref="SnappyDecoder"/>), since it is a tenth of a write's cost; encoding is the libraries' (docs/decisions/0002). Nothing is
/// rented before the declared length has been held against the limit and against what the elements can make at most: 64 bytes from 3.
/// Source: google/snappy, format_description.txt.
/// </remarks>
public static class SnappyBlock
{
    /// <summary>Longest part that <see cref="CompressFragment"/> takes, bytes: copies never reach further back than this.</summary>
    public const int MaxFragmentBytes = 65536;

    private const int MaxPreambleBytes = 5;
    private const int BestElementMakes = 64;
    private const int BestElementTakes = 3;
    private const int LongestShortLiteral = 60;

    // A stream identifier chunk: FF 06 00 00 and sNaPpY.
    private static ReadOnlySpan<byte> FrameMagic => [0xFF, 0x06, 0x00, 0x00, 0x73, 0x4E, 0x61, 0x50, 0x70, 0x59];

    /// <summary>Reads the length that a block says it decodes to; five bytes of it are enough.</summary>
    /// <param name="block">The block, or at least its first five bytes.</param>
    /// <param name="declared">Decoded length in bytes, unverified.</param>
    /// <param name="preambleBytes">Bytes before the first element.</param>
    public static bool TryReadLength(ReadOnlySpan<byte> block, out uint declared, out int preambleBytes)
    {
        preambleBytes = 0;
        ReadOnlySpan<byte> start = block[..Math.Min(block.Length, MaxPreambleBytes)];
        bool whole = Varint.TryRead(start, ref preambleBytes, out ulong length) && length <= uint.MaxValue;
        declared = whole ? (uint)length : 0;
        return whole;
    }

    /// <summary>Decompresses a body.</summary>
    /// <param name="block">The whole body.</param>
    /// <param name="maxDecoded">Most decoded bytes allowed.</param>
    /// <param name="raw">The decoded bytes, the caller's to dispose; null unless the answer is <see cref="CompressionStatus.Ok"/>.</param>
    public static CompressionStatus TryDecompress(ReadOnlySpan<byte> block, int maxDecoded, out PooledBuffer? raw)
    {
        raw = null;
        CompressionStatus status = CheckLength(block, maxDecoded, out int length, out int preambleBytes);
        if (status != CompressionStatus.Ok) return status;
        PooledBuffer buffer = PooledBuffer.Rent(length + SnappyDecoder.Slack, length + SnappyDecoder.Slack);
        if (!SnappyDecoder.TryDecode(block[preambleBytes..], buffer.Span, length))
        {
            buffer.Dispose();
            return CompressionStatus.Corrupt;
        }

        buffer.SetLength(length);
        raw = buffer;
        return CompressionStatus.Ok;
    }

    /// <summary>Compresses one body (Snappier).</summary>
    /// <returns>The block, the caller's to dispose.</returns>
    public static PooledBuffer Compress(ReadOnlySpan<byte> raw)
    {
        PooledBuffer block = PooledBuffer.Rent(Snappier.Snappy.GetMaxCompressedLength(raw.Length));
        block.SetLength(Snappier.Snappy.Compress(raw, block.Reserve(0)));
        return block;
    }

    /// <summary>Compresses a part of a body (IronSnappy) and appends its elements, without a preamble.</summary>
    /// <remarks>
    /// Elements of several parts, one behind the other, are the elements of the whole, for copies reach back only inside their own part.
    /// The caller writes the preamble once the length of the whole is known.
    /// </remarks>
    /// <param name="part">At most <see cref="MaxFragmentBytes"/> bytes.</param>
    /// <param name="output">Where the elements are appended.</param>
    public static void CompressFragment(ReadOnlySpan<byte> part, PooledBuffer output)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(part.Length, MaxFragmentBytes, nameof(part));
        byte[] block = IronSnappy.Snappy.Encode(part);
        bool read = TryReadLength(block, out uint declared, out int preambleBytes);
        Invariant.Check(read && declared == (uint)part.Length, "the encoder declares what it was given");
        output.Append(block.AsSpan(preambleBytes));
    }

    /// <summary>Appends bytes as a literal element, uncompressed and without a preamble.</summary>
    /// <param name="bytes">1 to 60 bytes.</param>
    /// <param name="output">Where the element is appended.</param>
    public static void AppendLiteral(ReadOnlySpan<byte> bytes, PooledBuffer output)
    {
        Debug.Assert(bytes.Length is > 0 and <= LongestShortLiteral, "needs length bytes");
        output.Append([(byte)((bytes.Length - 1) << 2)]);
        output.Append(bytes);
    }

    /// <summary>Holds the declared length against the limit and against what so many bytes can make at most; looks at no element.</summary>
    /// <param name="block">The whole block.</param>
    /// <param name="maxDecoded">Most decoded bytes allowed.</param>
    /// <param name="length">Decoded length in bytes that the block says it has, if the answer is <see cref="CompressionStatus.Ok"/>; 0 otherwise.</param>
    public static CompressionStatus CheckLength(ReadOnlySpan<byte> block, int maxDecoded, out int length) => CheckLength(block, maxDecoded, out length, out _);

    private static CompressionStatus CheckLength(ReadOnlySpan<byte> block, int maxDecoded, out int length, out int preambleBytes)
    {
        length = preambleBytes = 0;
        if (block.IsEmpty) return CompressionStatus.Empty;
        if (block.StartsWith(FrameMagic)) return CompressionStatus.Framed;
        if (!TryReadLength(block, out uint declared, out preambleBytes)) return CompressionStatus.Corrupt;
        if (declared > (uint)Math.Max(maxDecoded, 0)) return CompressionStatus.TooLarge;
        if (declared * (ulong)BestElementTakes > (ulong)(block.Length - preambleBytes) * BestElementMakes) return CompressionStatus.Corrupt;
        length = (int)declared;
        return CompressionStatus.Ok;
    }
}
