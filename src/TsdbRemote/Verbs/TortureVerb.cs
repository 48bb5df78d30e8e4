using System.Globalization;
using TsdbRemote.Storage.Options;
using TsdbRemote.Torture;

namespace TsdbRemote.Verbs;

/// <summary>Kills servers of this program again and again, on the disk that it is told, and looks whether they lose what they acknowledged.</summary>
internal static class TortureVerb
{
    private const int Kept = 0;
    private const int Broken = 1;
    private const int CannotRun = 2;

    /// <summary>Runs it.</summary>
    /// <returns>0 if every promise was kept, 1 if one was broken, 2 if the call was wrong.</returns>
    public static int Run(string[] args) => Run(args, Console.Out, Console.Error);

    /// <summary>The same with its streams, for tests.</summary>
    /// <param name="args">What stands behind the verb.</param>
    /// <param name="output">Gets the result.</param>
    /// <param name="progress">Gets a line for each kill and each damage, and why it cannot be run.</param>
    internal static int Run(string[] args, TextWriter output, TextWriter progress)
    {
        if (Read(args, out string problem) is not { } plan)
        {
            progress.WriteLine($"{problem}: TsdbRemote torture --data DIR --minutes N [--durability fsync|interval|none] [--seed N]");
            return CannotRun;
        }

        using var cancel = new CancellationTokenSource();
        ConsoleCancelEventHandler interrupt = (_, pressed) =>
        {
            pressed.Cancel = true;
            cancel.Cancel();
        };
        Console.CancelKeyPress += interrupt;
        progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"seed {plan.Seed}"));
        var run = new TortureRun(plan, progress);
        try
        {
            run.RunAsync(cancel.Token).GetAwaiter().GetResult();
            Sum(run.Figures, output);
            return Kept;
        }
        catch (TortureException broken)
        {
            Sum(run.Figures, output);
            output.WriteLine($"BROKEN: {broken.Message}");
            output.WriteLine($"seed {plan.Seed}; {plan.Directory} is left as it is");
            return Broken;
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException or HttpRequestException)
        {
            Sum(run.Figures, output);
            progress.WriteLine($"cannot go on: {failed.Message}; seed {plan.Seed}; {plan.Directory} is left as it is");
            return CannotRun;
        }
        finally
        {
            Console.CancelKeyPress -= interrupt;
        }
    }

    /// <summary>What is asked, or null and why it is no question.</summary>
    private static TorturePlan? Read(string[] args, out string problem)
    {
        string? directory = null;
        double minutes = 0;
        WalDurability[] modes = Enum.GetValues<WalDurability>();
        int seed = Random.Shared.Next(1, 1_000_000);
        problem = "";
        for (int i = 0; i < args.Length; i += 2)
        {
            string? value = i + 1 < args.Length ? args[i + 1] : null;
            bool isGood = args[i] switch
            {
                "--data" => (directory = value) is { Length: > 0 },
                "--minutes" => double.TryParse(value, CultureInfo.InvariantCulture, out minutes) && minutes is > 0 and <= 10_000_000,
                "--durability" => Enum.TryParse(value, ignoreCase: true, out WalDurability mode) && Enum.IsDefined(mode) && (modes = [mode]).Length == 1,
                "--seed" => int.TryParse(value, CultureInfo.InvariantCulture, out seed),
                _ => false,
            };
            if (!isGood) problem = $"{args[i]} {value} is not known";
        }

        if (problem.Length == 0 && (directory is null || minutes == 0)) problem = "--data and --minutes are needed";
        if (problem.Length == 0 && Directory.Exists(directory) && Directory.EnumerateFileSystemEntries(directory).Any()) problem = $"{directory} is not empty, and everything in it would be in the way";
        if (problem.Length > 0) return null;
        Directory.CreateDirectory(directory!);
        return new TorturePlan(directory!, TimeSpan.FromMinutes(minutes), modes, seed);
    }

    private static void Sum(TortureFigures figures, TextWriter output) => output.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"acknowledged {figures.Acknowledged}, recovered {figures.Recovered}; {figures.Kills} kills, {figures.EarlyKills} of them during a replay; {figures.Damages} files damaged; {figures.Reads} reads beside writers; mode none gave {figures.GivenAway} away"));
}
