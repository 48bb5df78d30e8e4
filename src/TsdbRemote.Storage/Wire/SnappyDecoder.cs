using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TsdbRemote.Storage.Wire;

/// <summary>Decodes the elements of a snappy block, and says whether they are whole: nothing missing, nothing behind the end. Stateless, thread-safe.</summary>
/// <remarks>
/// One pass. Far from the end of the input an element is taken without looking twice: a tag's row in <see cref="Steps"/> says what it takes and makes, four
/// bytes are loaded whatever of them is the offset, and sixteen copied whatever of them is asked for. Hence <see cref="Slack"/>. Near the end, and for
/// long literals and copies that overlap closely, each step is checked by itself.
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

    // What is loaded behind a tag without looking: a literal's word, or an offset's four bytes.
    private const int Lookahead = 1 + Word;

    // For each tag: bytes that its element makes (bits 0..7), bytes of the offset that follow (8..15), the offset's upper bits (16..26). Of a literal
    // only the bytes that it makes, and 0 where its length follows.
    private static readonly uint[] Steps = MakeSteps();

    /// <summary>Decodes elements.</summary>
    /// <param name="elements">All of them; nothing else.</param>
    /// <param name="output">At least <paramref name="length"/> and <see cref="Slack"/> bytes; what is behind the length is overwritten.</param>
    /// <param name="length">Bytes that the elements have to make, exactly.</param>
    /// <returns>False if they make more or less, end early, or copy from before the start.</returns>
    public static bool TryDecode(ReadOnlySpan<byte> elements, Span<byte> output, int length)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(output.Length, length + Slack, nameof(output));
        ref byte source = ref MemoryMarshal.GetReference(elements);
        ref byte target = ref MemoryMarshal.GetReference(output);
        ref uint steps = ref MemoryMarshal.GetArrayDataReference(Steps);
        int at = 0;
        int made = 0;
        int safeEnd = elements.Length - Lookahead;
        while (at < elements.Length)
        {
            uint tag = Unsafe.Add(ref source, at);
            uint step = Unsafe.Add(ref steps, tag);
            int makes = (int)(step & 0xFF);
            if ((tag & 3) == 0)
            {
                if (makes is > 0 and <= Word && at <= safeEnd && makes <= length - made)
                {
                    CopyWord(ref Unsafe.Add(ref source, at + 1), ref Unsafe.Add(ref target, made));
                    at += 1 + makes;
                    made += makes;
                }
                else if (!TryCopyLiteral(elements, output[..length], ref at, ref made))
                {
                    return false;
                }

                continue;
            }

            int offsetBytes = (int)(step >> 8) & 0xFF;
            uint offset;
            if (at <= safeEnd)
            {
                uint next = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref source, at + 1));
                if (!BitConverter.IsLittleEndian) next = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(next);
                offset = (step >> 16) + (uint)(next & ((1UL << (offsetBytes * 8)) - 1));
            }
            else if (!TryReadOffset(elements, at + 1, offsetBytes, step >> 16, out offset))
            {
                return false;
            }

            // An offset of 0 becomes the largest number of all.
            if (offset - 1 >= (uint)made || makes > length - made) return false;
            at += 1 + offsetBytes;
            ref byte to = ref Unsafe.Add(ref target, made);
            ref byte from = ref Unsafe.Subtract(ref to, (int)offset);
            made += makes;
            if (offset >= Word)
            {
                CopyWord(ref from, ref to);
                for (int done = Word; done < makes; done += Word) CopyWord(ref Unsafe.Add(ref from, done), ref Unsafe.Add(ref to, done));
            }
            else
            {
                CopyClosely(ref from, ref to, (int)offset, makes);
            }
        }

        return made == length;
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
    private static void CopyWord(ref byte from, ref byte to) => Unsafe.WriteUnaligned(ref to, Unsafe.ReadUnaligned<UInt128>(ref from));

    private static uint[] MakeSteps()
    {
        uint[] steps = new uint[256];
        for (uint tag = 0; tag < steps.Length; tag++)
        {
            uint upper = tag >> 2;
            (uint makes, uint offsetBytes, uint offset) = (tag & 3) switch
            {
                0 => (upper < LongestShortLiteral ? 1 + upper : 0, 0u, 0u),
                1 => (4 + (upper & 7), 1u, tag >> 5 << 8),
                2 => (1 + upper, 2u, 0u),
                _ => (1 + upper, 4u, 0u),
            };
            steps[tag] = makes | (offsetBytes << 8) | (offset << 16);
        }

        return steps;
    }
}
