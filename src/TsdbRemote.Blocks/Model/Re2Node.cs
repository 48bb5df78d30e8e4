namespace TsdbRemote.Blocks.Model;

/// <summary>Kinds of <see cref="Re2Node"/>.</summary>
internal enum Re2Op : byte
{
    /// <summary>The empty string.</summary>
    Empty,

    /// <summary>One code point.</summary>
    Literal,

    /// <summary>One code point of a set.</summary>
    Set,

    /// <summary>Start of the text.</summary>
    BeginText,

    /// <summary>End of the text.</summary>
    EndText,

    /// <summary>Start of the text or behind a line feed.</summary>
    BeginLine,

    /// <summary>End of the text or before a line feed.</summary>
    EndLine,

    /// <summary>Between an ASCII word character and none.</summary>
    WordBoundary,

    /// <summary>Anywhere but at a word boundary.</summary>
    NoWordBoundary,

    /// <summary>The children one behind the other.</summary>
    Concat,

    /// <summary>Any one of the children.</summary>
    Alternate,

    /// <summary>The child, from Min to Max times.</summary>
    Repeat,
}

/// <summary>
/// A parsed regular expression. Captures and greediness are gone: whether a whole text matches does not depend on them. Immutable.
/// </summary>
internal sealed class Re2Node
{
    /// <summary>For <see cref="Max"/>: no upper bound.</summary>
    public const int Unbounded = -1;

    private Re2Node(Re2Op op) => Op = op;

    /// <summary>The empty string.</summary>
    public static Re2Node Empty { get; } = new(Re2Op.Empty);

    /// <summary>What it is.</summary>
    public Re2Op Op { get; }

    /// <summary>The code point of a literal.</summary>
    public int CodePoint { get; private init; }

    /// <summary>The members of a set; of a literal, the one.</summary>
    public CodePointSet CodePoints { get; private init; } = CodePointSet.Any;

    /// <summary>Operands.</summary>
    public IReadOnlyList<Re2Node> Children { get; private init; } = [];

    /// <summary>Fewest repetitions.</summary>
    public int Min { get; private init; }

    /// <summary>Most repetitions, or <see cref="Unbounded"/>.</summary>
    public int Max { get; private init; }

    /// <summary>
    /// Largest product of counted repetitions nested in one another, which Go limits to 1,000 (Go: regexp/syntax repeatIsValid).
    /// </summary>
    public long RepeatProduct { get; private init; } = 1;

    /// <summary>A position.</summary>
    public static Re2Node Assertion(Re2Op op) => new(op);

    /// <summary>One code point.</summary>
    public static Re2Node Literal(int codePoint) =>
        new(Re2Op.Literal) { CodePoint = codePoint, CodePoints = CodePointSet.Of((codePoint, codePoint)) };

    /// <summary>One code point of a set.</summary>
    public static Re2Node OneOf(CodePointSet set) => new(Re2Op.Set) { CodePoints = set };

    /// <summary>The nodes one behind the other.</summary>
    public static Re2Node Concat(IReadOnlyList<Re2Node> children) => Combine(Re2Op.Concat, children);

    /// <summary>Any one of the nodes.</summary>
    public static Re2Node Alternate(IReadOnlyList<Re2Node> children) => Combine(Re2Op.Alternate, children);

    /// <summary>A node several times.</summary>
    public static Re2Node Repeat(Re2Node child, int min, int max)
    {
        int factor = max == Unbounded ? Math.Max(min, 1) : max;
        long product = factor == 0 ? 1 : factor * child.RepeatProduct;
        return new(Re2Op.Repeat) { Children = [child], Min = min, Max = max, RepeatProduct = product };
    }

    private static Re2Node Combine(Re2Op op, IReadOnlyList<Re2Node> children)
    {
        if (children.Count == 0) return Empty;
        if (children.Count == 1) return children[0];

        // Of nested groups only those are kept that mean something: who walks the tree, .NET's parser too, then nests less.
        if (children.Any(child => child.Op == op)) children = [.. children.SelectMany(child => child.Op == op ? child.Children : [child])];
        return new(op) { Children = children, RepeatProduct = children.Max(static child => child.RepeatProduct) };
    }
}
