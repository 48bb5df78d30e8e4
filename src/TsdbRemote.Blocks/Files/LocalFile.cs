using System.Diagnostics;
using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>An open file of <see cref="LocalFileSystem"/>.</summary>
/// <remarks>
/// Thread-safe for reads; one writer. After a failed sync the file takes neither bytes nor another sync: the kernel marks pages
/// clean although they were not written, so a second sync that succeeds proves nothing (Rebello et al., USENIX ATC 2020).
/// <see cref="Dispose"/> never syncs, and throws when <c>close</c> of a writable file reports an error: it may be the only
/// news of a lost write.
/// </remarks>
internal sealed unsafe class LocalFile : IFile
{
    // The kernel moves at most 2 GiB less a page a call; a smaller piece keeps the arithmetic in nuint obvious.
    private const int MaxReadBytes = 1 << 30;

    private const int ZeroBlockBytes = 64 << 10;

    private static readonly Action<nint, long> Unmap = static (pointer, length) =>
    {
        int result = Libc.Unmap(pointer, (nuint)length);
        Debug.Assert(result == 0, "munmap refuses only what was never mapped");
    };

    private readonly FileHandle _handle;
    private readonly IDiskCalls _calls;
    private readonly bool _writable;
    private readonly bool _mappable;
    private DiskException? _syncFailure;
    private int _disposed;

    /// <summary>Takes over an open handle.</summary>
    /// <param name="handle">A regular file.</param>
    /// <param name="path">The name it was opened by.</param>
    /// <param name="writable">Opened for writing.</param>
    /// <param name="mappable">Whether <see cref="TryMap"/> may map.</param>
    /// <param name="calls">The system calls for writes and syncs.</param>
    public LocalFile(FileHandle handle, string path, bool writable, bool mappable, IDiskCalls calls)
    {
        _handle = handle;
        Path = path;
        _writable = writable;
        _mappable = mappable;
        _calls = calls;
    }

    /// <inheritdoc/>
    public string Path { get; }

    /// <inheritdoc/>
    public long Length
    {
        get
        {
            byte empty = 0;
            Libc.FileStatus status;
            if (Libc.Stat(_handle, &empty, Libc.AtEmptyPath, Libc.StatTypeAndSize, &status) != 0) throw LastError("fstat");
            return status.Size;
        }
    }

    /// <inheritdoc/>
    public int Read(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        int done = 0;
        fixed (byte* target = destination)
        {
            while (done < destination.Length)
            {
                nuint wanted = (nuint)Math.Min(destination.Length - done, MaxReadBytes);
                nint read = Libc.ReadAt(_handle, target + done, wanted, offset + done);
                if (read < 0)
                {
                    if (Marshal.GetLastPInvokeError() == Errno.Interrupted) continue;
                    throw LastError("pread");
                }

                if (read == 0) break;
                done += (int)read;
            }
        }

        return done;
    }

    /// <inheritdoc/>
    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        ThrowIfNotWritable("pwritev", offset);
        if (source.IsEmpty) return;
        fixed (byte* bytes = source)
        {
            Libc.IoVector vector;
            vector.Pointer = bytes;
            vector.Length = (nuint)source.Length;
            GatherWriter.Drain(_calls, _handle, Path, &vector, 1, offset);
        }
    }

    /// <inheritdoc/>
    public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers)
    {
        ThrowIfNotWritable("pwritev", offset);
        GatherWriter.Write(_calls, _handle, Path, offset, buffers);
    }

    /// <inheritdoc/>
    public void Preallocate(long length)
    {
        ThrowIfNotWritable("posix_fallocate", length);
        long before = Length;
        if (length <= before) return;
        int errno;
        do errno = _calls.Allocate(_handle, length);
        while (errno == Errno.Interrupted);

        switch (errno)
        {
            case 0: return;
            case Errno.NotSupported or Errno.NoSystemCall or Errno.Invalid: WriteZeros(before, length); return;
            default: throw Error("posix_fallocate", errno);
        }
    }

    /// <inheritdoc/>
    public void SetLength(long length)
    {
        ThrowIfNotWritable("ftruncate", length);
        while (Libc.Truncate(_handle, length) != 0)
        {
            if (Marshal.GetLastPInvokeError() != Errno.Interrupted) throw LastError("ftruncate");
        }
    }

    /// <inheritdoc/>
    public void SyncData() => Sync("fdatasync");

    /// <inheritdoc/>
    public void SyncAll() => Sync("fsync");

    /// <inheritdoc/>
    /// <remarks>An advice: what the kernel makes of it is nobody's error.</remarks>
    public void DropCached(long end) => _ = Libc.Advise(_handle, 0, end, Libc.NotNeeded);

    /// <inheritdoc/>
    public MappedFile? TryMap()
    {
        long length = Length;
        if (!_mappable || length == 0) return null;

        // Any refusal (no memory, too many maps, a device that cannot) leaves reading as the way.
        nint pointer = Libc.Map(0, (nuint)length, Libc.ProtectRead, Libc.MapShared, _handle, 0);
        return pointer == -1 ? null : new MappedFile((byte*)pointer, length, Unmap);
    }

    /// <inheritdoc/>
    /// <exception cref="DiskException"><c>close</c> of a writable file failed; reported once.</exception>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        _handle.Dispose();
        if (_writable && _handle.CloseErrno != 0) throw Error("close", _handle.CloseErrno);
    }

    private void Sync(string operation)
    {
        if (_syncFailure is not null) throw _syncFailure;
        int errno;
        do errno = operation == "fsync" ? _calls.SyncAll(_handle) : _calls.SyncData(_handle);
        while (errno == Errno.Interrupted);

        if (errno == 0) return;
        _syncFailure = Error(operation, errno);
        throw _syncFailure;
    }

    private void WriteZeros(long from, long to)
    {
        byte[] zeros = new byte[(int)Math.Min(to - from, ZeroBlockBytes)];
        while (from < to)
        {
            int bytes = (int)Math.Min(to - from, zeros.Length);
            Write(from, zeros.AsSpan(0, bytes));
            from += bytes;
        }
    }

    private void ThrowIfNotWritable(string operation, long offset)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        if (!_writable) throw Error(operation, Errno.BadHandle);
        if (_syncFailure is not null) throw _syncFailure;
    }

    private DiskException LastError(string operation) => Error(operation, Marshal.GetLastPInvokeError());

    private DiskException Error(string operation, int errno)
    {
        string detail = Errno.Describe(errno);
        if (operation is "fsync" or "fdatasync" && LocalFileSystem.IsReadOnlyMount(Path)) detail += "; the file system is now read-only";
        return new DiskException(operation, Path, errno, detail);
    }
}
