using System.Diagnostics.CodeAnalysis;

namespace TsdbRemote.Blocks.Model;

/// <content>Character classes: <c>[a-z]</c>, <c>[[:alpha:]]</c>, <c>\d</c>, <c>\pL</c>, <c>\p{Greek}</c>.</content>
internal sealed partial class Re2Parser
{
    private Re2Node OneOf(CodePointSet set)
    {
        _rangeCount += set.Ranges.Length;
        if (_rangeCount > MaxRanges) Fail("expression too large", 0, _pattern.Length);
        return set.Count == 1 && set.Ranges[0].Low is >= 0xD800 and <= 0xDFFF and var half ? Literal(half) : Re2Node.OneOf(set);
    }

    private CodePointSet ParseClass()
    {
        int start = _at++;
        bool negated = TryTake('^');
        var ranges = new List<(int Low, int High)>();
        for (bool first = true; first || IsAtEnd || _pattern[_at] != ']'; first = false)
        {
            if (IsAtEnd) Fail("missing closing ]", start, _pattern.Length);
            if (TryTakePosixClass(out CodePointSet? set) || TryTakeClassEscape(out set))
            {
                ranges.AddRange(set.Ranges);
                if (ranges.Count > MaxRanges) Fail("expression too large", start, _at);
                continue;
            }

            int rangeStart = _at;
            int low = TakeClassCodePoint(start);
            int high = low;
            if (_pattern.AsSpan(_at) is ['-', not ']', ..])
            {
                _at++;
                high = TakeClassCodePoint(start);
                if (high < low) Fail("invalid character class range", rangeStart, _at);
            }

            ranges.Add((low, high));
        }

        // Once for all ranges: there may be thousands. What is a class itself is folded already, and so is its complement.
        _at++;
        CodePointSet result = Folded(CodePointSet.Of([.. ranges]));
        return negated ? result.Complement() : result;
    }

    private int TakeClassCodePoint(int classStart)
    {
        if (IsAtEnd) Fail("missing closing ]", classStart, _pattern.Length);
        return _pattern[_at] == '\\' ? TakeEscapedCodePoint() : TakeCodePoint();
    }

    private bool TryTakePosixClass([NotNullWhen(true)] out CodePointSet? set)
    {
        set = null;
        if (_pattern.AsSpan(_at) is not ['[', ':', ..]) return false;
        int end = _pattern.IndexOf(":]", _at + 2, StringComparison.Ordinal);
        if (end < 0) return false;
        int start = _at;
        string name = _pattern[(_at + 2)..end];
        _at = end + 2;
        bool negated = name.StartsWith('^');
        if (!Re2Classes.TryPosix(negated ? name[1..] : name, out set)) Fail("invalid character class range", start, _at);
        set = negated ? Folded(set).Complement() : Folded(set);
        return true;
    }

    /// <summary>Reads <c>\d</c>, <c>\pL</c> and their like.</summary>
    private bool TryTakeClassEscape([NotNullWhen(true)] out CodePointSet? set)
    {
        set = null;
        if (_pattern.AsSpan(_at) is not ['\\', char letter, ..]) return false;
        if (letter is 'p' or 'P')
        {
            set = TakeUnicodeClass();
            return true;
        }

        if (!Re2Classes.TryPerl(char.ToLowerInvariant(letter), out set)) return false;
        _at += 2;
        set = char.IsAsciiLetterUpper(letter) ? Folded(set).Complement() : Folded(set);
        return true;
    }

    private CodePointSet TakeUnicodeClass()
    {
        int start = _at;
        bool negated = _pattern[_at + 1] == 'P';
        _at += 2;
        if (IsAtEnd) Fail("invalid character class range", start, _at);
        string name;
        if (TryTake('{'))
        {
            int end = _pattern.IndexOf('}', _at);
            if (end < 0) Fail("invalid character class range", start, _pattern.Length);
            name = _pattern[_at..end];
            _at = end + 1;
        }
        else
        {
            int nameStart = _at;
            TakeCodePoint();
            name = _pattern[nameStart.._at];
        }

        if (name.StartsWith('^')) (negated, name) = (!negated, name[1..]);
        if (!Re2Classes.TryUnicode(name, out CodePointSet? set)) Fail("invalid character class range", start, _at);
        return negated ? Folded(set).Complement() : Folded(set);
    }
}
