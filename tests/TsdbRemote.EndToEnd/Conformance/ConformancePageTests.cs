using System.Reflection;
using System.Text.RegularExpressions;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Nothing is missing on the conformance page, and nothing on it is without a test.</summary>
public sealed partial class ConformancePageTests
{
    private const int Rows = 108;

    // Tenants are not there yet, and the page says so.
    private static readonly int[] Waiting = [102];

    [Fact]
    public void All_rows_are_on_the_page() => Assert.Equal(Enumerable.Range(1, Rows), ConformancePage.Read().Keys);

    [Fact]
    public void Each_row_has_a_test_of_its_name_or_says_why_nobody_is_asked()
    {
        HashSet<int> asked = [.. typeof(RowTests).Assembly.GetTypes().Where(static type => type.IsSubclassOf(typeof(RowTests)))
            .SelectMany(static type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly))
            .Select(static method => RowName().Match(method.Name)).Where(static match => match.Success)
            .Select(static match => int.Parse(match.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture))];
        HashSet<int> shown = [.. RowsOfTraits()];
        foreach (PageRow row in ConformancePage.Read().Values)
        {
            if (Waiting.Contains(row.Number)) Assert.NotEmpty(row.Why);
            else if (row.IsNotAsked)
            {
                Assert.NotEmpty(row.Why);
                Assert.True(shown.Contains(row.Number), $"row {row.Number}: no test bears its number");
            }
            else Assert.True(asked.Contains(row.Number), $"row {row.Number}: nobody asks");
        }
    }

    private static IEnumerable<int> RowsOfTraits()
    {
        string tests = Path.Combine(Repository.Root, "tests");
        return Directory.EnumerateFiles(tests, "*.cs", SearchOption.AllDirectories).SelectMany(File.ReadLines)
            .SelectMany(static line => TraitPattern().Matches(line)).Select(static match => int.Parse(match.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture));
    }

    [GeneratedRegex("^Row_([0-9]{3})_")]
    private static partial Regex RowName();

    [GeneratedRegex("Trait\\(\"Row\", \"([0-9]+)\"\\)")]
    private static partial Regex TraitPattern();
}
