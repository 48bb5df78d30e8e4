using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>Native memory handed out in order and freed all at once.</summary>
/// <remarks>
/// Use: one owner; <see cref="Allocate"/> as often as needed, <see cref="Dispose"/> once nobody reads any more.
/// What was handed out never moves. Not thread-safe. A finalizer frees what an owner forgot.
/// </remarks>
public sealed unsafe class NativeArena : IDisposable
{
    private readonly int _blockBytes;
    private readonly List<nint> _blocks = [];
    private byte* _next;
    private byte* _end;
    private bool _disposed;

    /// <summary>An empty arena.</summary>
    /// <param name="blockBytes">Bytes taken from the system at a time, 4 KiB or more; larger requests get a block of their own.</param>
    public NativeArena(int blockBytes = 1 << 20)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockBytes, 4096);
        _blockBytes = blockBytes;
    }

    /// <summary>Frees what was not disposed.</summary>
    ~NativeArena() => Free();

    /// <summary>Bytes taken from the system.</summary>
    public long AllocatedBytes { get; private set; }

    /// <summary>Hands out <paramref name="length"/> bytes, aligned to 8. The contents are undefined.</summary>
    /// <exception cref="ObjectDisposedException">The arena has been freed.</exception>
    public NativeBytes Allocate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        long rounded = ((long)length + 7) & ~7L;
        byte* result = _next;
        if (_end - _next < rounded) result = TakeBlock(rounded);
        else _next += rounded;
        return new NativeBytes(result, length);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>Takes a block from the system and hands out its beginning.</summary>
    private byte* TakeBlock(long needed)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);

        // A large request gets a block of its own, and the current one goes on serving small ones.
        bool alone = needed > _blockBytes / 4;
        long size = alone ? needed : _blockBytes;
        _blocks.EnsureCapacity(_blocks.Count + 1);
        byte* block = (byte*)NativeMemory.AlignedAlloc((nuint)size, 64);
        _blocks.Add((nint)block);
        AllocatedBytes += size;
        if (!alone)
        {
            _next = block + needed;
            _end = block + size;
        }

        return block;
    }

    private void Free()
    {
        foreach (nint block in _blocks) NativeMemory.AlignedFree((void*)block);
        _blocks.Clear();
        AllocatedBytes = 0;
        _next = _end = null;
        _disposed = true;
    }
}
