namespace TsdbRemote.Blocks.Files;

/// <summary>A read-only map of a whole file. Counted by its readers; unmapped when the last one lets go.</summary>
/// <remarks>The file must never be cut or rewritten while mapped: the kernel answers with SIGBUS, which ends the process.</remarks>
public sealed unsafe class MappedFile : IDisposable
{
    private readonly Action<nint, long> _unmap;
    private readonly byte* _pointer;
    private ReferenceCount _references;
    private int _disposed;

    /// <summary>Takes over a mapping.</summary>
    /// <param name="pointer">First mapped byte.</param>
    /// <param name="length">Bytes mapped.</param>
    /// <param name="unmap">Called once with pointer and length.</param>
    public MappedFile(byte* pointer, long length, Action<nint, long> unmap)
    {
        _pointer = pointer;
        Length = length;
        _unmap = unmap;
    }

    /// <summary>Mapped bytes.</summary>
    public long Length { get; }

    /// <summary>A part of the file.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the file.</exception>
    public NativeBytes Slice(long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)offset, (ulong)Length, nameof(offset));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)length, (ulong)(Length - offset), nameof(length));
        return new NativeBytes(_pointer + offset, length);
    }

    /// <summary>Counts one more reader.</summary>
    public bool TryAcquire() => _references.TryAcquire();

    /// <summary>Lets a reader go.</summary>
    public void Release()
    {
        if (_references.Release()) _unmap((nint)_pointer, Length);
    }

    /// <summary>Lets the owner's reference go.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0) Release();
    }
}
