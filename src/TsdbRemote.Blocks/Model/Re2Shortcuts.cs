using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>Finds what can be matched without an automaton: finite sets, texts with gaps, a literal prefix. One use.</summary>
internal sealed class Re2Shortcuts
{
    /// <summary>Most values that an expression is expanded to, as in Prometheus.</summary>
    public const int MaxSet = 256;

    /// <summary>Most templates with gaps; they are tried one after the other.</summary>
    public const int MaxTemplates = 32;

    // Bounds the copying while expanding, whatever the pattern; what needs more is left to the automaton.
    private const int MaxWork = 1 << 20;

    private static readonly SearchValues<char> Special = SearchValues.Create(@"\.+*?()[]{}^$");
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private int _work;

    /// <summary>The values of <c>a|b</c>, <c>(a|b)</c> or <c>(?:a|b)</c> where each is literal text, special characters escaped.</summary>
    /// <remarks>What dashboards send for a choice of many values; taken without the parser, it may be as long as they like, as in Prometheus.</remarks>
    /// <returns>Ascending, each once; null if the pattern is anything else.</returns>
    public static byte[][]? Literals(string pattern)
    {
        ReadOnlySpan<char> text = pattern;
        if (text is ['(', '?', ':', .., ')']) text = text[3..^1];
        else if (text is ['(', .., ')']) text = text[1..^1];
        var values = new List<byte[]>();
        var value = new StringBuilder();
        for (int at = 0; at <= text.Length; at++)
        {
            if (at == text.Length || text[at] == '|')
            {
                if (TryEncode(value) is not { } utf8) return null;
                values.Add(utf8);
                value.Clear();
                continue;
            }

            if (text[at] == '\\')
            {
                if (++at == text.Length || !char.IsAscii(text[at]) || char.IsAsciiLetterOrDigit(text[at])) return null;
            }
            else if (Special.Contains(text[at]))
            {
                return null;
            }

            value.Append(text[at]);
        }

        return SortedAndUnique(values);
    }

    /// <summary>Drops anchors that say what the whole-text match says already: <c>^</c> first and <c>$</c> last.</summary>
    public static Re2Node WithoutOuterAnchors(Re2Node node) => WithoutOuterAnchors(node, isFirst: true, isLast: true);

    /// <summary>
    /// All templates that together match what the expression matches, sorted and unique, or null if there is no such small set.
    /// </summary>
    public static byte[][]? Expand(Re2Node node)
    {
        List<byte[]>? found = new Re2Shortcuts().Templates(node);
        if (found is null) return null;
        byte[][] unique = SortedAndUnique(found);
        bool gaps = Array.Exists(unique, static template => Re2Template.GapIn(template) >= 0);
        return gaps && unique.Length > MaxTemplates ? null : unique;
    }

    /// <summary>Bytes with which every match begins; empty if there are none.</summary>
    public static byte[] Prefix(Re2Node node)
    {
        var prefix = new List<byte>();
        AddPrefix(node, prefix);
        return [.. prefix];
    }

    /// <summary>Bytes with which all the templates begin.</summary>
    public static byte[] Prefix(byte[][] templates)
    {
        if (templates.Length == 0) return [];

        // They are sorted, so what the first and the last have in common, all have.
        int length = templates[0].AsSpan().CommonPrefixLength(templates[^1]);
        int gap = Re2Template.GapIn(templates[0].AsSpan(0, length));
        return templates[0][..(gap < 0 ? length : gap)];
    }

    private static byte[][] SortedAndUnique(List<byte[]> found)
    {
        found.Sort(static (a, b) => a.AsSpan().SequenceCompareTo(b));
        var unique = new List<byte[]>(found.Count);
        foreach (byte[] template in found)
        {
            if (unique.Count == 0 || !unique[^1].AsSpan().SequenceEqual(template)) unique.Add(template);
        }

        return [.. unique];
    }

    private static byte[]? TryEncode(StringBuilder value)
    {
        try
        {
            return StrictUtf8.GetBytes(value.ToString());
        }
        catch (EncoderFallbackException)
        {
            return null; // half a character: the parser refuses it in Go's words
        }
    }

    private static Re2Node WithoutOuterAnchors(Re2Node node, bool isFirst, bool isLast)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (node.Op)
        {
            case Re2Op.BeginText or Re2Op.BeginLine when isFirst: return Re2Node.Empty;
            case Re2Op.EndText or Re2Op.EndLine when isLast: return Re2Node.Empty;
            case Re2Op.Alternate:
                return Re2Node.Alternate([.. node.Children.Select(child => WithoutOuterAnchors(child, isFirst, isLast))]);
            case Re2Op.Concat:
                var children = node.Children.ToList();
                for (int i = 0; i < children.Count && isFirst; i++)
                {
                    children[i] = WithoutOuterAnchors(children[i], isFirst, isLast && i == children.Count - 1);
                    isFirst = children[i].Op == Re2Op.Empty;
                }

                for (int i = children.Count - 1; i >= 0 && isLast; i--)
                {
                    children[i] = WithoutOuterAnchors(children[i], isFirst: false, isLast: true);
                    isLast = children[i].Op == Re2Op.Empty;
                }

                return Re2Node.Concat(children.FindAll(static child => child.Op != Re2Op.Empty));
            default: return node;
        }
    }

    private static bool AddPrefix(Re2Node node, List<byte> prefix)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (node.Op)
        {
            case Re2Op.Empty: return true;
            case Re2Op.Literal: return TryEncode(node.CodePoint, prefix);
            case Re2Op.Concat: return node.Children.All(child => AddPrefix(child, prefix));
            case Re2Op.Repeat when node.Min > 0:
                AddPrefix(node.Children[0], prefix);
                return false;
            default: return false;
        }
    }

    private static bool TryEncode(int codePoint, List<byte> target)
    {
        if (!Rune.TryCreate(codePoint, out Rune rune)) return false;
        Span<byte> utf8 = stackalloc byte[4];
        target.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
        return true;
    }

    private List<byte[]>? Templates(Re2Node node)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        return node.Op switch
        {
            Re2Op.Empty => [[]],
            Re2Op.Literal => Members([(node.CodePoint, node.CodePoint)]),
            Re2Op.Set => node.CodePoints.Count > MaxSet ? null : Members(node.CodePoints.Ranges),
            Re2Op.Concat => Concat(node.Children),
            Re2Op.Alternate => Union(node.Children),
            Re2Op.Repeat => Repeat(node),
            _ => null,
        };
    }

    private static List<byte[]> Members(ReadOnlySpan<(int Low, int High)> ranges)
    {
        var result = new List<byte[]>();
        var utf8 = new List<byte>(4);
        foreach ((int low, int high) in ranges)
        {
            for (int codePoint = low; codePoint <= high; codePoint++)
            {
                utf8.Clear();
                if (TryEncode(codePoint, utf8)) result.Add([.. utf8]);
            }
        }

        return result;
    }

    private List<byte[]>? Concat(IReadOnlyList<Re2Node> children)
    {
        List<byte[]>? result = [[]];
        var literal = new List<byte>();
        for (int i = 0; i < children.Count && result is not null; i++)
        {
            // A run of literals is one factor.
            literal.Clear();
            while (i < children.Count && children[i].Op == Re2Op.Literal && TryEncode(children[i].CodePoint, literal)) i++;
            if (literal.Count > 0) result = Product(result, [[.. literal]]);
            if (i < children.Count && result is not null) result = Templates(children[i]) is { } next ? Product(result, next) : null;
        }

        return result;
    }

    private List<byte[]>? Union(IReadOnlyList<Re2Node> children)
    {
        var result = new List<byte[]>();
        foreach (Re2Node child in children)
        {
            List<byte[]>? next = Templates(child);
            if (next is null || result.Count + next.Count > MaxSet) return null;
            result.AddRange(next);
        }

        return result;
    }

    private List<byte[]>? Repeat(Re2Node node)
    {
        Re2Node child = node.Children[0];
        if (node.Max == Re2Node.Unbounded)
        {
            bool isGap = child.Op == Re2Op.Set && child.CodePoints.IsAny && node.Min <= 1;
            return isGap ? [[node.Min == 0 ? Re2Template.AnyGap : Re2Template.SomeGap]] : null;
        }

        List<byte[]>? unit = Templates(child);
        List<byte[]>? power = [[]];
        var result = new List<byte[]>();
        for (int count = 0; unit is not null && power is not null && count <= node.Max; count++)
        {
            if (count >= node.Min) result.AddRange(power);
            if (result.Count > MaxSet) return null;
            if (count < node.Max) power = Product(power, unit);
        }

        return unit is null || power is null ? null : result;
    }

    private List<byte[]>? Product(List<byte[]> left, List<byte[]> right)
    {
        if ((long)left.Count * right.Count > MaxSet) return null;
        var result = new List<byte[]>(left.Count * right.Count);
        foreach (byte[] head in left)
        {
            foreach (byte[] tail in right)
            {
                byte[]? joined = Re2Template.Join(head, tail);
                _work += head.Length + tail.Length + 1;
                if (joined is null || _work > MaxWork) return null;
                result.Add(joined);
            }
        }

        return result;
    }
}
