using System.Numerics;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Makes wrong inputs of good ones. The number of a mutation decides everything about it, so that a failure can be made again by its number.</summary>
/// <remarks>
/// Chooses a good input, then one to six changes: a bit, a byte, a number at its limits, a cut, a piece taken out, twice or from another input. Of inputs with checksums
/// three in four have them put right after that: the others end at the first.
/// </remarks>
internal sealed class Mutator(IReadOnlyList<byte[]> corpus, Seal? seal = null)
{
    private static readonly byte[][] Edges =
    [
        [0], [1], [0x7f], [0x80], [0xff], [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], [0xff, 0xff, 0xff, 0xff, 0x0f], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        [0, 0, 0, 0, 0, 0, 0xf0, 0x7f], [2, 0, 0, 0, 0, 0, 0xf0, 0x7f], [0, 0, 0, 0, 0, 0, 0xf8, 0xff], [0xff, 0xff, 0xff, 0xff],
    ];

    private byte[] _bytes = new byte[4096];
    private int _length;
    private ulong _state;

    /// <summary>The mutation of a number; good until the next call.</summary>
    public ReadOnlySpan<byte> Make(long number)
    {
        _state = (ulong)number * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D;
        byte[] good = corpus[Next(corpus.Count)];
        _length = 0;
        Insert(0, good);
        for (int changes = 1 + Next(6); changes > 0; changes--) Change();
        if (seal is not null && Next(4) != 0) seal(_bytes.AsSpan(0, _length));
        return _bytes.AsSpan(0, _length);
    }

    private void Change()
    {
        if (_length == 0)
        {
            Insert(0, Edges[Next(Edges.Length)]);
            return;
        }

        int at = Next(_length);
        switch (Next(9))
        {
            case 0:
                _length = at;
                break;
            case 1:
                Remove(at, Math.Min(1 + Next(16), _length - at));
                break;
            case 2:
                Insert(at, _bytes.AsSpan(at, Math.Min(1 + Next(32), _length - at)).ToArray());
                break;
            case 3:
                byte[] other = corpus[Next(corpus.Count)];
                int from = Next(other.Length + 1);
                Insert(at, other.AsSpan(from, Math.Min(Next(48), other.Length - from)));
                break;
            case 4:
                byte[] edge = Edges[Next(Edges.Length)];
                if (Next(2) == 0) Insert(at, edge);
                else edge.AsSpan(0, Math.Min(edge.Length, _length - at)).CopyTo(_bytes.AsSpan(at));
                break;
            case 5:
                _bytes[at] = (byte)Next(256);
                break;
            case 6:
                _bytes[at] += (byte)(Next(2) == 0 ? 1 : 255);
                break;
            default:
                _bytes[at] ^= (byte)(1 << Next(8));
                break;
        }
    }

    private void Insert(int at, ReadOnlySpan<byte> piece)
    {
        if (_length + piece.Length > _bytes.Length) Array.Resize(ref _bytes, (int)BitOperations.RoundUpToPowerOf2((uint)(_length + piece.Length)));
        _bytes.AsSpan(at, _length - at).CopyTo(_bytes.AsSpan(at + piece.Length));
        piece.CopyTo(_bytes.AsSpan(at));
        _length += piece.Length;
    }

    private void Remove(int at, int count)
    {
        _bytes.AsSpan(at + count, _length - at - count).CopyTo(_bytes.AsSpan(at));
        _length -= count;
    }

    /// <summary>Vigna's xorshift64*.</summary>
    private int Next(int below)
    {
        _state ^= _state >> 12;
        _state ^= _state << 25;
        _state ^= _state >> 27;
        return (int)(((_state * 0x2545F4914F6CDD1D) >> 33) % (ulong)below);
    }
}
