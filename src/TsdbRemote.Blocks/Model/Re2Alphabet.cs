using System.Runtime.CompilerServices;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>
/// Turns text into symbols, one for each code point: two code points share a symbol if the expression cannot tell them apart.
/// </summary>
/// <remarks>
/// This is what makes .NET's automaton, which sees UTF-16 units and Unicode's idea of a word, answer as RE2 does. One code point is one
/// symbol, so a dot never meets half a character. A class of hundreds of ranges, such as <c>\pL</c>, is one symbol or few, and the
/// automaton's preparation, whose cost grows with the square of what it must tell apart, is bounded by <see cref="MaxSymbols"/>. Symbols
/// are chosen so that <c>\b</c> and line anchors mean what they should: ideographs where the code points are ASCII word characters, box
/// drawings where they are not, the line feed for itself. Immutable; thread-safe.
/// </remarks>
internal sealed class Re2Alphabet
{
    /// <summary>Most different literals and classes of one expression, and most symbols. Printable ASCII has 95 characters.</summary>
    /// <remarks>Higher is not free: for 128, .NET allocates 40 to 70 MB while it prepares the automaton; for 512, 650 MB in seconds.</remarks>
    public const int MaxSymbols = 128;

    private const char FirstWordSymbol = '\u4E00';
    private const char FirstOtherSymbol = '\u2500';

    private static readonly CodePointSet Newline = CodePointSet.Of(('\n', '\n'));
    private static readonly CodePointSet Word = CodePointSet.Of(('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z'));

    // Each set has a bit; code points with the same bits share a symbol.
    private readonly Dictionary<CodePointSet, int> _bits = [];
    private readonly Dictionary<UInt128, char> _symbols = [];

    // Ranges of code points with one symbol each: where they start, and the symbol; the first starts at 0.
    private readonly int[] _starts;
    private readonly char[] _symbolAt;
    private readonly char[] _ascii = new char[0x80];

    private Re2Alphabet(Re2Node node)
    {
        Collect(node);
        (_starts, _symbolAt) = Partition();
        for (int i = 0; i < _ascii.Length; i++) _ascii[i] = Find(i);
    }

    /// <summary>Finds what an expression tells apart.</summary>
    /// <exception cref="MatcherException">Too much: more than <see cref="MaxSymbols"/>.</exception>
    public static Re2Alphabet Of(Re2Node node) => new(node);

    /// <summary>The symbols that stand for the members of one of the expression's sets.</summary>
    public IEnumerable<char> SymbolsOf(CodePointSet set)
    {
        int bit = _bits[set];
        return _symbols.Where(pair => (pair.Key >> bit & 1) != 0).Select(static pair => pair.Value);
    }

    /// <summary>Writes the symbols of a text.</summary>
    /// <param name="utf8">The text; bytes that are no UTF-8 count as U+FFFD.</param>
    /// <param name="symbols">Room for one symbol a byte.</param>
    /// <returns>Symbols written.</returns>
    public int Map(ReadOnlySpan<byte> utf8, Span<char> symbols)
    {
        int count = 0;
        int at = 0;
        while (at < utf8.Length)
        {
            byte b = utf8[at];
            if (b < 0x80)
            {
                symbols[count++] = _ascii[b];
                at++;
                continue;
            }

            Rune.DecodeFromUtf8(utf8[at..], out Rune rune, out int consumed);
            symbols[count++] = Find(rune.Value);
            at += consumed;
        }

        return count;
    }

    private void Collect(Re2Node node)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (node.Op)
        {
            case Re2Op.Literal:
            case Re2Op.Set when !node.CodePoints.IsAny:
                Add(node.CodePoints);
                break;
            case Re2Op.BeginLine or Re2Op.EndLine:
                Add(Newline);
                break;
            case Re2Op.WordBoundary or Re2Op.NoWordBoundary:
                Add(Word);
                break;
            default:
                foreach (Re2Node child in node.Children) Collect(child);
                break;
        }
    }

    private void Add(CodePointSet set)
    {
        if (_bits.TryAdd(set, _bits.Count) && _bits.Count > MaxSymbols) throw TooMany();
    }

    private (int[] Starts, char[] Symbols) Partition()
    {
        var edges = new List<(int At, int Bit)>();
        foreach ((CodePointSet set, int bit) in _bits)
        {
            foreach ((int low, int high) in set.Ranges)
            {
                edges.Add((low, bit));
                edges.Add((high + 1, bit));
            }
        }

        edges.Sort();
        var starts = new List<int>();
        var symbols = new List<char>();
        UInt128 members = 0;
        int next = 0;
        for (int at = 0; at <= CodePointSet.Max; at = next < edges.Count ? edges[next].At : CodePointSet.Max + 1)
        {
            while (next < edges.Count && edges[next].At == at) members ^= UInt128.One << edges[next++].Bit;
            char symbol = SymbolOf(members);
            if (symbols.Count > 0 && symbols[^1] == symbol) continue;
            starts.Add(at);
            symbols.Add(symbol);
        }

        return ([.. starts], [.. symbols]);
    }

    private char SymbolOf(UInt128 members)
    {
        if (_symbols.TryGetValue(members, out char symbol)) return symbol;
        if (_symbols.Count == MaxSymbols) throw TooMany();
        if (Has(members, Newline)) symbol = '\n';
        else symbol = (char)((Has(members, Word) ? FirstWordSymbol : FirstOtherSymbol) + _symbols.Count);
        _symbols.Add(members, symbol);
        return symbol;
    }

    private bool Has(UInt128 members, CodePointSet set) => _bits.TryGetValue(set, out int bit) && (members >> bit & 1) != 0;

    private char Find(int codePoint)
    {
        int index = Array.BinarySearch(_starts, codePoint);
        return _symbolAt[index >= 0 ? index : ~index - 1];
    }

    private static MatcherException TooMany() =>
        new($"error parsing regexp: more than {MaxSymbols} different characters and classes in one expression are not supported");
}
