using Microsoft.Extensions.Logging.Abstractions;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

/// <summary>A record as a test sees it.</summary>
internal sealed record LoggedRecord(WalRecordKind Kind, ulong Sequence, long ReceiveTimeMs, byte[] Body)
{
    public int Id => BitConverter.ToInt32(Body);
}

/// <summary>Keeps all records.</summary>
internal sealed class RecordList : List<LoggedRecord>, ILogRecordSink
{
    public void Record(WalRecordKind kind, ulong sequence, long receiveTimeMs, ReadOnlySpan<byte> body) =>
        Add(new LoggedRecord(kind, sequence, receiveTimeMs, body.ToArray()));
}

/// <summary>A frame of a segment file, found by walking it from the front.</summary>
internal readonly record struct FrameSpot(int Offset, byte Type, int PayloadBytes)
{
    public int End => Offset + (int)FrameFormat.SizeOf(PayloadBytes);
}

/// <summary>Words in which the log's tests are written.</summary>
internal static class LogFixture
{
    public const string DataDir = "/data";
    public const string WalDir = DataDir + "/wal";
    public const string Quarantine = DataDir + "/quarantine";
    public const long FirstSegment = 7;

    public static readonly Guid DirectoryId = new("0f8fad5b-d9cb-469f-a165-70867728950e");

    public static WalSettings Settings(
        WalDurability durability = WalDurability.Fsync, int maxBatch = 1000, bool async = true, int syncSeconds = 1) =>
        new(durability, TimeSpan.FromSeconds(syncSeconds), maxBatch, async, 64 << 10);

    /// <summary>A disk with the log's directory on it.</summary>
    public static CrashFileSystem NewDisk() => new(WalDir);

    public static WriteAheadLog NewLog(IFileSystem fs, WalSettings? settings = null, TimeProvider? time = null) =>
        new(fs, WalDir, DirectoryId, settings ?? Settings(), time ?? new ManualTime(), NullLogger.Instance);

    public static WriteAheadLog StartedLog(IFileSystem fs, WalSettings? settings = null, TimeProvider? time = null)
    {
        WriteAheadLog log = NewLog(fs, settings, time);
        log.Start(FirstSegment);
        return log;
    }

    /// <summary>A body that starts with the id and holds no zero byte behind it.</summary>
    public static byte[] BodyBytes(int id, int length = 60)
    {
        byte[] body = new byte[Math.Max(length, sizeof(int))];
        for (int i = 0; i < body.Length; i++) body[i] = (byte)(1 + (((id * 31) + (i * 7)) % 255));
        BitConverter.TryWriteBytes(body, id);
        return body;
    }

    public static PooledBuffer Body(byte[] bytes)
    {
        PooledBuffer body = PooledBuffer.Rent(Math.Max(1, bytes.Length));
        body.Append(bytes);
        return body;
    }

    public static WalTicket Add(this WriteAheadLog log, int id, int length = 60) =>
        log.Enqueue(WalRecordKind.WriteV1, Body(BodyBytes(id, length)), 1000 + id);

    public static void DrainAll(this WriteAheadLog log)
    {
        while (log.DrainOnce())
        {
        }
    }

    /// <summary>A group of its own for each id.</summary>
    public static void AddApart(this WriteAheadLog log, params int[] ids)
    {
        foreach (int id in ids)
        {
            log.Add(id);
            log.DrainOnce();
        }
    }

    public static string PathOf(long segment) => $"{WalDir}/{WalFormat.FileName(segment)}";

    /// <summary>A disk that holds this file as the first segment, durably.</summary>
    public static CrashFileSystem DiskWith(ReadOnlySpan<byte> segment)
    {
        CrashFileSystem disk = NewDisk();
        disk.WriteNew(PathOf(FirstSegment), segment, sync: true);
        disk.SyncDir(WalDir);
        return disk;
    }

    public static SegmentReport Replay(
        this IFileSystem fs, out RecordList records, SegmentReplayOptions? options = null, long segment = FirstSegment)
    {
        records = [];
        return LogReader.Replay(
            fs, PathOf(segment), DirectoryId, segment, options ?? new SegmentReplayOptions(Quarantine), records, CancellationToken.None);
    }

    public static SegmentReplayOptions Options(bool mustBeSealed = false, CorruptionPolicy onCorruption = CorruptionPolicy.Salvage) =>
        new(Quarantine) { MustBeSealed = mustBeSealed, OnCorruption = onCorruption, ReadBytes = 64 << 10 };

    /// <summary>All segments in order, each read with what the later ones say about it, as the engine does.</summary>
    public static List<SegmentReport> ReplayAll(this IFileSystem fs, RecordList records)
    {
        List<long> segments = [];
        foreach (DirectoryEntry entry in fs.List(WalDir))
        {
            if (WalFormat.TryParseFileName(entry.Name, out long segment)) segments.Add(segment);
        }

        List<SegmentReport> reports = [];
        for (int i = 0; i < segments.Count; i++)
        {
            SegmentProbe[] later = [.. segments.Skip(i + 1).Select(segment => LogReader.Probe(fs, PathOf(segment), DirectoryId, segment))];
            long? end = later.Select(static probe => probe.PreviousEnd).FirstOrDefault(found => found?.Segment == segments[i])?.End;
            SegmentReplayOptions options = Options(mustBeSealed: later.Any(static probe => probe.HasFrames)) with { AcceptedEnd = end };
            reports.Add(LogReader.Replay(fs, PathOf(segments[i]), DirectoryId, segments[i], options, records, CancellationToken.None));
        }

        return reports;
    }

    /// <summary>The frames of a healthy segment.</summary>
    public static List<FrameSpot> Frames(ReadOnlySpan<byte> file, long segment = FirstSegment)
    {
        uint salt = WalFormat.Salt(DirectoryId, segment);
        List<FrameSpot> frames = [];
        int at = WalFormat.HeaderBytes;
        while (at < file.Length)
        {
            ReadOnlySpan<byte> rest = file[at..];
            FrameStatus status = FrameFormat.TryRead(rest, salt, WalFormat.MaxPayloadBytes, out byte type, out ReadOnlySpan<byte> payload);
            if (status != FrameStatus.Valid) break;
            frames.Add(new FrameSpot(at, type, payload.Length));
            at = frames[^1].End;
        }

        return frames;
    }

    /// <summary>The buffer's owner has returned it.</summary>
    public static bool IsGivenBack(this PooledBuffer body)
    {
        try
        {
            _ = body.Span;
            return false;
        }
        catch (ObjectDisposedException)
        {
            return true;
        }
    }

    public static Thread StartThread(ThreadStart body)
    {
        var thread = new Thread(body);
        thread.Start();
        return thread;
    }

    public static int[] Ids(this IEnumerable<LoggedRecord> records) => [.. records.Select(static record => record.Id)];
}
