using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace TsdbRemote.Benchmarks;

/// <summary>
/// Instructions a sample of the decode kernel, snappy and protobuf, against the generated parser's and those written down for this runtime: unlike time they are
/// the same on a busy machine.
/// </summary>
/// <remarks>
/// <c>perf stat</c> counts a process of its own that decodes so many bodies, and one that decodes none; code is compiled whole at first use in both, and
/// what both do is in neither figure. Where the machine has no counters, as most virtual ones, each case is decoded a few times all the same, and the verb says
/// that it skips the counts. The baseline has a line for each major version of the runtime, architecture and case; <c>--baseline</c> names another file.
/// </remarks>
internal static class DecodeInstructionsVerb
{
    private const string Loop = "decode-loop";
    private const int Rounds = 1_000;
    private const int UncountedRounds = 3;

    // The largest part of the generated parser's time that was ever seen, and a half more: 0.13 (1.0; known series are mostly snappy, too) and 0.63 (2.0). Of time and not
    // of instructions, for want of counters: the generated parser waits for memory more, so its part of instructions is smaller than that of time.
    private const double MostOfGenerated1 = 0.2;
    private const double MostOfGenerated2 = 0.95;

    /// <summary>Cases, what each is measured by, and which part of that it may be.</summary>
    private static readonly (string Name, string Yardstick, double Most)[] Cases =
    [
        (DecodeLoop.Cold1, DecodeLoop.Generated1, MostOfGenerated1),
        (DecodeLoop.Known1, DecodeLoop.Generated1, MostOfGenerated1),
        (DecodeLoop.Cold2, DecodeLoop.Generated2, MostOfGenerated2),
    ];

    /// <summary>Measures, or is the process that is measured.</summary>
    /// <returns>0 if every case is decoded, and none takes more instructions than it may or nothing can be counted here.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        if (arguments is [Loop, string which, string rounds]) return DecodeLoop.Run(which, int.Parse(rounds, CultureInfo.InvariantCulture));
        var given = new VerbArguments(arguments);
        string baseline = given.Text("--baseline", "tests/TsdbRemote.Benchmarks/decode-instructions.txt");
        given.RefuseOthers();
        string[] lines = await File.ReadAllLinesAsync(baseline);
        if (!await CanCountAsync()) return await RunUncountedAsync();
        bool isFine = true;
        foreach ((string name, string yardstick, double most) in Cases)
        {
            string key = string.Create(CultureInfo.InvariantCulture, $"{Environment.Version.Major} {RuntimeInformation.ProcessArchitecture} {name}");
            (bool passed, string text) = InstructionVerdict.Of(lines, key, await PerSampleAsync(name), await PerSampleAsync(yardstick), most);
            Console.WriteLine($"decode-instructions: {text}");
            isFine &= passed;
        }

        return isFine ? 0 : 1;
    }

    private static async Task<double> PerSampleAsync(string which) =>
        (double)(await CountAsync(which, Rounds) - await CountAsync(which, 0)) / Rounds / Inputs.SamplesPerRequest;

    /// <summary>Instructions of a process in user mode.</summary>
    private static async Task<long> CountAsync(string which, int rounds)
    {
        (int exitCode, string printed) = await PerfAsync(CommandOf(which, rounds));
        return InstructionVerdict.CountOf(exitCode, printed);
    }

    private static async Task<bool> CanCountAsync()
    {
        try
        {
            (int exitCode, string printed) = await PerfAsync(["true"]);
            return InstructionVerdict.CountOf(exitCode, printed) > 0;
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException)
        {
            return false; // no perf, or no counters for it
        }
    }

    private static async Task<int> RunUncountedAsync()
    {
        foreach (string which in Cases.SelectMany(static one => new[] { one.Name, one.Yardstick }).Distinct())
        {
            string[] command = CommandOf(which, UncountedRounds);
            using Process process = Process.Start(new ProcessStartInfo(command[0], command[1..]))!;
            await process.WaitForExitAsync();
            if (process.ExitCode == 0) continue;
            Console.WriteLine($"decode-instructions: {which} is not decoded");
            return 1;
        }

        Console.WriteLine("decode-instructions: every case is decoded; counts skipped: no hardware counters");
        return 0;
    }

    private static async Task<(int ExitCode, string Printed)> PerfAsync(string[] command)
    {
        var start = new ProcessStartInfo("perf", ["stat", "-x", ",", "-e", "instructions:u", "--", .. command]) { RedirectStandardError = true };
        start.Environment["DOTNET_TieredCompilation"] = "0";
        start.Environment["DOTNET_gcConcurrent"] = "0";
        using Process perf = Process.Start(start)!;
        string printed = await perf.StandardError.ReadToEndAsync();
        await perf.WaitForExitAsync();
        return (perf.ExitCode, printed);
    }

    /// <summary>How this program is called for a case, by its own host or by <c>dotnet</c>.</summary>
    private static string[] CommandOf(string which, int rounds)
    {
        string[] assembly = Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet" ? [Environment.GetCommandLineArgs()[0]] : [];
        return [Environment.ProcessPath!, .. assembly, "decode-instructions", Loop, which, string.Create(CultureInfo.InvariantCulture, $"{rounds}")];
    }
}
