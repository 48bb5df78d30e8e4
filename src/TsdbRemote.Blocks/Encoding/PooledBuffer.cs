using System.Buffers;

namespace TsdbRemote.Blocks.Encoding;

/// <summary>The one owner type for rented arrays: who holds the object may use the bytes, and gives them back by disposing it.</summary>
/// <remarks>Disposing twice is harmless; using it after that throws. Handed on by passing the object, never the array.</remarks>
public sealed class PooledBuffer : IDisposable
{
    private byte[]? _array;

    private PooledBuffer(byte[] array, int length)
    {
        _array = array;
        Length = length;
    }

    /// <summary>
    /// Checked builds and tests set this: every returned array is filled with 0xDB first, so that a use after return shows.
    /// </summary>
    public static bool PoisonOnReturn { get; set; }

    /// <summary>Tests set this: told of the length of each array before it is rented, it may throw what a process without memory throws.</summary>
    public static Action<int>? Renting { get; set; }

    /// <summary>Tests set this: told of each array that is given back.</summary>
    public static Action? Returned { get; set; }

    /// <summary>Bytes in use; at most the capacity.</summary>
    public int Length { get; private set; }

    /// <summary>Bytes that fit without growing.</summary>
    public int Capacity => Array.Length;

    /// <summary>The bytes in use.</summary>
    public Span<byte> Span => Array.AsSpan(0, Length);

    /// <summary>The bytes in use.</summary>
    public Memory<byte> Memory => Array.AsMemory(0, Length);

    private byte[] Array => _array ?? throw new ObjectDisposedException(nameof(PooledBuffer));

    /// <summary>Rents at least <paramref name="capacity"/> bytes; <see cref="Length"/> starts at <paramref name="length"/>.</summary>
    public static PooledBuffer Rent(int capacity, int length = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, capacity);
        return new PooledBuffer(RentArray(capacity), length);
    }

    /// <summary>Sets the bytes in use.</summary>
    /// <exception cref="ArgumentOutOfRangeException">More than the capacity.</exception>
    public void SetLength(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)length, (uint)Array.Length, nameof(length));
        Length = length;
    }

    /// <summary>Appends bytes, growing at most by doubling.</summary>
    public void Append(ReadOnlySpan<byte> source)
    {
        source.CopyTo(Reserve(source.Length));
        Length += source.Length;
    }

    /// <summary>
    /// Free space of at least <paramref name="count"/> bytes behind the bytes in use; advance with <see cref="SetLength"/>.
    /// </summary>
    public Span<byte> Reserve(int count)
    {
        byte[] array = Array;
        if (array.Length - Length < count)
        {
            int doubled = (int)Math.Min(array.Length * 2L, System.Array.MaxLength);
            byte[] larger = RentArray(Math.Max(checked(Length + count), doubled));
            array.AsSpan(0, Length).CopyTo(larger);
            _array = larger;
            Return(array);
            array = larger;
        }

        return array.AsSpan(Length);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        byte[]? array = Interlocked.Exchange(ref _array, null);
        if (array is not null) Return(array);
    }

    private static byte[] RentArray(int capacity)
    {
        Renting?.Invoke(capacity);
        return ArrayPool<byte>.Shared.Rent(capacity);
    }

    private static void Return(byte[] array)
    {
        if (PoisonOnReturn) array.AsSpan().Fill(0xDB);
        ArrayPool<byte>.Shared.Return(array);
        Returned?.Invoke();
    }
}
