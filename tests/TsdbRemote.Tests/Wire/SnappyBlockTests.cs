using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wire;

public sealed class SnappyBlockTests
{
    private const int Limit = 1 << 20;

    private static readonly Gen<byte[]> Compressible =
        Gen.Select(Gen.Byte[0, 3].Array[0, 400], Gen.Int[1, 8], Gen.Byte.Array[0, 40])
            .Select(static (body, times, tail) => (byte[])[.. Enumerable.Repeat(body, times).SelectMany(static part => part), .. tail]);

    // Elements of all kinds with lengths and offsets that mostly hold, so that copies overlap in every way and end near the end.
    private static readonly Gen<PlainSnappy> Elements = Gen.Select(
        Gen.Select(Gen.Int[0, 3], Gen.Frequency((6, Gen.Int[1, 20]), (2, Gen.Int[21, 64]), (1, Gen.Int[65, 300])), Gen.Frequency((5, Gen.Int[1, 24]), (3, Gen.Int[0, 400]), (1, Gen.Int[0, 70_000])), Gen.Byte)
            .Array[1, 40],
        Gen.Frequency((12, Gen.Const(0)), (1, Gen.Int[-2, 2])),
        static (elements, lie) => new PlainSnappy(elements, lie));

    [Fact]
    public void What_a_library_packs_is_unpacked() => Compressible.Sample(
        raw =>
        {
            using PooledBuffer block = SnappyBlock.Compress(raw);
            foreach (byte[] packed in new[] { block.Span.ToArray(), IronSnappy.Snappy.Encode(raw) })
            {
                Assert.Equal(raw, Unpack(packed, out CompressionStatus status));
                Assert.Equal(CompressionStatus.Ok, status);
            }
        },
        iter: 500);

    [Fact]
    public void Any_elements_are_decoded_or_refused_as_one_byte_after_the_other()
    {
        int decoded = 0;
        Elements.Sample(
            elements =>
            {
                (byte[] block, byte[]? expected) = (elements.Block, elements.Decoded());
                Assert.Equal(expected, Unpack(block, out CompressionStatus status));
                Assert.Equal(expected is null ? CompressionStatus.Corrupt : CompressionStatus.Ok, status);
                if (expected is not null) Interlocked.Increment(ref decoded);
            },
            iter: 20_000);
        Assert.InRange(decoded, 2_000, 19_800);
    }

    [Fact]
    public void Nothing_is_touched_behind_the_input_or_behind_the_slack()
    {
        const int capacity = 1 << 17;
        using var input = new GuardedBytes(capacity);
        using var output = new GuardedBytes(capacity);
        Elements.Sample(
            elements =>
            {
                byte[] block = elements.Block;
                if (!SnappyBlock.TryReadLength(block, out uint length, out int preamble) || length > capacity - SnappyDecoder.Slack) return;
                Span<byte> packed = input.Last(block.Length - preamble);
                block.AsSpan(preamble).CopyTo(packed);
                Span<byte> unpacked = output.Last((int)length + SnappyDecoder.Slack);
                bool isWhole = SnappyDecoder.TryDecode(packed, unpacked, (int)length);
                Assert.Equal(elements.Decoded(), isWhole ? unpacked[..(int)length].ToArray() : null);
            },
            iter: 20_000,
            threads: 1);
    }

    [Fact]
    public void Damaged_blocks_are_decoded_or_refused_as_one_byte_after_the_other()
    {
        int refused = 0;
        Gen.Select(Compressible, Gen.Int).Sample(
            (raw, seed) =>
            {
                byte[] block = new OddWire(new Random(seed), 0).Damage(IronSnappy.Snappy.Encode(raw));
                byte[]? decoded = Unpack(block, out CompressionStatus status);
                Assert.Equal(status == CompressionStatus.Ok, decoded is not null);
                if (status is CompressionStatus.Ok or CompressionStatus.Corrupt) Assert.Equal(PlainSnappy.Decode(block), decoded);
                if (decoded is null) refused++;
            },
            iter: 3000,
            threads: 1);
        Assert.True(refused > 500, "most damage should show");
    }

    [Fact]
    public void Every_prefix_of_a_block_and_every_block_with_a_byte_more_is_refused()
    {
        byte[] block = IronSnappy.Snappy.Encode([.. Enumerable.Range(0, 3000).Select(static i => (byte)(i % 97 * (i / 500)))]);
        Assert.NotNull(Unpack(block, out _));
        for (int length = 1; length < block.Length; length++) Assert.Null(Unpack(block.AsSpan(0, length), out _));
        Assert.Null(Unpack([.. block, 0], out _));
    }

    [Theory]
    [InlineData("", CompressionStatus.Empty)]
    [InlineData("00", CompressionStatus.Ok)]
    [InlineData("0100 61", CompressionStatus.Ok)]
    [InlineData("05 00 61 02 0100", CompressionStatus.Corrupt)]                      // makes two bytes of five
    [InlineData("05 00 61 0E 0100", CompressionStatus.Ok)]                           // an overlapping copy of four
    [InlineData("05 00 61 0E 0000", CompressionStatus.Corrupt)]                      // offset 0
    [InlineData("05 00 61 0E 0200", CompressionStatus.Corrupt)]                      // before the start
    [InlineData("05 00 61 0F 01000000", CompressionStatus.Ok)]                       // 32-bit offset
    [InlineData("05 00 61 0F 01000080", CompressionStatus.Corrupt)]                  // an offset that is negative as int
    [InlineData("01 00 61 00", CompressionStatus.Corrupt)]                           // half an element behind the end
    [InlineData("01 00 61 00 62", CompressionStatus.Corrupt)]                        // an element behind the end
    [InlineData("01 04 61", CompressionStatus.Corrupt)]                              // a literal that runs past the input
    [InlineData("01 04 61 62", CompressionStatus.Corrupt)]                           // a literal longer than declared
    [InlineData("03 F0 02 616263", CompressionStatus.Ok)]                            // literal with one length byte
    [InlineData("03 FC 02000000 616263", CompressionStatus.Ok)]                      // literal with four length bytes
    [InlineData("03 FC 020000", CompressionStatus.Corrupt)]                          // its length bytes are cut
    [InlineData("03 FC FFFFFFFF 616263", CompressionStatus.Corrupt)]
    [InlineData("02 00 61", CompressionStatus.Corrupt)]                              // shorter than declared
    [InlineData("80", CompressionStatus.Corrupt)]                                    // half a length
    [InlineData("8080808001", CompressionStatus.TooLarge)]                           // claims 256 MiB and has nothing
    [InlineData("FFFFFFFF0F 00", CompressionStatus.TooLarge)]
    [InlineData("FFFFFFFF1F 00", CompressionStatus.Corrupt)]                         // beyond 32 bits
    [InlineData("808040 FE0100", CompressionStatus.Corrupt)]                         // 1 MiB from three bytes: a lie, told by arithmetic
    [InlineData("FF060000734E61507059", CompressionStatus.Framed)]
    [InlineData("FF060000734E61507059 00040000 00000000", CompressionStatus.Framed)]
    public void A_block_is_read_or_refused_for_its_own_reason(string hex, CompressionStatus expected)
    {
        byte[] block = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        byte[]? write = Unpack(block, out CompressionStatus status);
        Assert.Equal(expected, status);
        Assert.Equal(expected == CompressionStatus.Ok, write is not null);
        if (status is CompressionStatus.Ok or CompressionStatus.Corrupt) Assert.Equal(PlainSnappy.Decode(block), write);
    }

    [Fact]
    public void A_length_above_the_limit_is_too_large_and_one_at_the_limit_is_not()
    {
        byte[] raw = new byte[1000];
        using PooledBuffer block = SnappyBlock.Compress(raw);
        Assert.Equal(CompressionStatus.TooLarge, SnappyBlock.TryDecompress(block.Span, 999, out _));
        Assert.Equal(CompressionStatus.Ok, SnappyBlock.TryDecompress(block.Span, 1000, out PooledBuffer? unpacked));
        using (unpacked) Assert.Equal(raw, unpacked!.Span.ToArray());
    }

    [Fact]
    public void A_lying_header_costs_no_memory()
    {
        byte[] bomb = [0x80, 0x80, 0x80, 0x0F, 0xFE, 0x01, 0x00];  // claims 30 MiB, inside the limit
        SnappyBlock.TryDecompress(bomb, 32 << 20, out _);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(CompressionStatus.Corrupt, SnappyBlock.TryDecompress(bomb, 32 << 20, out _));
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
        },
        iter: 300);

    private static byte[]? Unpack(ReadOnlySpan<byte> block, out CompressionStatus status)
    {
        status = SnappyBlock.TryDecompress(block, Limit, out PooledBuffer? raw);
        using (raw) return raw?.Span.ToArray();
    }
}
