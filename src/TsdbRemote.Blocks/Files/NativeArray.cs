using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>An array outside the garbage-collected heap: for what is large, lives as long as one piece of work, and would stay as garbage long after it.</summary>
/// <remarks>One owner, who disposes it. Not thread-safe. A finalizer frees what an owner forgot.</remarks>
/// <typeparam name="T">What it holds.</typeparam>
internal sealed unsafe class NativeArray<T> : IDisposable
    where T : unmanaged
{
    private T* _values;

    /// <summary>An array of zeros.</summary>
    /// <param name="length">How many, 0 or more.</param>
    public NativeArray(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        _values = (T*)NativeMemory.AllocZeroed((nuint)Math.Max(length, 1), (nuint)sizeof(T));
        Length = length;
    }

    /// <summary>Frees what was not disposed.</summary>
    ~NativeArray() => Free();

    /// <summary>How many there are.</summary>
    public int Length { get; private set; }

    /// <summary>All of them.</summary>
    public Span<T> Span => new(_values, Length);

    /// <summary>One of them.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is none of that index.</exception>
    public ref T this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Length, nameof(index));
            return ref _values[index];
        }
    }

    /// <summary>Makes it longer; what is added is zero. References to elements are void after that.</summary>
    /// <param name="length">At least as many as there are.</param>
    public void Grow(int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, Length);
        ObjectDisposedException.ThrowIf(_values == null, this);
        _values = (T*)NativeMemory.Realloc(_values, checked((nuint)Math.Max(length, 1) * (nuint)sizeof(T)));
        int before = Length;
        Length = length;
        Span[before..].Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.Free(_values);
        _values = null;
        Length = 0;
    }
}
