using System.Collections.Concurrent;
using System.Globalization;

namespace TsdbRemote.Tests.Engine;

/// <summary>T41: random histories whose manifests are wrecked in the midst of any work, and rebuilt.</summary>
/// <remarks>
/// A failure names its seed. <c>REBUILD_SEEDS=4711</c> in the environment runs that one alone, <c>REBUILD_SEEDS=1000-9999</c> as many as you have time for:
/// <c>REBUILD_SEEDS=1000-9999 dotnet test -c Release tests/TsdbRemote.Tests --filter ManifestRebuildModelTests</c>.
/// </remarks>
public sealed class ManifestRebuildModelTests
{
    private const int SeedsOfEveryRun = 60;

    [Fact]
    public void T41_any_history_reads_the_same_after_its_manifest_was_rebuilt_with_the_one_before_an_older_one_or_none()
    {
        (int first, int count) = Seeds();
        int rebuilt = 0;
        int rests = 0;
        int certain = 0;
        ConcurrentDictionary<int, string> failures = [];
        Parallel.For(first, first + count, seed =>
        {
            var history = new RebuildHistory(seed);
            List<string> problems = history.Run();
            if (problems.Count > 0) failures[seed] = $"{string.Join('\n', problems)}\n{history.Log}";
            Interlocked.Add(ref rebuilt, history.Rebuilt);
            Interlocked.Add(ref rests, history.WithRests);
            Interlocked.Add(ref certain, history.WithoutDoubt);
        });
        Assert.True(failures.IsEmpty, failures.IsEmpty ? "" : $"{failures.Count} of {count} failed: {string.Join(' ', failures.Keys.Order())}\nREBUILD_SEEDS={failures.Keys.Min()}: {failures[failures.Keys.Min()]}");
        if (count < SeedsOfEveryRun) return;
        Assert.True(rebuilt > count * 10 && rests > count && certain > count, $"the histories did not come to what they are for: {rebuilt} rebuilt, {rests} with rests, {certain} without doubt");
    }

    private static (int First, int Count) Seeds()
    {
        if (Environment.GetEnvironmentVariable("REBUILD_SEEDS") is not { Length: > 0 } given) return (1, SeedsOfEveryRun);
        string[] bounds = given.Split('-');
        int first = int.Parse(bounds[0], CultureInfo.InvariantCulture);
        return (first, bounds.Length == 1 ? 1 : int.Parse(bounds[1], CultureInfo.InvariantCulture) - first + 1);
    }
}
