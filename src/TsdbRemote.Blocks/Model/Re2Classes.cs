using System.Collections.Frozen;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace TsdbRemote.Blocks.Model;

/// <summary>Named character classes of RE2: Perl's and POSIX' (ASCII only), Unicode general categories and scripts.</summary>
/// <remarks>
/// Names are matched to the letter, as Prometheus does, whose fork of Go's package does not know the looser names of Go 1.25. Categories are
/// .NET's, which in .NET 10 are those of Unicode 16; Go has Unicode 15 up to 1.26. Apart from the 5,812 code points that Unicode assigned
/// between the two, which to Go are <c>Cn</c>, they differ in one: U+1171E, there <c>Mn</c>, here <c>Mc</c>. For scripts see
/// <see cref="Re2Scripts"/>.
/// </remarks>
internal static class Re2Classes
{
    private static readonly (int Low, int High) Digits = ('0', '9');
    private static readonly (int Low, int High) Upper = ('A', 'Z');
    private static readonly (int Low, int High) Lower = ('a', 'z');

    private static readonly FrozenDictionary<string, CodePointSet> Posix = new Dictionary<string, CodePointSet>
    {
        ["alnum"] = CodePointSet.Of(Digits, Upper, Lower),
        ["alpha"] = CodePointSet.Of(Upper, Lower),
        ["ascii"] = CodePointSet.Of((0, 0x7F)),
        ["blank"] = CodePointSet.Of(('\t', '\t'), (' ', ' ')),
        ["cntrl"] = CodePointSet.Of((0, 0x1F), (0x7F, 0x7F)),
        ["digit"] = CodePointSet.Of(Digits),
        ["graph"] = CodePointSet.Of(('!', '~')),
        ["lower"] = CodePointSet.Of(Lower),
        ["print"] = CodePointSet.Of((' ', '~')),
        ["punct"] = CodePointSet.Of(('!', '/'), (':', '@'), ('[', '`'), ('{', '~')),
        ["space"] = CodePointSet.Of(('\t', '\r'), (' ', ' ')),
        ["upper"] = CodePointSet.Of(Upper),
        ["word"] = CodePointSet.Of(Digits, Upper, Lower, ('_', '_')),
        ["xdigit"] = CodePointSet.Of(Digits, ('A', 'F'), ('a', 'f')),
    }.ToFrozenDictionary();

    // Perl's \s has no vertical tab, unlike [[:space:]].
    private static readonly CodePointSet PerlSpace = CodePointSet.Of(('\t', '\n'), ('\f', '\r'), (' ', ' '));

    // In the order of UnicodeCategory.
    private static readonly string[] CategoryNames =
    [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
        "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn",
    ];

    private static readonly Lazy<FrozenDictionary<string, CodePointSet>> Categories = new(BuildCategories);

    /// <summary>A class by its POSIX name, such as <c>alpha</c>.</summary>
    public static bool TryPosix(string name, [NotNullWhen(true)] out CodePointSet? set) => Posix.TryGetValue(name, out set);

    /// <summary>The class of <c>\d</c>, <c>\s</c> or <c>\w</c>.</summary>
    public static bool TryPerl(char letter, [NotNullWhen(true)] out CodePointSet? set)
    {
        set = letter switch
        {
            'd' => Posix["digit"],
            's' => PerlSpace,
            'w' => Posix["word"],
            _ => null,
        };
        return set is not null;
    }

    /// <summary>
    /// A class by its Unicode general category, such as <c>Lu</c> or <c>L</c>, or its script, such as <c>Greek</c>; or <c>Any</c>.
    /// </summary>
    /// <remarks>
    /// <c>Cn</c> (not assigned), <c>LC</c> (<c>Lu</c>, <c>Ll</c> and <c>Lt</c>) and <c>C</c> mean what they do since Go 1.25; older ones know
    /// no <c>Cn</c> and <c>LC</c>, and their <c>C</c> is without <c>Cn</c>. Under <c>(?i)</c>, Go leaves <c>LC</c> as it is; here it has the case
    /// variant U+0345 too, as <c>Ll</c> has in both.
    /// </remarks>
    public static bool TryUnicode(string name, [NotNullWhen(true)] out CodePointSet? set)
    {
        set = name == "Any" ? CodePointSet.Any : null;
        return set is not null || Categories.Value.TryGetValue(name, out set) || Re2Scripts.TryGet(name, out set);
    }

    private static FrozenDictionary<string, CodePointSet> BuildCategories()
    {
        var ranges = new Dictionary<string, List<(int, int)>>();
        int start = 0;
        UnicodeCategory current = CharUnicodeInfo.GetUnicodeCategory(0);
        for (int codePoint = 1; codePoint <= CodePointSet.Max + 1; codePoint++)
        {
            UnicodeCategory next = codePoint > CodePointSet.Max ? (UnicodeCategory)(-1) : CharUnicodeInfo.GetUnicodeCategory(codePoint);
            if (next == current) continue;
            string name = CategoryNames[(int)current];
            Add(ranges, name, (start, codePoint - 1));
            Add(ranges, name[..1], (start, codePoint - 1));
            if (name is "Lu" or "Ll" or "Lt") Add(ranges, "LC", (start, codePoint - 1));
            (start, current) = (codePoint, next);
        }

        return ranges.ToFrozenDictionary(static pair => pair.Key, static pair => CodePointSet.Of([.. pair.Value]));
    }

    private static void Add(Dictionary<string, List<(int, int)>> ranges, string name, (int, int) range)
    {
        if (!ranges.TryGetValue(name, out List<(int, int)>? list)) ranges[name] = list = [];
        list.Add(range);
    }
}
