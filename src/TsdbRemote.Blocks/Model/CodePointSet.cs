namespace TsdbRemote.Blocks.Model;

/// <summary>A set of Unicode code points as ascending ranges that neither overlap nor touch. Immutable, equal by members.</summary>
/// <remarks>Surrogates (U+D800 to U+DFFF) may be members, as in Go's character classes, but no text contains them.</remarks>
internal sealed class CodePointSet : IEquatable<CodePointSet>
{
    /// <summary>The greatest code point.</summary>
    public const int Max = 0x10FFFF;

    private readonly (int Low, int High)[] _ranges;

    // Of a named class it is asked for again and again, by whoever names it.
    private CodePointSet? _folded;

    private CodePointSet((int Low, int High)[] ranges)
    {
        _ranges = ranges;
        foreach ((int low, int high) in ranges) Count += high - low + 1;
    }

    /// <summary>All code points.</summary>
    public static CodePointSet Any { get; } = Of((0, Max));

    /// <summary>All code points but the line feed.</summary>
    public static CodePointSet AnyButNewline { get; } = Of(('\n', '\n')).Complement();

    /// <summary>The ranges, both ends included.</summary>
    public ReadOnlySpan<(int Low, int High)> Ranges => _ranges;

    /// <summary>Number of members.</summary>
    public int Count { get; }

    /// <summary>True for the set of all code points.</summary>
    public bool IsAny => Count == Max + 1;

    /// <summary>Builds a set of any ranges, in any order.</summary>
    public static CodePointSet Of(params ReadOnlySpan<(int Low, int High)> ranges)
    {
        (int Low, int High)[] sorted = ranges.ToArray();
        Array.Sort(sorted);
        int count = 0;
        foreach ((int low, int high) in sorted)
        {
            if (count > 0 && low <= sorted[count - 1].High + 1) sorted[count - 1].High = Math.Max(sorted[count - 1].High, high);
            else sorted[count++] = (low, high);
        }

        return new CodePointSet(sorted[..count]);
    }

    /// <summary>True if the code point is a member.</summary>
    public bool Contains(int codePoint)
    {
        int low = 0;
        int high = _ranges.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >> 1;
            if (codePoint < _ranges[middle].Low) high = middle - 1;
            else if (codePoint > _ranges[middle].High) low = middle + 1;
            else return true;
        }

        return false;
    }

    /// <summary>All code points that are no members.</summary>
    public CodePointSet Complement()
    {
        var result = new List<(int, int)>(_ranges.Length + 1);
        int next = 0;
        foreach ((int low, int high) in _ranges)
        {
            if (low > next) result.Add((next, low - 1));
            next = high + 1;
        }

        if (next <= Max) result.Add((next, Max));
        return new CodePointSet([.. result]);
    }

    /// <summary>The set with all case variants of its members.</summary>
    public CodePointSet Folded() => _folded ??= Fold();

    /// <inheritdoc/>
    public bool Equals(CodePointSet? other) => other is not null && Ranges.SequenceEqual(other.Ranges);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as CodePointSet);

    /// <inheritdoc/>
    public override int GetHashCode() => _ranges.Length == 0 ? 0 : HashCode.Combine(_ranges.Length, _ranges[0], _ranges[^1], Count);

    private CodePointSet Fold()
    {
        var result = new List<(int, int)>(_ranges);
        if (Count < CaseFolding.Orbits.Count)
        {
            foreach ((int low, int high) in _ranges)
            {
                for (int codePoint = low; codePoint <= high; codePoint++)
                {
                    if (CaseFolding.Orbits.TryGetValue(codePoint, out int[]? orbit)) AddVariants(orbit, result);
                }
            }
        }
        else
        {
            foreach ((int codePoint, int[] orbit) in CaseFolding.Orbits)
            {
                if (Contains(codePoint)) AddVariants(orbit, result);
            }
        }

        return result.Count == _ranges.Length ? this : Of([.. result]);
    }

    // A wide range has nearly all variants of its members: what is there already would only have to be sorted in.
    private void AddVariants(int[] orbit, List<(int, int)> target)
    {
        foreach (int variant in orbit)
        {
            if (!Contains(variant)) target.Add((variant, variant));
        }
    }
}
