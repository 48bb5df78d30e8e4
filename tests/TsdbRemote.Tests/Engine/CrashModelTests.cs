using System.Globalization;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T8, T55: random histories with power cuts at random operations, under every policy of what a disk may keep, and with a disk that fails; recoveries are cut off as well, up to ten times in a
/// row.
/// </summary>
/// <remarks>
/// A failure names its seed. <c>CRASH_SEEDS=4711</c> in the environment runs that one alone, <c>CRASH_SEEDS=1000-9999</c> as many as you have time for:
/// <c>CRASH_SEEDS=1000-9999 dotnet test -c Release tests/TsdbRemote.Tests --filter CrashModelTests</c>.
/// </remarks>
public sealed class CrashModelTests
{
    private const int SeedsOfEveryRun = 60;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void T55_any_history_with_power_cuts_anywhere_reads_what_was_acknowledged_and_nothing_that_was_not_sent(bool withFaults)
    {
        (int first, int count) = Seeds();
        int crashes = 0;
        int midway = 0;
        int inRecovery = 0;
        int faults = 0;
        int certain = 0;
        Parallel.For(first, first + count, seed =>
        {
            var model = new CrashModel(seed, withFaults);
            List<string> problems = model.Run();
            Assert.True(problems.Count == 0, $"CRASH_SEEDS={seed}, with faults {withFaults}: {string.Join('\n', problems)}\n{model.Log}");
            Interlocked.Add(ref crashes, model.Crashes);
            Interlocked.Add(ref midway, model.MidwayCrashes);
            Interlocked.Add(ref inRecovery, model.RecoveryCrashes);
            Interlocked.Add(ref faults, model.Faults);
            Interlocked.Add(ref certain, model.CertainSamples);
        });
        if (count < SeedsOfEveryRun) return;
        string seen = $"{crashes} power cuts, {midway} in the middle of something, {inRecovery} in a recovery, {faults} failed calls, {certain} samples certain";
        Assert.True(crashes > count * 8 && midway > count * 3 && inRecovery > count && certain > count * 50 && faults > 0 == withFaults, $"the histories did not come to what they are for: {seen}");
    }

    private static (int First, int Count) Seeds()
    {
        if (Environment.GetEnvironmentVariable("CRASH_SEEDS") is not { Length: > 0 } given) return (1, SeedsOfEveryRun);
        string[] bounds = given.Split('-');
        int first = int.Parse(bounds[0], CultureInfo.InvariantCulture);
        return (first, bounds.Length == 1 ? 1 : int.Parse(bounds[1], CultureInfo.InvariantCulture) - first + 1);
    }
}
