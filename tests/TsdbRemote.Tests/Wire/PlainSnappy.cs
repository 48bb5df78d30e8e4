using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Tests.Wire;

/// <summary>A snappy block built from elements of all kinds, and the format's description turned into the plainest decoder there is.</summary>
internal sealed class PlainSnappy
{
    private readonly List<byte> _elements = [];
    private int _made;

    /// <summary>A block.</summary>
    /// <param name="elements">Each with its kind (0 literal, 1 to 3 copies), bytes made, offset, and the first byte of a literal.</param>
    /// <param name="lie">Added to the length that the block declares.</param>
    public PlainSnappy((int Kind, int Makes, int Offset, byte Value)[] elements, int lie)
    {
        Add(0, 1 + elements[0].Makes, 0, elements[0].Value);
        foreach ((int kind, int makes, int offset, byte value) in elements)
        {
            // Most copy from what is there.
            int reach = Math.Min(_made, kind == 1 ? 2047 : 65_535);
            Add(kind, makes, value == 7 ? offset : 1 + offset % reach, value);
        }

        Span<byte> preamble = stackalloc byte[Varint.MaxBytes];
        int bytes = Varint.Write(preamble, (uint)Math.Max(_made + lie, 0));
        Block = [.. preamble[..bytes], .. _elements];
    }

    public byte[] Block { get; }

    public byte[]? Decoded() => Decode(Block);

    /// <summary>One byte after the other.</summary>
    /// <returns>Null if the block is not whole.</returns>
    public static byte[]? Decode(ReadOnlySpan<byte> block)
    {
        int at = 0;
        if (!Varint.TryRead(block, ref at, out ulong declared) || declared > uint.MaxValue) return null;
        List<byte> made = [];
        while (at < block.Length)
        {
            int tag = block[at++];
            int upper = tag >> 2;
            int more = (tag & 3) switch { 0 => Math.Max(upper - 59, 0), 1 => 1, 2 => 2, _ => 4 };
            if (more > block.Length - at) return null;
            long number = 0;
            for (int i = 0; i < more; i++) number += (long)block[at++] << (8 * i);
            if ((tag & 3) == 0)
            {
                long literal = more == 0 ? upper + 1 : number + 1;
                if (literal > block.Length - at || made.Count + literal > (long)declared) return null;
                for (long i = 0; i < literal; i++) made.Add(block[at++]);
                continue;
            }

            long offset = (tag & 3) == 1 ? number + (tag >> 5 << 8) : number;
            int copy = (tag & 3) == 1 ? 4 + (upper & 7) : upper + 1;
            if (offset == 0 || offset > made.Count || made.Count + copy > (long)declared) return null;
            for (int i = 0; i < copy; i++) made.Add(made[^(int)offset]);
        }

        return (ulong)made.Count == declared ? [.. made] : null;
    }

    private void Add(int kind, int makes, int offset, byte value)
    {
        switch (kind)
        {
            case 0:
                if (makes <= 60) _elements.Add((byte)((makes - 1) << 2));
                else _elements.AddRange([61 << 2, (byte)(makes - 1), (byte)((makes - 1) >> 8)]);
                for (int i = 0; i < makes; i++) _elements.Add((byte)(value + i * 31));
                break;
            case 1:
                makes = 4 + makes % 8;
                _elements.AddRange([(byte)(1 | ((makes - 4) << 2) | (offset % 2048 >> 8 << 5)), (byte)offset]);
                break;
            default:
                makes = 1 + makes % 64;
                _elements.AddRange([(byte)(kind | ((makes - 1) << 2)), (byte)offset, (byte)(offset >> 8)]);
                if (kind == 3) _elements.AddRange([(byte)(offset >> 16), 0]);
                break;
        }

        _made += makes;
    }
}
