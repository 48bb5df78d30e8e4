using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;
using ZstdSharp;

namespace TsdbRemote.Tests.Wire;

public sealed class ZstdFrameTests
{
    private const int Limit = 1 << 20;

    private static readonly Gen<byte[]> Raw = Gen.Select(Gen.Byte[0, 3].Array[0, 400], Gen.Int[1, 400], Gen.Byte.Array[0, 40])
        .Select(static (body, times, tail) => (byte[])[.. Enumerable.Repeat(body, times).SelectMany(static part => part), .. tail]);

    [Fact]
    public void What_was_packed_is_unpacked_whether_its_length_is_declared_or_not() => Gen.Select(Raw, Gen.Bool).Sample(
        (raw, isDeclared) =>
        {
            byte[] frame = isDeclared ? Pack(raw) : PackUndeclared(raw);
            Assert.Equal(CompressionStatus.Ok, ZstdFrame.TryDecompress(frame, Limit, out PooledBuffer? unpacked));
            using (unpacked) Assert.True(unpacked!.Span.SequenceEqual(raw));
        },
        iter: 300);

    [Fact]
    public void Damaged_frames_are_refused_or_make_no_more_than_allowed()
    {
        int refused = 0;
        Gen.Select(Raw, Gen.Int, Gen.Bool).Sample(
            (raw, seed, isDeclared) =>
            {
                byte[] frame = new OddWire(new Random(seed), 0).Damage(isDeclared ? Pack(raw) : PackUndeclared(raw));
                CompressionStatus status = ZstdFrame.TryDecompress(frame, Limit, out PooledBuffer? unpacked);
                Assert.Equal(status == CompressionStatus.Ok, unpacked is not null);
                using (unpacked) Assert.InRange(unpacked?.Length ?? 0, 0, Limit);
                if (status != CompressionStatus.Ok) refused++;
            },
            iter: 3000,
            threads: 1);
        Assert.True(refused > 500, "most damage should show");
    }

    [Fact]
    public void Every_prefix_of_a_frame_and_every_frame_with_bytes_behind_it_is_refused()
    {
        byte[] frame = Pack([.. Enumerable.Range(0, 3000).Select(static i => (byte)(i % 97 * (i / 500)))]);
        for (int length = 0; length < frame.Length; length++) Assert.NotEqual(CompressionStatus.Ok, Unpack(frame.AsSpan(0, length)));
        Assert.NotEqual(CompressionStatus.Ok, Unpack([.. frame, 0, 0, 0, 0, 0]));
        Assert.Equal(CompressionStatus.Ok, Unpack(frame));
    }

    [Theory]
    [InlineData("", CompressionStatus.Empty)]
    [InlineData("28b52ffd 20 00 01 00 00", CompressionStatus.Ok)]                         // one raw block of nothing
    [InlineData("28b52ffd 20 01 09 00 00 61", CompressionStatus.Ok)]                      // one raw block of one byte
    [InlineData("28b52ffd 20 02 09 00 00 61", CompressionStatus.Corrupt)]                 // declares one more
    [InlineData("28b52ffd e0 ffffffffffffff7f 09 00 00 61", CompressionStatus.Corrupt)]   // declares 8 EiB from one block
    [InlineData("28b52ffd e0 0000001000000000 09 00 00 61", CompressionStatus.Corrupt)]   // declares 256 MiB from one block
    [InlineData("2a00", CompressionStatus.Corrupt)]                                       // a snappy block
    public void A_frame_is_read_or_refused_for_its_own_reason(string hex, CompressionStatus expected) =>
        Assert.Equal(expected, Unpack(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))));

    [Fact]
    public void A_length_above_the_limit_is_too_large_and_one_at_the_limit_is_not()
    {
        Assert.Equal(CompressionStatus.TooLarge, ZstdFrame.TryDecompress(Pack(new byte[1001]), 1000, out _));
        Assert.Equal(CompressionStatus.Ok, ZstdFrame.TryDecompress(Pack(new byte[1000]), 1000, out PooledBuffer? unpacked));
        unpacked!.Dispose();
    }

    private static CompressionStatus Unpack(ReadOnlySpan<byte> frame)
    {
        CompressionStatus status = ZstdFrame.TryDecompress(frame, Limit, out PooledBuffer? raw);
        raw?.Dispose();
        return status;
    }

    private static byte[] Pack(byte[] raw)
    {
        using var packer = new Compressor();
        return packer.Wrap(raw).ToArray();
    }

    /// <summary>As a stream that does not know its end when it begins.</summary>
    private static byte[] PackUndeclared(byte[] raw)
    {
        using var packed = new MemoryStream();
        using (var packer = new CompressionStream(packed, leaveOpen: true))
        {
            packer.Write(raw.AsSpan(0, raw.Length / 2));
            packer.Flush();
            packer.Write(raw.AsSpan(raw.Length / 2));
        }

        return packed.ToArray();
    }
}
