using System.Buffers.Binary;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Wal;

/// <summary>Writes one segment file, from its header to its seal.</summary>
/// <remarks>
/// Use:       <see cref="Create"/>, <see cref="MakeDurable"/>; then per group <see cref="Reserve"/>, <see cref="Write"/>,
///            <see cref="Sync"/>; at last <see cref="WriteSeal"/>, <see cref="SyncSeal"/>.
/// Invariant: <see cref="Synced"/> ≤ <see cref="Offset"/> ≤ the file's length. Nothing is ever written below Offset.
/// Failure:   every error of the disk passes through. After one of Write or Sync the owner must write here no more.
/// Threads:   one at a time; the log's drain lock sees to it.
/// </remarks>
internal sealed class SegmentWriter : IDisposable
{
    private static readonly int SealFrameBytes = (int)FrameFormat.SizeOf(WalFormat.SealBytes);

    private readonly IFile _file;
    private readonly int _step;
    private long _reserved;

    private SegmentWriter(IFile file, Guid directoryId, long segment, int step)
    {
        _file = file;
        _step = step;
        Segment = segment;
        Salt = WalFormat.Salt(directoryId, segment);
    }

    /// <summary>The file's path.</summary>
    public string Path => _file.Path;

    /// <summary>The segment's number.</summary>
    public long Segment { get; }

    /// <summary>Salt of all its frames.</summary>
    public uint Salt { get; }

    /// <summary>End of the frames written.</summary>
    public long Offset { get; private set; }

    /// <summary>Every byte before this was synced.</summary>
    public long Synced { get; private set; }

    /// <summary>The highest offset that a durable_to frame in the file names.</summary>
    public long Announced { get; private set; }

    /// <summary>Record frames written.</summary>
    public long Records { get; private set; }

    /// <summary>Running checksum over the crc fields of all frames written.</summary>
    public uint Chain { get; private set; }

    /// <summary>
    /// A write broke off for lack of room: what lies behind <see cref="Offset"/> is unknown, nothing more may be written.
    /// </summary>
    public bool IsTorn => TornBy is not null;

    /// <summary>What broke that write off, or null.</summary>
    public DiskException? TornBy { get; private set; }

    /// <summary>Creates the file with its header. Not durable yet.</summary>
    /// <exception cref="DiskException">It could not be created or filled; whatever was created has been removed again.</exception>
    public static SegmentWriter Create(IFileSystem fs, string directory, Guid directoryId, long segment, int step)
    {
        string path = $"{directory}/{WalFormat.FileName(segment)}";
        IFile file = fs.CreateNew(path);
        try
        {
            var writer = new SegmentWriter(file, directoryId, segment, step);
            writer.Reserve(WalFormat.HeaderBytes);
            Span<byte> header = stackalloc byte[WalFormat.HeaderBytes];
            new SegmentHeader(WalFormat.Version, segment, directoryId).WriteTo(header);
            file.Write(0, header);
            writer.Offset = WalFormat.HeaderBytes;
            return writer;
        }
        catch (DiskException)
        {
            file.Dispose();
            Discard(fs, path);
            throw;
        }
    }

    /// <summary>Makes header and name durable; before this no record may be acknowledged.</summary>
    /// <exception cref="LogFailedException">A sync failed.</exception>
    public void MakeDurable(IFileSystem fs, string directory)
    {
        try
        {
            _file.SyncAll();
            fs.SyncDir(directory);
        }
        catch (DiskException error)
        {
            throw LogFailedException.OfSync(error);
        }

        Synced = Announced = Offset;
    }

    /// <summary>Reserves room for <paramref name="bytes"/> more and the seal, in whole steps.</summary>
    /// <remarks>Afterwards a write cannot run out of room, except on file systems that copy on write.</remarks>
    public void Reserve(long bytes)
    {
        long needed = Offset + bytes + SealFrameBytes;
        if (needed > _reserved) ReserveTo(needed);
    }

    /// <summary>Reserves the next step when half of the last one is used, while nobody waits.</summary>
    public void ReserveAhead()
    {
        long wanted = Offset + (_step / 2);
        if (wanted > _reserved) ReserveTo(wanted);
    }

    /// <summary>Writes a group behind the last one.</summary>
    public void Write(LogGroup group)
    {
        Invariant.Check(!IsTorn);
        _file.WriteGather(Offset, group.Buffers);
        Announced = Synced;
        Offset += group.Bytes;
        Records += group.Count;
        Chain = group.Chain;
    }

    /// <summary>Makes all that was written durable.</summary>
    /// <exception cref="LogFailedException">The sync failed: it must never be tried again.</exception>
    public void Sync()
    {
        try
        {
            _file.SyncData();
        }
        catch (DiskException error)
        {
            throw LogFailedException.OfSync(error);
        }

        Synced = Offset;
    }

    /// <summary>Writes the idle frame: what was synced last was acknowledged, so damage there is no torn tail. Not synced itself.</summary>
    public void WriteDurableTo()
    {
        Span<byte> payload = stackalloc byte[WalFormat.DurableToBytes];
        BinaryPrimitives.WriteInt64LittleEndian(payload, Synced);
        WriteFrame(WalFormat.DurableTo, payload);
        Announced = Synced;
    }

    /// <summary>Writes as the first frame where the segment before ends, which had to be left without a seal. Not synced itself.</summary>
    public void WritePreviousEnd(SegmentEnd previous)
    {
        Invariant.Check(Offset == WalFormat.HeaderBytes);
        Span<byte> payload = stackalloc byte[WalFormat.PreviousEndBytes];
        previous.WriteTo(payload);
        WriteFrame(WalFormat.PreviousEnd, payload);
    }

    /// <summary>Leaves the segment as it is: a write broke off.</summary>
    /// <param name="cause">What broke it off.</param>
    public void MarkTorn(DiskException cause) => TornBy = cause;

    /// <summary>Writes the seal and gives the unused reserved room back; <see cref="SyncSeal"/> makes both durable.</summary>
    /// <remarks>
    /// Everything before the seal must be durable already. Were both in one sync, a crash in it could leave a seal above
    /// frames that never arrived, and the reader would call that damage to acknowledged data.
    /// </remarks>
    public void WriteSeal()
    {
        Invariant.Check(Synced == Offset);
        Span<byte> payload = stackalloc byte[WalFormat.SealBytes];
        new SegmentSeal(Records, Offset, Chain).WriteTo(payload);
        WriteFrame(WalFormat.Seal, payload);
        _file.SetLength(Offset);
    }

    /// <summary>Makes the seal durable, with the file's new length.</summary>
    /// <exception cref="LogFailedException">The sync failed: it must never be tried again.</exception>
    public void SyncSeal()
    {
        try
        {
            _file.SyncAll();
        }
        catch (DiskException error)
        {
            throw LogFailedException.OfSync(error);
        }

        Synced = Offset;
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static void Discard(IFileSystem fs, string path)
    {
        try
        {
            fs.Unlink(path); // nothing names the file and it holds no frame: without it, a full disk has its room back
        }
        catch (DiskException)
        {
            // And therefore an empty file stays, which the next open removes; the number is not used again.
        }
    }

    private void WriteFrame(byte type, ReadOnlySpan<byte> payload)
    {
        Invariant.Check(!IsTorn);
        Span<byte> frame = stackalloc byte[SealFrameBytes];
        frame = frame[..FrameFormat.Write(frame, Salt, type, payload)];
        _file.Write(Offset, frame);
        Chain = LogGroup.ChainNext(Chain, frame);
        Offset += frame.Length;
    }

    private void ReserveTo(long needed)
    {
        long steps = (needed + _step - 1) / _step;
        _file.Preallocate(steps * _step);
        _reserved = steps * _step;
    }
}
