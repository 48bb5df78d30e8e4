using System.Text.RegularExpressions;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>One row of <c>docs/conformance.md</c>.</summary>
/// <param name="Number">Its number in the checklist.</param>
/// <param name="Asked">What is asked.</param>
/// <param name="Prometheus">What Prometheus answers.</param>
/// <param name="Ours">What we answer.</param>
/// <param name="Why">Why the two differ; empty where they do not.</param>
internal sealed record PageRow(int Number, string Asked, string Prometheus, string Ours, string Why)
{
    /// <summary>True where nobody can be asked from outside: a test of another project shows our side.</summary>
    public bool IsNotAsked => Prometheus.StartsWith("not asked", StringComparison.Ordinal);
}

/// <summary>The conformance page: what its tests expect is what it says.</summary>
/// <remarks>
/// With <c>CONFORMANCE_REWRITE=1</c> in the environment the page is given what the two servers answered. Whoever does so reads the difference, and says why in the last column
/// where the two are not equal.
/// </remarks>
internal static partial class ConformancePage
{
    private const string Fence = "``";
    private static readonly Lock Rewriting = new();

    public static string Path { get; } = System.IO.Path.Combine(Repository.Root, "docs", "conformance.md");

    public static bool IsRewritten => Environment.GetEnvironmentVariable("CONFORMANCE_REWRITE") == "1";

    /// <summary>All rows, by number.</summary>
    public static SortedDictionary<int, PageRow> Read()
    {
        var rows = new SortedDictionary<int, PageRow>();
        foreach (string line in File.ReadLines(Path))
        {
            if (Parse(line) is { } row) rows.Add(row.Number, row);
        }

        return rows;
    }

    /// <summary>Puts two answers into the page.</summary>
    public static void Rewrite(int number, string prometheus, string ours)
    {
        lock (Rewriting)
        {
            string[] lines = File.ReadAllLines(Path);
            int at = Array.FindIndex(lines, line => Parse(line)?.Number == number);
            Assert.True(at >= 0, $"row {number} is not in {Path}");
            PageRow row = Parse(lines[at])!;
            lines[at] = $"| {number} | {row.Asked} | {Cell(prometheus)} | {Cell(ours)} | {row.Why} |";
            File.WriteAllLines(Path, lines);
        }
    }

    private static PageRow? Parse(string line)
    {
        if (!RowPattern().IsMatch(line)) return null;
        string[] cells = [.. CellBorder().Split(line.Trim().Trim('|')).Select(static cell => cell.Trim())];
        Assert.True(cells.Length == 5, $"a row of the page has five cells: {line}");
        return new PageRow(int.Parse(cells[0], System.Globalization.CultureInfo.InvariantCulture), cells[1], Text(cells[2]), Text(cells[3]), cells[4]);
    }

    // Text with backticks in it stands between pairs of them.
    private static string Cell(string text)
    {
        string escaped = text.Replace("|", "\\|", StringComparison.Ordinal);
        return escaped.Contains('`', StringComparison.Ordinal) ? $"{Fence} {escaped} {Fence}" : $"`{escaped}`";
    }

    private static string Text(string cell)
    {
        string text = cell.Replace("\\|", "|", StringComparison.Ordinal);
        if (text.StartsWith(Fence, StringComparison.Ordinal)) return text[(Fence.Length + 1)..^(Fence.Length + 1)];
        return text.StartsWith('`') ? text[1..^1] : text;
    }

    [GeneratedRegex(@"^\| *[0-9]+ *\|")]
    private static partial Regex RowPattern();

    [GeneratedRegex(@"(?<!\\)\|")]
    private static partial Regex CellBorder();
}
