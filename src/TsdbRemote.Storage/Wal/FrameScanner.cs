using System.Buffers.Binary;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Wal;

/// <summary>A frame at its place in a segment. The payload is valid until the window moves.</summary>
internal readonly ref struct PlacedFrame(long offset, byte type, ReadOnlySpan<byte> payload, uint crc)
{
    public readonly ReadOnlySpan<byte> Payload = payload;

    public long Offset { get; } = offset;

    public byte Type { get; } = type;

    /// <summary>The frame's crc field, link of the chain.</summary>
    public uint Crc { get; } = crc;

    /// <summary>Where the next frame starts; beyond the file's end if only padding was cut off.</summary>
    public long End => Offset + FrameFormat.SizeOf(Payload.Length);
}

/// <summary>Finds the frames of a segment: the one that stands at a place, or the next one behind damage.</summary>
/// <remarks>Every length is hostile until it was compared: with the longest payload allowed, and with what the file has left.</remarks>
internal readonly struct FrameScanner(LogWindow window, uint salt, long segment)
{
    // How far the scan looks in one piece of the window.
    private const int ScanBytes = 64 << 10;

    /// <summary>Reads the frame at an offset.</summary>
    /// <param name="offset">Where; a multiple of the alignment.</param>
    /// <param name="frame">The frame, if valid.</param>
    public FrameStatus ReadAt(long offset, out PlacedFrame frame)
    {
        frame = default;
        ReadOnlySpan<byte> head = window.At(offset, FrameFormat.HeaderBytes);
        if (head.Length < FrameFormat.HeaderBytes) return FrameStatus.End;
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(head);
        if (length == 0) return FrameStatus.End;
        long left = window.Limit - offset - FrameFormat.HeaderBytes;
        if (length > WalFormat.MaxPayloadBytes || length > left) return FrameStatus.BadLength;
        ReadOnlySpan<byte> whole = window.At(offset, FrameFormat.HeaderBytes + (int)length);
        FrameStatus status = FrameFormat.TryRead(whole, salt, WalFormat.MaxPayloadBytes, out byte type, out ReadOnlySpan<byte> payload);
        if (status != FrameStatus.Valid) return status;
        frame = new PlacedFrame(offset, type, payload, BinaryPrimitives.ReadUInt32LittleEndian(whole[WalFormat.CrcAt..]));
        return status;
    }

    /// <summary>The first frame at or behind an offset that verifies, trying every place where one may start.</summary>
    /// <returns>False if there is none up to the end.</returns>
    public bool FindFrom(long offset, out PlacedFrame frame)
    {
        while (offset < window.Limit)
        {
            // Zeros start no frame, and a segment may end in megabytes of them.
            offset = AlignDown(window.FirstNonZero(offset), offset);
            ReadOnlySpan<byte> piece = window.At(offset, ScanBytes);
            bool isLast = offset + piece.Length >= window.Limit;
            int from = 0;
            for (; isLast ? from < piece.Length : from + WalFormat.LookBytes <= piece.Length; from += FrameFormat.Alignment)
            {
                if (!WalFormat.MayStartFrame(piece[from..], segment)) continue;
                if (ReadAt(offset + from, out frame) == FrameStatus.Valid) return true;
                piece = window.At(offset, ScanBytes); // reading may have moved the window
            }

            offset += from;
        }

        frame = default;
        return false;
    }

    // Not below where the search began.
    private static long AlignDown(long found, long began) => Math.Max(began, found & ~(long)(FrameFormat.Alignment - 1));
}
