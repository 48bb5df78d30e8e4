using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Model;

/// <summary>
/// Walks the labels of one run (see <see cref="Labels"/>) on the stack; accepts every legal protobuf spelling of it but groups.
/// </summary>
/// <remarks>
/// Use: <c>while (labels.MoveNext())</c> read <see cref="Name"/> and <see cref="Value"/>; then check <see cref="IsMalformed"/>.
/// </remarks>
public ref struct LabelRunReader
{
    private const int MaxShort = 0x7F;

    private readonly ReadOnlySpan<byte> _run;
    private int _position;

    /// <summary>Starts before the first label.</summary>
    public LabelRunReader(ReadOnlySpan<byte> run) => _run = run;

    /// <summary>Name of the current label; empty if the wire leaves it out.</summary>
    public ReadOnlySpan<byte> Name { readonly get; private set; }

    /// <summary>Value of the current label; empty if the wire leaves it out.</summary>
    public ReadOnlySpan<byte> Value { readonly get; private set; }

    /// <summary>Bytes of the run up to the end of the current label.</summary>
    public readonly int BytesRead => _position;

    /// <summary>True once the bytes turned out not to be label messages.</summary>
    public bool IsMalformed { readonly get; private set; }

    /// <summary>Steps to the next label.</summary>
    public bool MoveNext()
    {
        if (IsMalformed || _position >= _run.Length) return false;
        int at = _position;
        if (TryReadUsual(at)) return true;
        if (!Varint.TryRead(_run, ref at, out ulong tag) || tag != Labels.LabelTag) return Malformed();
        if (!TryReadBytes(_run, ref at, out ReadOnlySpan<byte> message)) return Malformed();
        _position = at;
        Name = default;
        Value = default;
        return ReadLabel(at - message.Length, message.Length) || Malformed();
    }

    /// <summary>Reads a label as all senders spell it: a name, a value, nothing else, and no length of two bytes.</summary>
    private bool TryReadUsual(int start)
    {
        ReadOnlySpan<byte> rest = _run[start..];
        if (rest.Length < 4 || rest[0] != Labels.LabelTag || rest[1] > MaxShort || rest[2] != Labels.NameTag || rest[3] > MaxShort) return false;
        int nameEnd = 4 + rest[3];
        if (rest.Length < nameEnd + 2 || rest[nameEnd] != Labels.ValueTag || rest[nameEnd + 1] > MaxShort) return false;
        int end = nameEnd + 2 + rest[nameEnd + 1];
        if (end > rest.Length || end != 2 + rest[1]) return false;
        Name = rest[4..nameEnd];
        Value = rest[(nameEnd + 2)..end];
        _position = start + end;
        return true;
    }

    private bool ReadLabel(int start, int length)
    {
        ReadOnlySpan<byte> body = _run.Slice(start, length);
        int at = 0;
        while (at < body.Length)
        {
            if (!Varint.TryRead(body, ref at, out ulong tag)) return false;
            switch (tag)
            {
                case Labels.NameTag:
                    if (!TryReadBytes(body, ref at, out ReadOnlySpan<byte> name)) return false;
                    Name = name;
                    break;
                case Labels.ValueTag:
                    if (!TryReadBytes(body, ref at, out ReadOnlySpan<byte> value)) return false;
                    Value = value;
                    break;
                default:
                    if (!TrySkip(body, ref at, tag)) return false;
                    break;
            }
        }

        return true;
    }

    private static bool TrySkip(ReadOnlySpan<byte> source, ref int at, ulong tag)
    {
        if (tag >> 3 is 0 or > 0x1FFFFFFF) return false;
        switch (tag & 7)
        {
            case 0: return Varint.TryRead(source, ref at, out _);
            case 1: return TrySkipBytes(source, ref at, 8);
            case 2: return TryReadBytes(source, ref at, out _);
            case 5: return TrySkipBytes(source, ref at, 4);
            default: return false;
        }
    }

    private static bool TrySkipBytes(ReadOnlySpan<byte> source, ref int at, int count)
    {
        if (source.Length - at < count) return false;
        at += count;
        return true;
    }

    private static bool TryReadBytes(ReadOnlySpan<byte> source, scoped ref int at, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (!Varint.TryRead(source, ref at, out ulong length) || length > (ulong)(source.Length - at)) return false;
        bytes = source.Slice(at, (int)length);
        at += (int)length;
        return true;
    }

    private bool Malformed()
    {
        IsMalformed = true;
        return false;
    }
}
