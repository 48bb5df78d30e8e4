using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>A run of bytes outside the garbage-collected heap: in a mapped file or in a <see cref="NativeArena"/>.</summary>
/// <remarks>Valid only while its owner is held; holding it does not keep the owner alive.</remarks>
public readonly unsafe struct NativeBytes
{
    private readonly byte* _pointer;

    /// <summary>Wraps memory owned by somebody else.</summary>
    public NativeBytes(byte* pointer, int length)
    {
        _pointer = pointer;
        Length = length;
    }

    /// <summary>Length in bytes.</summary>
    public int Length { get; }

    /// <summary>The first byte.</summary>
    public byte* Pointer => _pointer;

    /// <summary>The bytes as a span.</summary>
    public Span<byte> Span => new(_pointer, Length);

    /// <summary>The bytes as values, as many as are whole.</summary>
    public Span<T> As<T>()
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(Span);

    /// <summary>A part of the run.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the run.</exception>
    public NativeBytes Slice(int offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)offset, (uint)Length, nameof(offset));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)length, (uint)(Length - offset), nameof(length));
        return new NativeBytes(_pointer + offset, length);
    }
}
