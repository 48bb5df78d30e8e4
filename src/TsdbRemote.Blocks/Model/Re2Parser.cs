using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>
/// Reads RE2 syntax as Go's <c>regexp/syntax</c> does with Perl flags and a dot that matches line feeds, which is how Prometheus reads
/// matchers.
/// </summary>
/// <remarks>
/// What Go refuses is refused with Go's words. What Go accepts and is too large here, such as groups that nest deeper than the stack of the
/// calling thread bears, is refused saying so; nothing ever means something else. Names of Unicode classes: see <see cref="Re2Classes"/>. One use: <see cref="Parse"/>.
/// Source: https://github.com/google/re2/wiki/Syntax and Go's regexp/syntax package documentation.
/// </remarks>
internal sealed partial class Re2Parser
{
    private const int MaxRepeat = 1000;

    // As in Go. Each level takes a few stack frames here and of whoever walks the tree, all of whom look at what is left of the stack.
    private const int MaxDepth = 1000;

    // Ranges of all classes together: \pL alone has over 600, and a pattern could name it 5,000 times.
    private const int MaxRanges = 1 << 16;

    private readonly string _pattern;
    private int _at;
    private int _rangeCount;
    private Flags _flags = Flags.DotNewline;

    private Re2Parser(string pattern) => _pattern = pattern;

    [Flags]
    private enum Flags
    {
        None = 0,
        FoldCase = 1,
        MultiLine = 2,
        DotNewline = 4,
    }

    private bool IsAtEnd => _at >= _pattern.Length;

    private bool IsAtGroupEnd => IsAtEnd || _pattern[_at] is '|' or ')';

    /// <summary>Parses a whole pattern.</summary>
    /// <exception cref="MatcherException">Go would refuse it, or it cannot be translated.</exception>
    public static Re2Node Parse(string pattern)
    {
        var parser = new Re2Parser(pattern);
        Re2Node node = parser.ParseAlternation(0);
        if (!parser.IsAtEnd) parser.Fail("unexpected )", 0, pattern.Length);
        return node;
    }

    private Re2Node ParseAlternation(int depth)
    {
        Re2Node first = ParseConcat(depth);
        if (IsAtEnd || _pattern[_at] != '|') return first;
        var branches = new List<Re2Node> { first };
        while (TryTake('|')) branches.Add(ParseConcat(depth));
        return Re2Node.Alternate(branches);
    }

    private Re2Node ParseConcat(int depth)
    {
        var items = new List<Re2Node>();
        int lastRepeat = -1;
        while (!IsAtGroupEnd)
        {
            int start = _at;
            if (!TryTakeRepeat(out int min, out int max))
            {
                ParseItem(items, depth);
                lastRepeat = -1;
                continue;
            }

            if (lastRepeat >= 0) Fail("invalid nested repetition operator", lastRepeat, _at);
            if (items.Count == 0) Fail("missing argument to repetition operator", start, _at);
            items[^1] = Re2Node.Repeat(items[^1], min, max);
            if (items[^1].RepeatProduct > MaxRepeat) Fail("invalid repeat count", start, _at);
            lastRepeat = start;
        }

        return Re2Node.Concat(items);
    }

    private void ParseItem(List<Re2Node> items, int depth)
    {
        switch (_pattern[_at])
        {
            case '(':
                ParseGroup(items, depth);
                break;
            case '[':
                items.Add(OneOf(ParseClass()));
                break;
            case '.':
                _at++;
                items.Add(Re2Node.OneOf(_flags.HasFlag(Flags.DotNewline) ? CodePointSet.Any : CodePointSet.AnyButNewline));
                break;
            case '^':
                _at++;
                items.Add(Re2Node.Assertion(_flags.HasFlag(Flags.MultiLine) ? Re2Op.BeginLine : Re2Op.BeginText));
                break;
            case '$':
                _at++;
                items.Add(Re2Node.Assertion(_flags.HasFlag(Flags.MultiLine) ? Re2Op.EndLine : Re2Op.EndText));
                break;
            case '\\':
                ParseEscape(items);
                break;
            default:
                items.Add(Literal(TakeCodePoint()));
                break;
        }
    }

    private void ParseGroup(List<Re2Node> items, int depth)
    {
        int start = _at++;
        if (depth == MaxDepth || !RuntimeHelpers.TryEnsureSufficientExecutionStack()) Fail("expression nests too deeply", start, _at);
        Flags outer = _flags;
        if (TryTake('?'))
        {
            if (_pattern.AsSpan(_at) is ['P', '<', _, ..] or ['<', _, ..]) TakeGroupName(start);
            else if (!TakeFlags(start)) return;   // (?i) without a body holds to the end of the group around it
        }

        Re2Node body = ParseAlternation(depth + 1);
        if (!TryTake(')')) Fail("missing closing )", 0, _pattern.Length);
        _flags = outer;
        items.Add(body);
    }

    private void TakeGroupName(int start)
    {
        int nameStart = _pattern.IndexOf('<', _at) + 1;
        int end = _pattern.IndexOf('>', nameStart);
        if (end < 0) Fail("invalid named capture", start, _pattern.Length);
        string name = _pattern[nameStart..end];
        _at = end + 1;
        bool valid = name.Length > 0 && name.All(static c => char.IsAsciiLetterOrDigit(c) || c == '_');
        if (!valid) Fail("invalid named capture", start, _at);
    }

    /// <summary>Reads <c>i-s:</c> or <c>i)</c>.</summary>
    /// <returns>True if a body follows.</returns>
    private bool TakeFlags(int start)
    {
        Flags flags = _flags;
        bool negative = false;
        bool any = false;
        while (!IsAtEnd)
        {
            int c = TakeCodePoint();
            if (c is ':' or ')' && (any || !negative))
            {
                _flags = flags;
                return c == ':';
            }

            Flags flag = c switch { 'i' => Flags.FoldCase, 'm' => Flags.MultiLine, 's' => Flags.DotNewline, _ => Flags.None };
            if (c == '-' && !negative)
            {
                negative = true;
                any = false;
                continue;
            }

            // U swaps greediness, which no whole-text match can see.
            if (flag == Flags.None && c != 'U') Fail("invalid or unsupported Perl syntax", start, _at);
            flags = negative ? flags & ~flag : flags | flag;
            any = true;
        }

        Fail("invalid or unsupported Perl syntax", start, _at);
        return false;
    }

    private bool TryTakeRepeat(out int min, out int max)
    {
        (min, max) = (0, Re2Node.Unbounded);
        int start = _at;
        switch (_pattern[_at])
        {
            case '*': _at++; break;
            case '+': (min, _at) = (1, _at + 1); break;
            case '?': (max, _at) = (1, _at + 1); break;
            case '{' when TryTakeCounts(out min, out max): break;
            default: return false;
        }

        if (min > MaxRepeat || max > MaxRepeat || (max != Re2Node.Unbounded && min > max)) Fail("invalid repeat count", start, _at);
        TryTake('?');   // lazy: matches the same whole texts
        return true;
    }

    /// <summary>Reads <c>{n}</c>, <c>{n,}</c> or <c>{n,m}</c>; anything else in braces is literal text.</summary>
    private bool TryTakeCounts(out int min, out int max)
    {
        int start = _at++;
        max = Re2Node.Unbounded;
        if (TryTakeNumber(out min))
        {
            bool ok = true;
            if (!TryTake(',')) max = min;
            else if (_pattern.AsSpan(_at) is not ['}', ..]) ok = TryTakeNumber(out max);
            if (ok && TryTake('}')) return true;
        }

        _at = start;
        return false;
    }

    private bool TryTakeNumber(out int number)
    {
        number = 0;
        int start = _at;
        while (!IsAtEnd && char.IsAsciiDigit(_pattern[_at])) number = Math.Min(number * 10 + _pattern[_at++] - '0', MaxRepeat + 1);
        return _at > start && (_at == start + 1 || _pattern[start] != '0');
    }

    private void ParseEscape(List<Re2Node> items)
    {
        switch (_pattern.AsSpan(_at + 1))
        {
            case ['A', ..]:
                _at += 2;
                items.Add(Re2Node.Assertion(Re2Op.BeginText));
                break;
            case ['z', ..]:
                _at += 2;
                items.Add(Re2Node.Assertion(Re2Op.EndText));
                break;
            case ['b' or 'B', ..]:
                items.Add(Re2Node.Assertion(_pattern[_at + 1] == 'b' ? Re2Op.WordBoundary : Re2Op.NoWordBoundary));
                _at += 2;
                break;
            case ['Q', ..]:
                ParseQuoted(items);
                break;
            default:
                items.Add(TryTakeClassEscape(out CodePointSet? set) ? OneOf(set) : Literal(TakeEscapedCodePoint()));
                break;
        }
    }

    private void ParseQuoted(List<Re2Node> items)
    {
        _at += 2;
        int end = _pattern.IndexOf("\\E", _at, StringComparison.Ordinal);
        int next = end < 0 ? _pattern.Length : end + 2;
        if (end < 0) end = _pattern.Length;
        while (_at < end) items.Add(Literal(TakeCodePoint()));
        _at = next;
    }

    private Re2Node Literal(int codePoint)
    {
        // Half a character is no text. Go writes it as this one, and compares with that.
        if (codePoint is >= 0xD800 and <= 0xDFFF) codePoint = Rune.ReplacementChar.Value;
        if (!_flags.HasFlag(Flags.FoldCase) || !CaseFolding.Orbits.ContainsKey(codePoint)) return Re2Node.Literal(codePoint);
        return Re2Node.OneOf(CodePointSet.Of((codePoint, codePoint)).Folded());
    }

    private CodePointSet Folded(CodePointSet set) => _flags.HasFlag(Flags.FoldCase) ? set.Folded() : set;

    private int TakeEscapedCodePoint()
    {
        int start = _at++;
        if (IsAtEnd) Fail("trailing backslash at end of expression", start, start);
        int c = TakeCodePoint();
        switch (c)
        {
            case >= '1' and <= '7' when IsAtEnd || _pattern[_at] is < '0' or > '7':
                break;   // a back reference
            case >= '0' and <= '7':
                int octal = c - '0';
                for (int i = 1; i < 3 && !IsAtEnd && _pattern[_at] is >= '0' and <= '7'; i++) octal = octal * 8 + _pattern[_at++] - '0';
                return octal;
            case 'x' when TryTakeHex(out int hex): return hex;
            case 'a': return '\a';
            case 'f': return '\f';
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'v': return '\v';
            case < 0x80 when !char.IsAsciiLetterOrDigit((char)c): return c;
        }

        Fail("invalid escape sequence", start, _at);
        return 0;
    }

    /// <summary>Reads <c>41</c> or <c>{1F600}</c>; where it fails, as far as Go does, which quotes what it read.</summary>
    private bool TryTakeHex(out int value)
    {
        value = 0;
        if (IsAtEnd) return false;
        if (!TryTake('{'))
        {
            int first = HexDigit(TakeCodePoint());
            int second = IsAtEnd ? -1 : HexDigit(TakeCodePoint());
            value = first * 16 + second;
            return first >= 0 && second >= 0;
        }

        for (int digits = 0; !IsAtEnd; digits++)
        {
            int c = TakeCodePoint();
            if (c == '}') return digits > 0;
            if (HexDigit(c) < 0) return false;
            value = value * 16 + HexDigit(c);
            if (value > CodePointSet.Max) return false;
        }

        return false;
    }

    private static int HexDigit(int c) => c switch
    {
        >= '0' and <= '9' => c - '0',
        >= 'A' and <= 'F' => c - 'A' + 10,
        >= 'a' and <= 'f' => c - 'a' + 10,
        _ => -1,
    };

    private int TakeCodePoint()
    {
        if (!Rune.TryGetRuneAt(_pattern, _at, out Rune rune)) Fail("invalid UTF-8", _at, _at);
        _at += rune.Utf16SequenceLength;
        return rune.Value;
    }

    private bool TryTake(char c)
    {
        if (IsAtEnd || _pattern[_at] != c) return false;
        _at++;
        return true;
    }

    [DoesNotReturn]
    private void Fail(string problem, int start, int end)
    {
        const int MaxShown = 100;
        string part = _pattern.AsSpan(start, Math.Min(end - start, MaxShown)).ToString();
        throw new MatcherException($"error parsing regexp: {problem}: `{part}{(end - start > MaxShown ? "..." : "")}`");
    }
}
