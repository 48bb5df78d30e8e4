using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TsdbRemote.Storage.Wire;

/// <summary>Decodes the elements of a snappy block, and says whether they are whole: nothing missing, nothing behind the end. Stateless, thread-safe.</summary>
/// <remarks>
/// One pass. Far from the ends an element is taken without asking what it is: a tag's row in <see cref="Steps"/> says what it takes and makes, four bytes
/// are loaded whatever of them is the offset, and 64 copied whatever of them is asked for, from the input or from what was made, by arithmetic instead
/// of a branch: literals and copies alternate so irregularly that a processor's guess between them is the dearest part of decoding. Hence
/// <see cref="Slack"/>. Near the ends, for long literals and for copies that overlap what they make, each step is checked by itself.
/// Safe: the input is a stranger's. Every read is behind a check against the input's length, every write against the declared one, and every copy
/// begins at or behind the first byte made.
/// Source: google/snappy, format_description.txt; the table's layout in <see cref="SnappyBlock"/>.
/// </remarks>
internal static class SnappyDecoder
{
    /// <summary>Bytes behind the decoded ones that are written to and mean nothing: a copy makes 64 at most, in steps of 16.</summary>
    public const int Slack = 64;

    private const int Word = 16;
    private const int HalfWord = 8;
    private const int LongestShortLiteral = 60;

    /// <summary>The most that a short literal or a copy makes, and so what is copied without looking.</summary>
    private const int Most = 64;

    // For each tag: bytes that its element makes (bits 0..7), bytes that it takes (8..15), the offset's upper bits (16..26). All 0 where a literal's
    // length follows.
    private static readonly uint[] Steps = MakeSteps();

    // For each kind of tag: which of the four bytes behind it are the offset.
    private static readonly uint[] OffsetMasks = [0, 0xFF, 0xFFFF, 0xFFFFFFFF];

    /// <summary>Decodes elements.</summary>
    /// <param name="elements">All of them; nothing else.</param>
    /// <param name="output">At least <paramref name="length"/> and <see cref="Slack"/> bytes; what is behind the length is overwritten.</param>
    /// <param name="length">Bytes that the elements have to make, exactly.</param>
    /// <returns>False if they make more or less, end early, or copy from before the start.</returns>
    public static bool TryDecode(ReadOnlySpan<byte> elements, Span<byte> output, int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(output.Length, length + Slack, nameof(output));
        int at = 0;
        int made = 0;
        while (at < elements.Length)
        {
            TakeShort(elements, output, length, ref at, ref made);
            if (at == elements.Length) break;
            bool taken = (elements[at] & 3) == 0
                ? TryCopyLiteral(elements, output[..length], ref at, ref made)
                : TryCopyBack(elements, output, length, ref at, ref made);
            if (!taken) return false;
        }

        return made == length;
    }

    /// <summary>Takes short literals and copies from afar, one after another, until there is another element or an end is near.</summary>
    private static unsafe void TakeShort(ReadOnlySpan<byte> elements, Span<byte> output, int length, ref int at, ref int made)
    {
        fixed (byte* source = elements)
        fixed (byte* target = output)
        fixed (uint* steps = Steps, masks = OffsetMasks)
        {
            byte* from = source + at;
            byte* safeEnd = source + elements.Length - (1 + Most);
            byte* to = target + made;
            byte* end = target + length;
            while (from <= safeEnd)
            {
                uint tag = *from;
                uint step = steps[tag];
                nint makes = (byte)step;
                uint next = *(uint*)(from + 1);
                if (!BitConverter.IsLittleEndian) next = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(next);
                nint offset = (nint)((step >> 16) + (ulong)(next & masks[tag & 3]));
                bool isLiteral = (tag & 3) == 0;
                bool isOther = (step == 0) | (makes > end - to) | (!isLiteral & ((offset < Most) | (offset > to - target)));
                if (isOther) break;
                nint literal = -(nint)Unsafe.BitCast<bool, byte>(isLiteral);
                nint begin = (nint)(to - offset);
                begin ^= (begin ^ (nint)(from + 1)) & literal;
                CopyMost((byte*)begin, to);
                from += (byte)(step >> 8);
                to += makes;
            }

            at = (int)(from - source);
            made = (int)(to - target);
        }
    }

    private static bool TryCopyBack(ReadOnlySpan<byte> elements, Span<byte> output, int length, ref int at, ref int made)
    {
        uint step = Steps[elements[at]];
        int makes = (int)(step & 0xFF);
        int takes = (int)(step >> 8) & 0xFF;
        if (!TryReadOffset(elements, at + 1, takes - 1, step >> 16, out uint offset)) return false;

        // An offset of 0 becomes the largest number of all.
        if (offset - 1 >= (uint)made || makes > length - made) return false;
        ref byte to = ref Unsafe.Add(ref MemoryMarshal.GetReference(output), made);
        ref byte from = ref Unsafe.Subtract(ref to, (int)offset);
        at += takes;
        made += makes;
        if (offset >= Word)
        {
            for (int done = 0; done < makes; done += Word) CopyWord(ref Unsafe.Add(ref from, done), ref Unsafe.Add(ref to, done));
        }
        else
        {
            CopyClosely(ref from, ref to, (int)offset, makes);
        }

        return true;
    }

    /// <summary>What a copy repeats overlaps what it makes: byte by byte, or in steps no longer than the offset.</summary>
    private static void CopyClosely(ref byte from, ref byte to, int offset, int makes)
    {
        int done = 0;
        if (offset >= HalfWord)
        {
            for (; done + HalfWord <= makes; done += HalfWord)
                Unsafe.WriteUnaligned(ref Unsafe.Add(ref to, done), Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref from, done)));
        }

        for (; done < makes; done++) Unsafe.Add(ref to, done) = Unsafe.Add(ref from, done);
    }

    private static bool TryCopyLiteral(ReadOnlySpan<byte> elements, Span<byte> output, ref int at, ref int made)
    {
        uint code = (uint)elements[at++] >> 2;
        ulong length = code + 1;
        if (code >= LongestShortLiteral)
        {
            int bytes = (int)code - (LongestShortLiteral - 1);
            if (bytes > elements.Length - at) return false;
            length = 1;
            for (int i = 0; i < bytes; i++) length += (ulong)elements[at + i] << (8 * i);
            at += bytes;
        }

        if (length > (ulong)(elements.Length - at) || length > (ulong)(output.Length - made)) return false;
        elements.Slice(at, (int)length).CopyTo(output[made..]);
        at += (int)length;
        made += (int)length;
        return true;
    }

    private static bool TryReadOffset(ReadOnlySpan<byte> elements, int at, int bytes, uint upper, out uint offset)
    {
        offset = upper;
        if (bytes > elements.Length - at) return false;
        for (int i = 0; i < bytes; i++) offset += (uint)elements[at + i] << (8 * i);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe void CopyMost(byte* from, byte* to)
    {
        Vector256<byte> first = Vector256.Load(from);
        Vector256<byte> second = Vector256.Load(from + Vector256<byte>.Count);
        first.Store(to);
        second.Store(to + Vector256<byte>.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CopyWord(ref byte from, ref byte to) => Unsafe.WriteUnaligned(ref to, Unsafe.ReadUnaligned<UInt128>(ref from));

    private static uint[] MakeSteps()
    {
        uint[] steps = new uint[256];
        for (uint tag = 0; tag < steps.Length; tag++)
        {
            uint upper = tag >> 2;
            (uint makes, uint takes, uint offset) = (tag & 3) switch
            {
                0 => upper < LongestShortLiteral ? (1 + upper, 2 + upper, 0u) : default,
                1 => (4 + (upper & 7), 2u, tag >> 5 << 8),
                2 => (1 + upper, 3u, 0u),
                _ => (1 + upper, 5u, 0u),
            };
            steps[tag] = makes | (takes << 8) | (offset << 16);
        }

        return steps;
    }
}
