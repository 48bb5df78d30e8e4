using System.IO.Compression;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Endpoints;

/// <summary>Unpacks a body in gzip, which does not say how long it will be: room is taken and the limit looked at as it grows.</summary>
internal static class GzipBody
{
    private const int Step = 64 << 10;

    /// <summary>Unpacks.</summary>
    /// <param name="packed">The body as it came.</param>
    /// <param name="limit">Most bytes unpacked.</param>
    /// <param name="reservation">Covers both.</param>
    /// <param name="cancel">The sender is gone.</param>
    /// <returns>How it ended, the buffer, which the caller then owns, only for <see cref="BodyEnd.Whole"/>.</returns>
    /// <exception cref="InvalidDataException">It is not gzip.</exception>
    public static async ValueTask<(BodyEnd End, PooledBuffer? Raw)> UnpackAsync(PooledBuffer packed, long limit, BodyReservation reservation, CancellationToken cancel)
    {
        bool isArray = MemoryMarshal.TryGetArray<byte>(packed.Memory, out ArraySegment<byte> bytes);
        if (!isArray || bytes.Count == 0) throw new InvalidDataException("the body is empty, which is no gzip");
        using var source = new MemoryStream(bytes.Array!, bytes.Offset, bytes.Count, writable: false);
        using var gzip = new GZipStream(source, CompressionMode.Decompress);
        PooledBuffer raw = PooledBuffer.Rent(Step);
        BodyEnd end = BodyEnd.Aborted;
        try
        {
            while (true)
            {
                if (!await reservation.CoverAsync(packed.Length + raw.Length + Step, cancel))
                {
                    end = BodyEnd.NoRoom;
                    return (end, null);
                }

                int read = gzip.Read(raw.Reserve(Step)[..Step]);
                if (read == 0) break;
                raw.SetLength(raw.Length + read);
                if (raw.Length <= limit) continue;
                end = BodyEnd.TooLarge;
                return (end, null);
            }

            end = BodyEnd.Whole;
            return (end, raw);
        }
        finally
        {
            if (end != BodyEnd.Whole) raw.Dispose();
        }
    }
}
