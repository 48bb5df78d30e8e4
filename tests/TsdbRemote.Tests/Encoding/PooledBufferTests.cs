using CsCheck;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Tests.Encodings;

public class PooledBufferTests
{
    [Fact]
    public void Appended_bytes_stay_through_any_growth() =>
        Gen.Byte.Array[0, 300].Array[0, 20].Sample(parts =>
        {
            using PooledBuffer buffer = PooledBuffer.Rent(1);
            foreach (byte[] part in parts) buffer.Append(part);
            return buffer.Span.SequenceEqual(parts.SelectMany(static part => part).ToArray());
        });

    [Fact]
    public void Disposing_twice_is_harmless_and_use_after_it_throws()
    {
        PooledBuffer buffer = PooledBuffer.Rent(10, 5);
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Span.Length);
        Assert.Throws<ObjectDisposedException>(() => buffer.Append([1]));
    }

    [Fact]
    public void The_length_stays_within_the_capacity()
    {
        using PooledBuffer buffer = PooledBuffer.Rent(10);
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.SetLength(buffer.Capacity + 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.SetLength(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => PooledBuffer.Rent(1, 2));
    }

    [Fact]
    public void Reserving_keeps_the_bytes_in_use_and_offers_the_space_behind_them()
    {
        using PooledBuffer buffer = PooledBuffer.Rent(4);
        buffer.Append([1, 2, 3]);
        Span<byte> free = buffer.Reserve(5000);
        free[0] = 4;
        buffer.SetLength(4);
        Assert.True(free.Length >= 5000);
        Assert.Equal([1, 2, 3, 4], buffer.Span.ToArray());
    }
}
