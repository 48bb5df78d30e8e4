using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.Wire;

/// <summary>Compresses a part of a snappy block whose maker says where it repeats itself, instead of looking for it at every byte.</summary>
/// <remarks>
/// Use:      <see cref="Mark"/> the offsets at which something starts that came before in much the same form, ascending; <see cref="Encode"/>; <see cref="Forget"/>.
///           Wrong marks cost size, never truth: every copy is of bytes that were compared.
/// <code>
///            previous mark        mark                             at a mark: the last place with the same eight bytes, by a hash,
///   … value ▼ time   tag  value … ▼ time   tag  value …            or else the end of them that equals the end of the last mark's;
///             ├──┤───────┤          ├──┤───────┤                   the match then grows as far as it goes, both ways
///              ↑ differ   same       literal, then one copy
/// </code>
/// So a sample costs one look-up and two comparisons, where an encoder that knows nothing looks at all of its 18 bytes.
/// Memory:   one table of 8 KiB and 16 KiB of marks. Not thread-safe. Nothing is read outside the part, nor written outside the target.
/// Source: google/snappy, format_description.txt.
/// </remarks>
internal sealed class SnappyEncoder
{
    private const int TableBits = 12;
    private const ulong HashFactor = 0x9E3779B97F4A7C15;
    private const int WordBytes = sizeof(ulong);

    // Shorter copies save less than they cost: three bytes, and as many in front of the next literal.
    private const int ShortestCopy = 6;
    private const int CopiedAtOnce = 16;
    private const int LongestCopyElement = 64;
    private const int LongestShortLiteral = 60;
    private const int LongestOneByteLiteral = 256;

    private readonly ushort[] _table = new ushort[1 << TableBits];
    private readonly ushort[] _marks = new ushort[8192];

    /// <summary>Places marked.</summary>
    public int Marks { get; private set; }

    /// <summary>Room that a part may take: its own bytes, the last literal's head, and what is stored beyond it at once.</summary>
    public static int MaxBytes(int partBytes) => partBytes + 3 + CopiedAtOnce;

    /// <summary>Marks a place; beyond some thousands they are left out.</summary>
    /// <param name="offset">In the part, behind the last mark.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Mark(int offset)
    {
        if (Marks < _marks.Length) _marks[Marks++] = (ushort)offset;
    }

    /// <summary>Appends the elements of a part, without a preamble.</summary>
    /// <param name="part">At most <see cref="SnappyBlock.MaxFragmentBytes"/> bytes.</param>
    /// <param name="output">Where they are appended.</param>
    public void Encode(ReadOnlySpan<byte> part, PooledBuffer output)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(part.Length, SnappyBlock.MaxFragmentBytes, nameof(part));
        Span<byte> room = output.Reserve(MaxBytes(part.Length));
        int written = EncodeInto(part, room);
        output.SetLength(output.Length + written);
    }

    /// <summary>Forgets the marks: the next part begins.</summary>
    public void Forget() => Marks = 0;

    /// <summary>As <see cref="Encode"/>, into room of at least <see cref="MaxBytes"/>.</summary>
    internal int EncodeInto(ReadOnlySpan<byte> part, Span<byte> target)
    {
        Invariant.Check(target.Length >= MaxBytes(part.Length), "the elements of a part have room");
        Array.Clear(_table);
        ref byte source = ref MemoryMarshal.GetReference(part);
        ref byte start = ref MemoryMarshal.GetReference(target);
        int emitted = 0;
        int at = 0;
        int last = -1;
        foreach (ushort mark in _marks.AsSpan(0, Marks))
        {
            if (mark <= last) continue;
            if (mark + WordBytes > part.Length) break;
            (int from, int distance) = FindMatch(ref source, mark, last, emitted);
            last = mark;
            int end = distance == 0 ? 0 : EndOfMatch(ref source, part.Length, Math.Max(mark + WordBytes, emitted), distance);
            if (end - from < ShortestCopy) continue;
            at = PutLiteral(ref source, part.Length, emitted, from - emitted, ref start, at);
            at = PutCopy(ref start, at, distance, end - from);
            emitted = end;
        }

        return emitted == part.Length ? at : PutLiteral(ref source, part.Length, emitted, part.Length - emitted, ref start, at);
    }

    /// <summary>Where the best match around a mark begins, and how far back its copy lies; a distance of 0 is none.</summary>
    private (int From, int Distance) FindMatch(ref byte source, int mark, int last, int emitted)
    {
        ulong word = Load(ref source, mark);
        ref ushort slot = ref _table[(int)((word * HashFactor) >> (64 - TableBits))];
        int candidate = slot;
        slot = (ushort)mark;
        if (candidate < mark && Load(ref source, candidate) == word)
        {
            int from = mark;
            while (from > emitted && candidate > 0 && Unsafe.Add(ref source, from - 1) == Unsafe.Add(ref source, candidate - 1))
            {
                from--;
                candidate--;
            }

            return (Math.Max(from, emitted), from - candidate);
        }

        if (last < 0) return default;
        int equal = BitOperations.LeadingZeroCount(word ^ Load(ref source, last)) >> 3;
        return equal == 0 ? default : (Math.Max(mark + WordBytes - equal, emitted), mark - last);
    }

    /// <summary>Where the bytes stop being those before them by a distance.</summary>
    private static int EndOfMatch(ref byte source, int length, int at, int distance)
    {
        while (at + WordBytes <= length)
        {
            ulong difference = Load(ref source, at) ^ Load(ref source, at - distance);
            if (difference != 0) return at + (BitOperations.TrailingZeroCount(difference) >> 3);
            at += WordBytes;
        }

        while (at < length && Unsafe.Add(ref source, at) == Unsafe.Add(ref source, at - distance)) at++;
        return at;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int PutLiteral(ref byte source, int length, int from, int count, ref byte target, int at)
    {
        if (count == 0) return at;
        if (count > CopiedAtOnce || from + CopiedAtOnce > length) return PutLongLiteral(ref source, from, count, ref target, at);
        Unsafe.Add(ref target, at++) = (byte)((count - 1) << 2);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref target, at), Unsafe.ReadUnaligned<UInt128>(ref Unsafe.Add(ref source, from)));
        return at + count;
    }

    private static int PutLongLiteral(ref byte source, int from, int count, ref byte target, int at)
    {
        int less = count - 1;
        if (count <= LongestShortLiteral) Unsafe.Add(ref target, at++) = (byte)(less << 2);
        else
        {
            bool isOneByte = count <= LongestOneByteLiteral;
            Unsafe.Add(ref target, at++) = (byte)((isOneByte ? 60 : 61) << 2);
            Unsafe.Add(ref target, at++) = (byte)less;
            if (!isOneByte) Unsafe.Add(ref target, at++) = (byte)(less >> 8);
        }

        Unsafe.CopyBlockUnaligned(ref Unsafe.Add(ref target, at), ref Unsafe.Add(ref source, from), (uint)count);
        return at + count;
    }

    /// <summary>A copy in elements of 4 to 64 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int PutCopy(ref byte target, int at, int distance, int count)
    {
        while (count > LongestCopyElement)
        {
            // What is left must not be too short for an element of its own.
            int piece = count >= LongestCopyElement + 4 ? LongestCopyElement : LongestCopyElement - 4;
            at = PutCopyOf2(ref target, at, distance, piece);
            count -= piece;
        }

        if (count >= 12 || distance >= 2048) return PutCopyOf2(ref target, at, distance, count);
        Unsafe.Add(ref target, at) = (byte)(((distance >> 8) << 5) | ((count - 4) << 2) | 1);
        Unsafe.Add(ref target, at + 1) = (byte)distance;
        return at + 2;
    }

    private static int PutCopyOf2(ref byte target, int at, int distance, int count)
    {
        Unsafe.Add(ref target, at) = (byte)(((count - 1) << 2) | 2);
        Unsafe.Add(ref target, at + 1) = (byte)distance;
        Unsafe.Add(ref target, at + 2) = (byte)(distance >> 8);
        return at + 3;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Load(ref byte source, int at)
    {
        ulong word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref source, at));
        return BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
    }
}
