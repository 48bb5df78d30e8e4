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
    public NativeBytes Allocate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        long rounded = ((long)length + 7) & ~7L;
        if (_end - _next < rounded) TakeBlock(rounded);
        byte* result = _next;
        _next += rounded;
        return new NativeBytes(result, length);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void TakeBlock(long needed)
    {
        long size = Math.Max(needed, _blockBytes);
        byte* block = (byte*)NativeMemory.AlignedAlloc((nuint)size, 64);
        _blocks.Add((nint)block);
        AllocatedBytes += size;
        _next = block;
        _end = block + size;
    }

    private void Free()
    {
        foreach (nint block in _blocks) NativeMemory.AlignedFree((void*)block);
        _blocks.Clear();
        AllocatedBytes = 0;
        _next = _end = null;
    }
}
