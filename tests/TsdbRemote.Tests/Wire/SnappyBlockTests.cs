using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Wire;

public sealed class SnappyBlockTests
{
    private const int Limit = 1 << 20;

    private static readonly Gen<byte[]> Compressible =
        Gen.Select(Gen.Byte[0, 3].Array[0, 400], Gen.Int[1, 8], Gen.Byte.Array[0, 40])
            .Select(static (body, times, tail) => (byte[])[.. Enumerable.Repeat(body, times).SelectMany(static part => part), .. tail]);

    [Fact]
    public void What_one_library_packs_both_unpack() => Compressible.Sample(
        raw =>
        {
            using PooledBuffer block = SnappyBlock.Compress(raw);
            foreach (byte[] packed in new[] { block.Span.ToArray(), IronSnappy.Snappy.Encode(raw) })
            {
                Assert.Equal(raw, Unpack(packed, out SnappyStatus status));
                Assert.Equal(SnappyStatus.Ok, status);
                Assert.Equal(raw, UnpackRead(packed, out status));
                Assert.Equal(SnappyStatus.Ok, status);
            }
        },
        iter: 500);

    [Fact]
    public void Both_libraries_answer_alike_to_damaged_blocks()
    {
        int refused = 0;
        Gen.Select(Compressible, Gen.Int).Sample(
            (raw, seed) =>
            {
                byte[] block = new OddWire(new Random(seed), 0).Damage(IronSnappy.Snappy.Encode(raw));
                byte[]? write = Unpack(block, out SnappyStatus writeStatus);
                byte[]? read = UnpackRead(block, out SnappyStatus readStatus);
                Assert.Equal(readStatus, writeStatus);
                Assert.Equal(read, write);
                if (write is null) refused++;
            },
            iter: 3000,
            threads: 1);
        Assert.True(refused > 500, "most damage should show");
    }

    [Theory]
    [InlineData("", SnappyStatus.Empty)]
    [InlineData("00", SnappyStatus.Ok)]
    [InlineData("0100 61", SnappyStatus.Ok)]
    [InlineData("05 00 61 02 0100", SnappyStatus.Corrupt)]                      // makes two bytes of five
    [InlineData("05 00 61 0E 0100", SnappyStatus.Ok)]                           // an overlapping copy of four
    [InlineData("05 00 61 0E 0000", SnappyStatus.Corrupt)]                      // offset 0
    [InlineData("05 00 61 0E 0200", SnappyStatus.Corrupt)]                      // before the start
    [InlineData("05 00 61 0F 01000000", SnappyStatus.Ok)]                       // 32-bit offset
    [InlineData("05 00 61 0F 01000080", SnappyStatus.Corrupt)]                  // an offset that is negative as int
    [InlineData("01 00 61 00", SnappyStatus.Corrupt)]                           // half an element behind the end
    [InlineData("01 00 61 00 62", SnappyStatus.Corrupt)]                        // an element behind the end
    [InlineData("01 04 61", SnappyStatus.Corrupt)]                              // a literal that runs past the input
    [InlineData("01 04 61 62", SnappyStatus.Corrupt)]                           // a literal longer than declared
    [InlineData("03 F0 02 616263", SnappyStatus.Ok)]                            // literal with one length byte
    [InlineData("03 FC 02000000 616263", SnappyStatus.Ok)]                      // literal with four length bytes
    [InlineData("03 FC 020000", SnappyStatus.Corrupt)]                          // its length bytes are cut
    [InlineData("03 FC FFFFFFFF 616263", SnappyStatus.Corrupt)]
    [InlineData("02 00 61", SnappyStatus.Corrupt)]                              // shorter than declared
    [InlineData("80", SnappyStatus.Corrupt)]                                    // half a length
    [InlineData("8080808001", SnappyStatus.TooLarge)]                           // claims 256 MiB and has nothing
    [InlineData("FFFFFFFF0F 00", SnappyStatus.TooLarge)]
    [InlineData("FFFFFFFF1F 00", SnappyStatus.Corrupt)]                         // beyond 32 bits
    [InlineData("808040 FE0100", SnappyStatus.Corrupt)]                         // 1 MiB from three bytes: a lie, told by arithmetic
    [InlineData("FF060000734E61507059", SnappyStatus.Framed)]
    [InlineData("FF060000734E61507059 00040000 00000000", SnappyStatus.Framed)]
    public void A_block_is_read_or_refused_for_its_own_reason(string hex, SnappyStatus expected)
    {
        byte[] block = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        byte[]? write = Unpack(block, out SnappyStatus status);
        Assert.Equal(expected, status);
        Assert.Equal(expected == SnappyStatus.Ok, write is not null);
        Assert.Equal(write, UnpackRead(block, out status));
        Assert.Equal(expected, status);
    }

    [Fact]
    public void A_length_above_the_limit_is_too_large_and_one_at_the_limit_is_not()
    {
        byte[] raw = new byte[1000];
        using PooledBuffer block = SnappyBlock.Compress(raw);
        Assert.Equal(SnappyStatus.TooLarge, SnappyBlock.TryDecompress(block.Span, 999, out _));
        Assert.Equal(SnappyStatus.Ok, SnappyBlock.TryDecompress(block.Span, 1000, out PooledBuffer? unpacked));
        using (unpacked) Assert.Equal(raw, unpacked!.Span.ToArray());
    }

    [Fact]
    public void A_lying_header_costs_no_memory()
    {
        byte[] bomb = [0x80, 0x80, 0x80, 0x0F, 0xFE, 0x01, 0x00];  // claims 30 MiB, inside the limit
        SnappyBlock.TryDecompress(bomb, 32 << 20, out _);
        SnappyBlock.TryDecompressRead(bomb, 32 << 20, out _);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(SnappyStatus.Corrupt, SnappyBlock.TryDecompress(bomb, 32 << 20, out _));
        Assert.Equal(SnappyStatus.Corrupt, SnappyBlock.TryDecompressRead(bomb, 32 << 20, out _));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4096);
    }

    [Fact]
    public void The_declared_length_is_known_from_five_bytes()
    {
        Assert.True(SnappyBlock.TryReadLength([0x80, 0x80, 0x80, 0x80, 0x01], out uint declared, out int preamble));
        Assert.Equal(256u << 20, declared);
        Assert.Equal(5, preamble);
    }

    [Fact]
    public void Fragments_and_literals_behind_one_preamble_are_one_block() => Gen.Select(Compressible, Compressible).Sample(
        static (first, second) =>
        {
            using PooledBuffer block = PooledBuffer.Rent(16);
            byte[] head = [1, 2, 3];
            Span<byte> preamble = block.Reserve(Varint.MaxBytes);
            block.SetLength(Varint.Write(preamble, (uint)(first.Length + head.Length + second.Length)));
            SnappyBlock.CompressFragment(first, block);
            SnappyBlock.AppendLiteral(head, block);
            SnappyBlock.CompressFragment(second, block);
            byte[] whole = [.. first, .. head, .. second];
            Assert.Equal(whole, Unpack(block.Span, out _));
            Assert.Equal(whole, UnpackRead(block.Span, out _));
        },
        iter: 300);

    private static byte[]? Unpack(ReadOnlySpan<byte> block, out SnappyStatus status)
    {
        status = SnappyBlock.TryDecompress(block, Limit, out PooledBuffer? raw);
        using (raw) return raw?.Span.ToArray();
    }

    private static byte[]? UnpackRead(ReadOnlySpan<byte> block, out SnappyStatus status)
    {
        status = SnappyBlock.TryDecompressRead(block, Limit, out PooledBuffer? raw);
        using (raw) return raw?.Span.ToArray();
    }
}
