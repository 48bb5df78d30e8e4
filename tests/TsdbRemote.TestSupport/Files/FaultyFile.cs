using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>A file of <see cref="FaultInjector"/>.</summary>
internal sealed class FaultyFile(FaultInjector owner, IFile inner, bool writable) : IFile
{
    private int _lateErrno;
    private bool _disposed;

    public string Path => inner.Path;

    public long Length
    {
        get
        {
            owner.Pass(new FileOperation(FileOperationKind.Length, Path));
            return inner.Length;
        }
    }

    public int Read(long offset, Span<byte> destination)
    {
        var operation = new FileOperation(FileOperationKind.Read, Path, Offset: offset, Length: destination.Length);
        switch (owner.Hit(operation))
        {
            case null:
                return inner.Read(offset, destination);
            case Fault.ShortRead shorter:
                return inner.Read(offset, destination[..Math.Min(shorter.Bytes, destination.Length)]);
            case Fault.Misdirected misdirected:
                return inner.Read(offset + misdirected.Distance, destination);
            case Fault.FlippedBit flipped:
                int read = inner.Read(offset, destination);
                if (read > 0) destination[(int)(flipped.Bit / 8 % read)] ^= (byte)(1 << (int)(flipped.Bit % 8));
                return read;
            case { } fault:
                throw FaultInjector.Unfit(operation, fault);
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        var operation = new FileOperation(FileOperationKind.Write, Path, Offset: offset, Length: source.Length);
        if (!Strikes(operation, out Fault.ShortWrite? shorter)) inner.Write(offset, source);
        else if (shorter is not null) WriteShort(operation, source, shorter);
    }

    public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers)
    {
        long length = buffers.Sum(static buffer => (long)buffer.Length);
        var operation = new FileOperation(FileOperationKind.WriteGather, Path, Offset: offset, Length: length);
        if (!Strikes(operation, out Fault.ShortWrite? shorter)) inner.WriteGather(offset, buffers);
        else if (shorter is not null) WriteShort(operation, buffers.SelectMany(static buffer => buffer.ToArray()).ToArray(), shorter);
    }

    public void Preallocate(long length)
    {
        if (!owner.Loses(new FileOperation(FileOperationKind.Preallocate, Path, Offset: length))) inner.Preallocate(length);
    }

    public void SetLength(long length)
    {
        if (!owner.Loses(new FileOperation(FileOperationKind.SetLength, Path, Offset: length))) inner.SetLength(length);
    }

    public void SyncData() => Sync(new FileOperation(FileOperationKind.SyncData, Path), inner.SyncData);

    public void SyncAll() => Sync(new FileOperation(FileOperationKind.SyncAll, Path), inner.SyncAll);

    /// <summary>A map is part of the inner file: reads through it are not injected.</summary>
    public MappedFile? TryMap()
    {
        owner.Pass(new FileOperation(FileOperationKind.Map, Path));
        return inner.TryMap();
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        inner.Dispose(); // also when the close then "fails": the descriptor is gone
        owner.Closed();
        if (writable) owner.Pass(new FileOperation(FileOperationKind.Close, Path)); // nobody hears of a file that was only read
    }

    private void WriteShort(in FileOperation operation, ReadOnlySpan<byte> source, Fault.ShortWrite shorter)
    {
        inner.Write(operation.Offset, source[..Math.Min(shorter.Bytes, source.Length)]);
        throw FaultInjector.Failure(operation, shorter.Errno);
    }

    // True: the write is lost (shorter is null) or cut short.
    private bool Strikes(in FileOperation operation, out Fault.ShortWrite? shorter)
    {
        Fault? fault = owner.Hit(operation);
        shorter = fault as Fault.ShortWrite;
        if (fault is not (null or Fault.Lost or Fault.ShortWrite)) throw FaultInjector.Unfit(operation, fault);
        return fault is not null;
    }

    private void Sync(in FileOperation operation, Action sync)
    {
        Fault? fault = owner.Hit(operation);
        if (_lateErrno != 0)
        {
            int late = _lateErrno;
            _lateErrno = 0;
            throw FaultInjector.Failure(operation, late);
        }

        switch (fault)
        {
            case null: sync(); return;
            case Fault.Lost: return;
            case Fault.FailedSync failed: LosePages(operation, failed); return;
            default: throw FaultInjector.Unfit(operation, fault);
        }
    }

    private void LosePages(in FileOperation operation, Fault.FailedSync failed)
    {
        if (failed.Pages != LostPages.None) (inner as ILosesPages)?.LosePages(failed.Pages == LostPages.CacheRevertsToOld);
        if (failed.Pages != LostPages.ErrorOneSyncLate) throw FaultInjector.Failure(operation, failed.Errno);
        _lateErrno = failed.Errno;
    }
}
