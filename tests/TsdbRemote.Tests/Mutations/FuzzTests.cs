using System.Globalization;
using Xunit.Abstractions;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Wrong inputs for each parser of what others may have written, as many as there is time for in every run: it answers, in bounds, and what it takes is what is there.</summary>
/// <remarks>
/// The inputs are the same in each run. A failure names the number of the mutation and has the input. <c>FUZZ_SEED=7</c> in the environment makes others, <c>FUZZ_INPUTS=10000000</c> more or
/// fewer; <c>tests/TsdbRemote.Fuzz</c> looks for those that lead to new code.
/// </remarks>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const long NumbersOfASeed = 1L << 40;

    private static readonly long Seed = FromEnvironment("FUZZ_SEED") ?? 0;

    public static TheoryData<string> Targets => [.. FuzzTargets.All.Select(static target => target.Name)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Any_input_is_taken_or_refused_in_bounds(string name)
    {
        FuzzTarget target = FuzzTargets.Find(name);
        IReadOnlyList<byte[]> corpus = target.Corpus();
        long count = FromEnvironment("FUZZ_INPUTS") ?? target.Count;
        long taken = 0;
        TimeSpan before = Environment.CpuUsage.TotalTime;
        const long Lot = 10_000;
        Parallel.For(
            0,
            (count + Lot - 1) / Lot,
            () => (Trial: new FuzzTrial(target), Mutator: new Mutator(corpus, target.Seal), Taken: 0L),
            (lot, _, mine) =>
            {
                for (long number = lot * Lot; number < Math.Min(count, (lot + 1) * Lot); number++) mine.Taken += Run(mine.Trial, mine.Mutator, Seed * NumbersOfASeed + number);
                return mine;
            },
            mine =>
            {
                mine.Trial.Dispose();
                Interlocked.Add(ref taken, mine.Taken);
            });

        // Right if nothing else runs in the process: a figure for who runs these tests alone.
        output.WriteLine($"{name}: {count} inputs, {taken} taken, {(Environment.CpuUsage.TotalTime - before).TotalSeconds:F1} s of processors");

        // Were all refused at once, nothing behind the first check would have been tried.
        Assert.True(taken > count / 1000, $"{taken} of {count} were taken");
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void All_good_inputs_are_taken_and_pass(string name)
    {
        FuzzTarget target = FuzzTargets.Find(name);
        using var trial = new FuzzTrial(target);
        IReadOnlyList<byte[]> seeds = target.Seeds();
        int taken = seeds.Count(seed => trial.Run(seed));
        Assert.InRange(taken, 1, seeds.Count);
        foreach (byte[] kept in target.Corpus().Skip(seeds.Count)) trial.Run(kept);
    }

    [Fact]
    public void What_was_found_once_stays_mended()
    {
        string[] findings = [.. File.ReadLines(Repository.TestData("fuzz/findings.txt")).Where(static line => !line.StartsWith('#'))];
        foreach (string[] fields in findings.Select(static line => line.Split(' ', 3)))
        {
            using var trial = new FuzzTrial(FuzzTargets.Find(fields[0]));
            trial.Run(Convert.FromBase64String(fields[1]));
        }

        Assert.NotEmpty(findings);
    }

    private static int Run(FuzzTrial trial, Mutator mutator, long number)
    {
        ReadOnlySpan<byte> input = mutator.Make(number);
        try
        {
            return trial.Run(input) ? 1 : 0;
        }
        catch (FuzzFindingException finding)
        {
            throw new InvalidOperationException($"seed {Seed}, mutation {number}: {finding.Message}", finding);
        }
    }

    private static long? FromEnvironment(string name) => long.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out long number) ? number : null;
}
