using System.Globalization;
using System.Runtime.CompilerServices;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Asks a real Prometheus and us the same, and holds both answers against the conformance page.</summary>
public abstract class RowTests(Pairs pairs)
{
    /// <summary>Runs a row on both servers.</summary>
    /// <param name="ask">What is asked; gives what was answered.</param>
    /// <param name="variant">Which servers.</param>
    /// <param name="name">Of the test: <c>Row_009_…</c>.</param>
    protected async Task CompareAsync(Func<Peer, Task<string>> ask, Variant variant = Variant.Default, [CallerMemberName] string name = "")
    {
        int number = int.Parse(name.Split('_')[1], CultureInfo.InvariantCulture);
        Pair pair = await pairs.Of(variant);
        string prometheus = await ask(pair.Prometheus);
        string ours = await ask(pair.Ours);
        if (ConformancePage.IsRewritten)
        {
            ConformancePage.Rewrite(number, prometheus, ours);
            return;
        }

        PageRow row = ConformancePage.Read()[number];
        Assert.Equal(row.Ours, ours);
        Assert.Equal(row.Prometheus, prometheus);
        Assert.Equal(prometheus == ours, row.Why.Length == 0);
    }

    /// <summary>Answers one after the other.</summary>
    protected static string Then(params string[] answers) => string.Join(" → ", answers);
}
