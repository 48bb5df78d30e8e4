using System.Collections.Frozen;
using System.Text;

namespace TsdbRemote.Blocks.Model;

/// <summary>Which code points differ only in case: Unicode simple case folding, as RE2's <c>(?i)</c> uses it.</summary>
/// <remarks>
/// .NET has no folding table, but two code points fold alike exactly if the lower case of their upper case is the same: k, K and the Kelvin
/// sign; s, S and the long s; σ, ς and Σ. Sharp s has no simple upper case, dotted and dotless i fold to themselves: they have no variants.
/// A test names these.
/// </remarks>
internal static class CaseFolding
{
    private const int EndOfCasedScripts = 0x1F000;
    private static readonly Lazy<FrozenDictionary<int, int[]>> Table = new(Build);

    /// <summary>Each code point that has case variants, with all members of its orbit, itself included.</summary>
    public static FrozenDictionary<int, int[]> Orbits => Table.Value;

    private static FrozenDictionary<int, int[]> Build()
    {
        var byFold = new Dictionary<int, SortedSet<int>>();
        for (int codePoint = 0; codePoint < EndOfCasedScripts; codePoint++)
        {
            if (!Rune.TryCreate(codePoint, out Rune rune)) continue;
            Rune upper = Rune.ToUpperInvariant(rune);
            if (upper == rune && Rune.ToLowerInvariant(rune) == rune) continue;
            Add(byFold, Rune.ToLowerInvariant(upper).Value, codePoint);
        }

        // .NET keeps the long s apart, as it does with all case pairs of one ASCII letter and another character but the Kelvin sign.
        Add(byFold, 's', 0x17F);
        var orbits = new Dictionary<int, int[]>();
        foreach (SortedSet<int> members in byFold.Values)
        {
            if (members.Count == 1) continue;
            int[] orbit = [.. members];
            foreach (int member in members) orbits[member] = orbit;
        }

        return orbits.ToFrozenDictionary();
    }

    private static void Add(Dictionary<int, SortedSet<int>> byFold, int fold, int codePoint)
    {
        if (!byFold.TryGetValue(fold, out SortedSet<int>? members)) byFold[fold] = members = [fold];
        members.Add(codePoint);
    }
}
