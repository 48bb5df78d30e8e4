using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Endpoints;

/// <summary>Unpacks a body in gzip: one member, whose last four bytes say how long it is. What turns out longer or shorter than it says is refused: the claim can be relied on, and a body that was cut is none.</summary>
/// <remarks>Source: RFC 1952.</remarks>
internal static class GzipBody
{
    private const int Step = 64 << 10;

    /// <summary>Header and trailer.</summary>
    private const int Shortest = 18;

    /// <summary>Bytes that it says it is unpacked.</summary>
    /// <returns>False if it is too short to be gzip.</returns>
    public static bool TryReadLength(ReadOnlySpan<byte> packed, out long length)
    {
        bool isWhole = packed.Length >= Shortest;
        length = isWhole ? BinaryPrimitives.ReadUInt32LittleEndian(packed[^4..]) : 0;
        return isWhole;
    }

    /// <summary>Unpacks.</summary>
    /// <param name="packed">The body as it came.</param>
    /// <param name="length">What it says.</param>
    /// <returns>The bytes, the caller's to dispose.</returns>
    /// <exception cref="InvalidDataException">It is not gzip, or longer or shorter than it says.</exception>
    public static PooledBuffer Unpack(PooledBuffer packed, long length)
    {
        if (!MemoryMarshal.TryGetArray<byte>(packed.Memory, out ArraySegment<byte> bytes)) throw new InvalidDataException("no array");
        using var source = new MemoryStream(bytes.Array!, bytes.Offset, bytes.Count, writable: false);
        using var gzip = new GZipStream(source, CompressionMode.Decompress);
        PooledBuffer raw = PooledBuffer.Rent(Step);
        try
        {
            while (gzip.Read(raw.Reserve(Step)[..Step]) is > 0 and int read)
            {
                raw.SetLength(raw.Length + read);
                if (raw.Length > length) throw new InvalidDataException("it is longer than it says");
            }

            // .NET takes the end of the input for the end of the stream.
            if (raw.Length < length) throw new InvalidDataException("it is shorter than it says");
            return raw;
        }
        catch
        {
            raw.Dispose();
            throw;
        }
    }
}
