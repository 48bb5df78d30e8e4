using System.Diagnostics;
using System.Globalization;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.EndToEnd.Support;

/// <summary>The real promtool.</summary>
public static class Promtool
{
    /// <summary>Runs it to its end and hands over what it prints, line by line.</summary>
    public static async Task RunAsync(Action<string> line, params string[] arguments)
    {
        var start = new ProcessStartInfo(Programs.Get("promtool"), arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        while (await process.StandardOutput.ReadLineAsync() is { } text) line(text);
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"promtool {string.Join(' ', arguments)}: {process.ExitCode}\n{await errors}");
    }

    public static async Task<List<string>> RunAsync(params string[] arguments)
    {
        List<string> lines = [];
        await RunAsync(lines.Add, arguments);
        return lines;
    }

    /// <summary>All samples that <c>tsdb dump</c> prints, by labels as it prints them. A NaN's payload is not in its text.</summary>
    /// <param name="data">A directory of blocks; <c>wal/</c> is made in it, without which dump fails.</param>
    public static async Task<Dictionary<string, List<Sample>>> DumpAsync(string data)
    {
        Directory.CreateDirectory(Path.Combine(data, "wal"));
        Dictionary<string, List<Sample>> dump = [];
        await RunAsync(
            line =>
            {
                int labels = line.LastIndexOf("} ", StringComparison.Ordinal) + 1;
                int value = line.IndexOf(' ', labels + 1);
                if (!dump.TryGetValue(line[..labels], out List<Sample>? samples)) dump.Add(line[..labels], samples = []);
                samples.Add(Sample.Of(long.Parse(line.AsSpan(value + 1), CultureInfo.InvariantCulture), Number(line.AsSpan(labels + 1, value - labels - 1))));
            },
            "tsdb", "dump", data);
        return dump;
    }

    /// <summary>A float as Go prints it with %g; shortest text, so it names its bits.</summary>
    private static double Number(ReadOnlySpan<char> text) => text switch
    {
        "+Inf" => double.PositiveInfinity,
        "-Inf" => double.NegativeInfinity,
        "NaN" => double.NaN,
        _ => double.Parse(text, CultureInfo.InvariantCulture),
    };
}
