using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Wal;

/// <summary>Reads segments back. Never changes one; knows no MemTable.</summary>
/// <remarks>Thread-safe: segments may be replayed side by side, each with a sink of its own.</remarks>
public static class LogReader
{
    /// <summary>Hands every record of a segment that counts to the sink, in order, and says what else was found.</summary>
    /// <param name="fs">The disk.</param>
    /// <param name="path">The segment's file.</param>
    /// <param name="directoryId">The data directory's random id.</param>
    /// <param name="segment">The segment's number.</param>
    /// <param name="options">What is known about it.</param>
    /// <param name="sink">Takes the records. An exception from it passes through.</param>
    /// <param name="cancel">Ends the replay between two frames.</param>
    /// <exception cref="LogRefusedException">It must not be replayed; no file was changed, at most a copy made in quarantine.</exception>
    /// <exception cref="DiskException">It could not be opened, or doubtful bytes could not be copied to quarantine.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static SegmentReport Replay(
        IFileSystem fs,
        string path,
        Guid directoryId,
        long segment,
        SegmentReplayOptions options,
        ILogRecordSink sink,
        CancellationToken cancel)
    {
        using IFile file = fs.OpenRead(path);
        using var replay = new SegmentReplay(fs, file, directoryId, segment, options, sink, cancel);
        return replay.Run();
    }

    /// <summary>Looks at the first frame of a segment, which tells how the one before it ended.</summary>
    /// <exception cref="LogRefusedException">It could not be read, or a later program wrote it.</exception>
    /// <exception cref="DiskException">It could not be opened.</exception>
    public static SegmentProbe Probe(IFileSystem fs, string path, Guid directoryId, long segment)
    {
        using IFile file = fs.OpenRead(path);
        const int end = WalFormat.HeaderBytes + WalFormat.LookBytes;
        using var window = new LogWindow(file, Math.Min(file.Length, end), end);
        if (SegmentHeader.TryRead(window.At(0, WalFormat.HeaderBytes), out SegmentHeader header) && header.Version > WalFormat.Version) throw NewerFormat(path, header);
        ReadOnlySpan<byte> first = window.At(WalFormat.HeaderBytes, WalFormat.LookBytes);
        uint salt = WalFormat.Salt(directoryId, segment);
        FrameStatus status = FrameFormat.TryRead(first, salt, WalFormat.SealBytes, out byte type, out ReadOnlySpan<byte> payload);
        if (status != FrameStatus.Valid) return default;
        bool hasEnd = type == WalFormat.PreviousEnd && WalFormat.IsWellFormed(type, payload, segment);
        return new SegmentProbe(true, hasEnd ? SegmentEnd.Read(payload) : null);
    }

    /// <summary>What is said of a segment of a later version.</summary>
    internal static LogRefusedException NewerFormat(string path, SegmentHeader header) =>
        new(LogRefusal.NewerFormat, path, 0, NewerFormatException.TextOf(header.Version, WalFormat.Version));
}
