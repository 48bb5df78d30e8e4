using System.Globalization;
using System.Text.RegularExpressions;

namespace TsdbRemote.Tests;

/// <summary>Nothing is missing on the page about reliability, and no test that it names is one that nobody wrote.</summary>
public sealed partial class ReliabilityPageTests
{
    private const int Numbers = 94;

    // What needs what is not there yet, or not on every machine: row by row, so that no other row loses its tests unseen.
    private static readonly int[] Waiting = [28, 74, 75, 86, 89, 91];

    private static readonly Lazy<HashSet<string>> Tests = new(FindTests);

    private static string Page { get; } = Path.Combine(Repository.Root, "docs", "reliability.md");

    [Fact]
    public void All_numbers_are_on_the_page_in_their_order() => Assert.Equal(Enumerable.Range(1, Numbers), Rows().Select(static row => row.Number));

    [Fact]
    public void Every_test_that_the_page_names_is_there() =>
        Assert.Equal([], TestName().Matches(File.ReadAllText(Page)).Select(static match => match.Groups[1].Value).Where(static name => !Tests.Value.Contains(name)));

    [Fact]
    public void A_row_has_a_test_or_is_one_of_those_that_wait_and_says_for_what()
    {
        foreach ((int number, string shows, string tests) in Rows())
        {
            Assert.NotEmpty(shows);
            bool isTested = tests.StartsWith('`') && TestName().IsMatch(tests);
            Assert.True(isTested != Waiting.Contains(number), $"row {number}: {tests}");
            if (!isTested) Assert.Matches("^not here: .{10,}", tests);
        }
    }

    [Fact]
    public void A_test_that_bears_a_number_stands_in_its_row()
    {
        Dictionary<int, string> rows = Rows().ToDictionary(static row => row.Number, static row => row.Tests);
        List<string> missing = [];
        foreach (string test in Tests.Value)
        {
            foreach (Capture number in Numbering().Match(test).Groups["number"].Captures)
            {
                if (!rows[int.Parse(number.Value, CultureInfo.InvariantCulture)].Contains($"`{test}`", StringComparison.Ordinal)) missing.Add(test);
            }
        }

        Assert.Equal([], missing);
        Assert.Contains(Tests.Value, static test => Numbering().IsMatch(test));
    }

    private static IEnumerable<(int Number, string Shows, string Tests)> Rows() => File.ReadLines(Page).Select(static line => Row().Match(line)).Where(static match => match.Success)
        .Select(static match => (int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), match.Groups[2].Value, match.Groups[3].Value));

    /// <summary>All tests of all projects: the file has the name of its class.</summary>
    private static HashSet<string> FindTests()
    {
        string[] files = Directory.GetFiles(Path.Combine(Repository.Root, "tests"), "*.cs", SearchOption.AllDirectories);
        return [.. files.SelectMany(static file => TestMethod().Matches(File.ReadAllText(file)).Select(match => $"{Path.GetFileNameWithoutExtension(file)}.{match.Groups[1].Value}"))];
    }

    [GeneratedRegex(@"^\| ([0-9]+) \| ([^|]*) \| ([^|]*) \|$")]
    private static partial Regex Row();

    [GeneratedRegex(@"`(\w+\.\w+)`")]
    private static partial Regex TestName();

    [GeneratedRegex(@"\.(T(?<number>[0-9]+)_)+")]
    private static partial Regex Numbering();

    // The attributes stand on lines of their own above the method.
    [GeneratedRegex(@"\[(?:[\w.]*Fact|\w*Theory)\b[^\n]*\n(?:\s*\[[^\n]*\n)*\s*public (?:static )?(?:async )?(?:Task|void) (\w+)\(")]
    private static partial Regex TestMethod();
}
