using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wire;

public sealed class SnappyEncoderTests
{
    // Runs that come again at any distance, also overlapping ones, between bytes that do not.
    private static readonly Gen<byte[]> Parts = Gen.Select(
        Gen.Select(Gen.Bool, Gen.Int[1, 80], Gen.Frequency((4, Gen.Int[1, 40]), (2, Gen.Int[1, 3000]), (1, Gen.Int[1, 65_535])), Gen.Byte[0, 3].Array[1, 80]).Array[0, 300],
        Gen.Frequency((3, Gen.Int[0, 5000]), (1, Gen.Int[0, SnappyBlock.MaxFragmentBytes])),
        static (pieces, length) =>
        {
            var part = new List<byte>(new byte[Math.Min(1, length)]);
            for (int i = 0; i < pieces.Length && part.Count < length; i++)
            {
                (bool isCopy, int count, int distance, byte[] fresh) = pieces[i];
                if (!isCopy) part.AddRange(fresh);
                else for (int k = 0; k < count; k++) part.Add(part[^Math.Min(distance, part.Count)]);
            }

            while (part.Count < length) part.Add((byte)(part.Count * 7 % 251));
            return part.Take(length).ToArray();
        });

    private static readonly Gen<int[]> Marks = Gen.Frequency((3, Gen.Int[0, 40]), (1, Gen.Int[0, 2000])).Array[0, 2000];

    [Fact]
    public void Any_part_with_any_marks_is_unpacked_by_both_decoders_and_touches_nothing_outside()
    {
        using var source = new GuardedBytes(SnappyBlock.MaxFragmentBytes);
        using var target = new GuardedBytes(SnappyEncoder.MaxBytes(SnappyBlock.MaxFragmentBytes));
        var encoder = new SnappyEncoder();
        Gen.Select(Parts, Marks).Sample(
            (raw, steps) =>
            {
                Span<byte> part = source.Last(raw.Length);
                raw.CopyTo(part);
                Span<byte> room = target.Last(SnappyEncoder.MaxBytes(raw.Length));
                Mark(encoder, raw.Length, steps);
                byte[] block = [.. Preamble(raw.Length), .. room[..encoder.EncodeInto(part, room)]];
                encoder.Forget();
                Assert.Equal(CompressionStatus.Ok, SnappyBlock.TryDecompress(block, raw.Length, out PooledBuffer? unpacked));
                using (unpacked) Assert.Equal(raw, unpacked!.Span.ToArray());
                Assert.Equal(raw, PlainSnappy.Decode(block));
            },
            iter: 1500,
            threads: 1);
    }

    [Fact]
    public void What_comes_again_at_a_mark_is_copied_from_there()
    {
        byte[] word = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        byte[] part = [.. word, .. new byte[] { 20, 21 }, .. word, 30];
        var encoder = new SnappyEncoder();
        encoder.Mark(0);
        encoder.Mark(12);
        using PooledBuffer output = PooledBuffer.Rent(16);
        encoder.Encode(part, output);
        Assert.Equal("2c" + "0102030405060708090a" + "1415" + "190c" + "001e", Convert.ToHexStringLower(output.Span));   // literal of 12, copy of 10 from 12 back, literal of 1
    }

    [Fact]
    public void What_ends_as_at_the_last_mark_is_copied_too()
    {
        byte[] part = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 21, 22, 4, 5, 6, 7, 8, 9, 10];
        var encoder = new SnappyEncoder();
        encoder.Mark(0);
        encoder.Mark(10);
        using PooledBuffer output = PooledBuffer.Rent(16);
        encoder.Encode(part, output);
        Assert.Equal("30" + "0102030405060708090a141516" + "0d0a", Convert.ToHexStringLower(output.Span));
    }

    [Fact]
    public void Marks_without_a_repetition_leave_one_literal()
    {
        byte[] part = [.. Enumerable.Range(0, 200).Select(static i => (byte)i)];
        var encoder = new SnappyEncoder();
        for (int i = 0; i < part.Length; i++) encoder.Mark(i);
        using PooledBuffer output = PooledBuffer.Rent(16);
        encoder.Encode(part, output);
        Assert.Equal([60 << 2, 199, .. part], output.Span.ToArray());
    }

    private static void Mark(SnappyEncoder encoder, int length, int[] steps)
    {
        int at = 0;
        foreach (int step in steps)
        {
            at += step;
            if (at < length) encoder.Mark(at);
        }
    }

    private static byte[] Preamble(int length)
    {
        byte[] preamble = new byte[Varint.SizeOf((ulong)length)];
        Varint.Write(preamble, (ulong)length);
        return preamble;
    }
}
