using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>A file whose failed syncs can lose what they should have written, as kernels do.</summary>
internal interface ILosesPages
{
    /// <summary>Marks pending pages clean without writing them; see <see cref="CrashInode.LosePages"/>.</summary>
    void LosePages(bool revert);
}

/// <summary>An open file of <see cref="CrashFileSystem"/>. Works on after its name is gone. Closing it syncs nothing.</summary>
internal sealed unsafe class CrashFile : IFile, ILosesPages
{
    private readonly CrashFileSystem _owner;
    private readonly CrashInode _inode;
    private readonly bool _writable;
    private bool _disposed;

    public CrashFile(CrashFileSystem owner, CrashInode inode, string path, bool writable)
    {
        _owner = owner;
        _inode = inode;
        Path = path;
        _writable = writable;
    }

    public string Path { get; }

    public long Length
    {
        get
        {
            lock (_owner.Gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                return _inode.Current.Length;
            }
        }
    }

    public int Read(long offset, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        lock (_owner.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _inode.Current.Read(offset, destination);
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        _owner.Announce(new FileOperation(FileOperationKind.Write, Path, Offset: offset, Length: source.Length));
        WriteAll(offset, source);
    }

    public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        byte[] all = new byte[buffers.Sum(static buffer => buffer.Length)];
        int filled = 0;
        foreach (ReadOnlyMemory<byte> buffer in buffers)
        {
            buffer.Span.CopyTo(all.AsSpan(filled));
            filled += buffer.Length;
        }

        _owner.Announce(new FileOperation(FileOperationKind.WriteGather, Path, Offset: offset, Length: all.Length));
        WriteAll(offset, all);
    }

    public void Preallocate(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        _owner.Announce(new FileOperation(FileOperationKind.Preallocate, Path, Offset: length));
        lock (_owner.Gate)
        {
            ThrowIfNotWritable("posix_fallocate");
            if (length > _inode.Current.Length) _inode.Resize(_owner.NextSequence(), length);
        }
    }

    public void SetLength(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        _owner.Announce(new FileOperation(FileOperationKind.SetLength, Path, Offset: length));
        lock (_owner.Gate)
        {
            ThrowIfNotWritable("ftruncate");
            if (length != _inode.Current.Length) _inode.Resize(_owner.NextSequence(), length);
        }
    }

    public void SyncData() => Sync(FileOperationKind.SyncData, metadata: false);

    public void SyncAll() => Sync(FileOperationKind.SyncAll, metadata: true);

    /// <summary>Null, unless <see cref="CrashFileSystem.Mappable"/>; the map is then a copy of the file as it stands.</summary>
    public MappedFile? TryMap()
    {
        lock (_owner.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            int length = checked((int)_inode.Current.Length);
            if (!_owner.Mappable || length == 0) return null;
            byte* copy = (byte*)NativeMemory.Alloc((nuint)length);
            _inode.Current.Read(0, new Span<byte>(copy, length));
            return new MappedFile(copy, length, static (pointer, _) => NativeMemory.Free((void*)pointer));
        }
    }

    public void LosePages(bool revert)
    {
        lock (_owner.Gate) _inode.LosePages(revert);
    }

    public void Dispose()
    {
        lock (_owner.Gate) _disposed = true;
    }

    private void WriteAll(long offset, ReadOnlySpan<byte> source)
    {
        lock (_owner.Gate)
        {
            ThrowIfNotWritable("pwritev");
            if (!source.IsEmpty) _inode.Write(_owner.NextSequence(), offset, source);
        }
    }

    private void Sync(FileOperationKind kind, bool metadata)
    {
        _owner.Announce(new FileOperation(kind, Path));
        lock (_owner.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _inode.Sync(metadata);
        }
    }

    private void ThrowIfNotWritable(string operation)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_writable) throw new DiskException(operation, Path, Errno.BadHandle, Errno.Describe(Errno.BadHandle));
    }
}
