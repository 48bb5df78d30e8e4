using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Benchmarks;

/// <summary>
/// Instructions a sample of the decode kernel, snappy and protobuf, against those written down for this runtime: unlike time they are the same on a busy machine.
/// </summary>
/// <remarks>
/// <c>perf stat</c> counts a process of its own that decodes so many bodies, and one that decodes none; code is compiled whole at first use in both, and
/// what both do is in neither figure. Where the machine has no counters, as most virtual ones, the verb says that it skips. The baseline has a line for each
/// runtime, architecture and version of remote write; for one that it lacks the verb tells the line to add. <c>--baseline</c> names another file.
/// </remarks>
internal static class DecodeInstructionsVerb
{
    private const string Loop = "decode-loop";
    private const int Rounds = 1_000;
    private const int MaxDecoded = 32 << 20;
    private const double MostOfBaseline = 1.10;
    private static readonly string Runtime = $"{Environment.Version} {System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture}";

    /// <summary>Measures, or is the process that is measured.</summary>
    /// <returns>0 if nothing has grown by more than a tenth, or nothing can be counted here.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        if (arguments is [Loop, string which, string rounds]) return Decode(which == "2.0", int.Parse(rounds, CultureInfo.InvariantCulture));
        var given = new VerbArguments(arguments);
        string baseline = given.Text("--baseline", "tests/TsdbRemote.Benchmarks/decode-instructions.txt");
        given.RefuseOthers();
        string[] lines = await File.ReadAllLinesAsync(baseline);
        bool isFine = true;
        foreach (string version in new[] { "1.0", "2.0" })
        {
            if (await CountAsync(version, 0) is not { } without || await CountAsync(version, Rounds) is not { } with)
            {
                Console.WriteLine("decode-instructions: skipped: no hardware counters");
                return 0;
            }

            double now = (double)(with - without) / Rounds / Inputs.SamplesPerRequest;
            isFine &= Compare(lines, $"{Runtime} {version}", now);
        }

        return isFine ? 0 : 1;
    }

    private static bool Compare(string[] lines, string name, double now)
    {
        string print = string.Create(CultureInfo.InvariantCulture, $"{name} {now:F1}");
        if (Array.Find(lines, line => line.StartsWith(name + " ", StringComparison.Ordinal)) is not { } line)
        {
            Console.WriteLine($"decode-instructions: no baseline for this runtime; the line would be: {print}");
            return true;
        }

        double before = double.Parse(line.AsSpan(name.Length + 1), CultureInfo.InvariantCulture);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"decode-instructions: {print} instructions a sample, {now / before:F2} × the baseline"));
        return now <= before * MostOfBaseline;
    }

    /// <summary>Instructions of a process in user mode.</summary>
    /// <returns>Null if they cannot be counted here.</returns>
    private static async Task<long?> CountAsync(string version, int rounds)
    {
        var start = new ProcessStartInfo("perf", ["stat", "-x", ",", "-e", "instructions:u", "--", .. Self(), "decode-instructions", Loop, version, $"{rounds}"]) { RedirectStandardError = true };
        start.Environment["DOTNET_TieredCompilation"] = "0";
        try
        {
            using Process perf = Process.Start(start)!;
            string text = await perf.StandardError.ReadToEndAsync();
            await perf.WaitForExitAsync();
            string? line = Array.Find(text.Split('\n'), static line => line.Contains("instructions", StringComparison.Ordinal));
            if (line is null || !long.TryParse(line.Split(',')[0], CultureInfo.InvariantCulture, out long count)) return null;
            return perf.ExitCode == 0 ? count : throw new InvalidOperationException(text);
        }
        catch (Win32Exception)
        {
            return null; // no perf
        }
    }

    /// <summary>How this program is called, by its own host or by <c>dotnet</c>.</summary>
    private static string[] Self() =>
        [Environment.ProcessPath!, .. Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet" ? new[] { Environment.GetCommandLineArgs()[0] } : []];

    private static int Decode(bool isVersion2, int rounds)
    {
        byte[] body = (isVersion2 ? Inputs.BodiesV2(Input.Typical) : Inputs.BodiesV1(Input.Typical))[0];
        using var batch = new WriteBatch();

        // Once in any case, so that both processes compile the same.
        for (int round = 0; round <= rounds; round++)
        {
            if (SnappyBlock.TryDecompress(body, MaxDecoded, out PooledBuffer? raw) != CompressionStatus.Ok) return 1;
            using (raw)
            {
                DecodeStatus status = isVersion2
                    ? RemoteWriteV2.Decode(raw!.Memory, batch, DecodeLimits.Default, out _)
                    : RemoteWriteV1.Decode(raw!.Memory, batch, DecodeLimits.Default, out _);
                if (status != DecodeStatus.Ok || batch.SampleCount != Inputs.SamplesPerRequest) return 1;
            }
        }

        return 0;
    }
}
