using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Storage.Wire;

/// <summary>
/// Walks the fields of one protobuf message inside a body. Any bytes are safe; what is malformed is a false, never an exception.
/// </summary>
/// <remarks>
/// Use: <c>while (!reader.AtEnd)</c> read a tag, then the value that its wire type promises, or <see cref="TrySkip"/>. Positions are
/// offsets in the body, also in nested messages. After a false the reader is spent: the body is malformed.
/// Accepts what Google.Protobuf accepts (overlong varints, a tenth varint byte whose upper bits are lost, any wire type in an unknown
/// field, groups), and is stricter where that parser drops bits or recurses: tags and lengths beyond 32 bits, groups deeper than
/// <see cref="MaxGroupDepth"/>.
/// Lives on the stack; copying it copies the position.
/// </remarks>
internal ref struct WireReader
{
    /// <summary>Deepest nesting of unknown groups that is skipped.</summary>
    public const int MaxGroupDepth = 32;

    private const int VarintType = 0;
    private const int Fixed64Type = 1;
    private const int LengthType = 2;
    private const int StartGroupType = 3;
    private const int EndGroupType = 4;
    private const int Fixed32Type = 5;
    private const int FirstValidTag = 1 << 3;

    private readonly ReadOnlySpan<byte> _body;
    private int _at;

    /// <summary>Reads the message that starts at <paramref name="start"/> and ends with <paramref name="body"/>.</summary>
    public WireReader(ReadOnlySpan<byte> body, int start)
    {
        _body = body;
        _at = start;
    }

    /// <summary>The body up to the end of this message.</summary>
    public readonly ReadOnlySpan<byte> Body => _body;

    /// <summary>Offset in the body of the next byte.</summary>
    public int Position { readonly get => _at; set => _at = value; }

    /// <summary>True once the message is read to its end.</summary>
    public readonly bool AtEnd => _at >= _body.Length;

    /// <summary>Reads a field's tag; field number 0 is malformed.</summary>
    public bool TryReadTag(out uint tag)
    {
        if ((uint)_at < (uint)_body.Length)
        {
            tag = _body[_at];
            if (tag < 0x80)
            {
                _at++;
                return tag >= FirstValidTag;
            }
        }

        bool read = Varint.TryRead(_body, ref _at, out ulong value) && value is >= FirstValidTag and <= uint.MaxValue;
        tag = (uint)value;
        return read;
    }

    /// <summary>Reads a number: a varint of up to ten bytes, of which the low 64 bits are kept.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryReadVarint(out ulong value)
    {
        if ((uint)_at < (uint)_body.Length)
        {
            value = _body[_at];
            if (value < 0x80)
            {
                _at++;
                return true;
            }
        }

        return TryReadLongVarint(out value);
    }

    /// <summary>Reads eight bytes, little-endian.</summary>
    public bool TryReadFixed64(out ulong value)
    {
        if (_body.Length - _at < sizeof(ulong))
        {
            value = 0;
            return false;
        }

        value = BinaryPrimitives.ReadUInt64LittleEndian(_body[_at..]);
        _at += sizeof(ulong);
        return true;
    }

    /// <summary>Reads a length and steps over that many bytes.</summary>
    public bool TryReadBytes(out int offset, out int length)
    {
        length = 0;
        offset = 0;
        if (!Varint.TryRead(_body, ref _at, out ulong announced) || announced > (ulong)(_body.Length - _at)) return false;
        offset = _at;
        length = (int)announced;
        _at += length;
        return true;
    }

    /// <summary>Reads a length and steps over the message of that length, which the new reader then reads.</summary>
    public bool TryReadMessage(out WireReader message)
    {
        bool read = TryReadBytes(out int offset, out _);
        message = read ? new WireReader(_body[.._at], offset) : default;
        return read;
    }

    /// <summary>The numbers of one field of a repeated number, packed or not, as a message of varints.</summary>
    /// <param name="tag">The field's tag, already read, of wire type 0 or 2.</param>
    /// <param name="numbers">Reads them.</param>
    public bool TryReadNumbers(uint tag, out WireReader numbers)
    {
        if ((tag & 7) == LengthType) return TryReadMessage(out numbers);
        int start = _at;
        bool read = TryReadVarint(out _);
        numbers = read ? new WireReader(_body[.._at], start) : default;
        return read;
    }

    /// <summary>Steps over the value of a field that nobody reads.</summary>
    /// <param name="tag">The field's tag, already read.</param>
    public bool TrySkip(uint tag) => (tag & 7) == StartGroupType ? TrySkipGroup(tag >> 3) : TrySkipScalar(tag);

    /// <summary>Steps over all fields that are left, none of which has parts that need a look of their own.</summary>
    public bool TrySkipRest()
    {
        while (!AtEnd)
        {
            if (!TryReadTag(out uint tag) || !TrySkip(tag)) return false;
        }

        return true;
    }

    private bool TrySkipScalar(uint tag) => (tag & 7) switch
    {
        VarintType => TryReadVarint(out _),
        Fixed64Type => TryStep(sizeof(ulong)),
        LengthType => TryReadBytes(out _, out _),
        Fixed32Type => TryStep(sizeof(uint)),
        _ => false, // an end without a start, or wire types 6 and 7, which do not exist
    };

    private bool TryStep(int bytes)
    {
        if (_body.Length - _at < bytes) return false;
        _at += bytes;
        return true;
    }

    private bool TryReadLongVarint(out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 7 * Varint.MaxBytes; shift += 7)
        {
            if ((uint)_at >= (uint)_body.Length) return false;
            byte b = _body[_at++];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80) return true;
        }

        return false;
    }

    /// <summary>Not recursive: the sender chooses the depth, we choose the stack.</summary>
    private bool TrySkipGroup(uint field)
    {
        Span<uint> open = stackalloc uint[MaxGroupDepth];
        int depth = 0;
        open[depth++] = field;
        while (depth > 0)
        {
            if (!TryReadTag(out uint tag)) return false;
            switch (tag & 7)
            {
                case StartGroupType:
                    if (depth == MaxGroupDepth) return false;
                    open[depth++] = tag >> 3;
                    break;
                case EndGroupType:
                    if (open[--depth] != tag >> 3) return false;
                    break;
                default:
                    if (!TrySkipScalar(tag)) return false;
                    break;
            }
        }

        return true;
    }
}
