using System.Globalization;

namespace TsdbRemote.Benchmarks;

/// <summary>What counts of instructions mean. Pure: counts in, verdict out.</summary>
/// <remarks>
/// Two gates. The yardstick needs nothing written down: the generated parser is counted in the same run, on the same body, by the same machine. The baseline,
/// where a line for the runtime is there, is finer.
/// </remarks>
internal static class InstructionVerdict
{
    /// <summary>Growth over the baseline that is still fine.</summary>
    public const double MostOfBaseline = 1.10;

    /// <summary>The count that <c>perf stat -x ,</c> has printed.</summary>
    /// <param name="exitCode">Of perf, which is that of the process it counted.</param>
    /// <param name="printed">What it printed.</param>
    /// <exception cref="InvalidOperationException">The process failed, or nothing was counted.</exception>
    public static long CountOf(int exitCode, string printed)
    {
        // First of all: a process that has failed may leave no count, and must not pass for one that cannot be counted.
        if (exitCode != 0) throw new InvalidOperationException($"exit code {exitCode}: {printed}");
        string? line = Array.Find(printed.Split('\n'), static line => line.Contains("instructions", StringComparison.Ordinal));
        return line is not null && long.TryParse(line.Split(',')[0], CultureInfo.InvariantCulture, out long count)
            ? count
            : throw new InvalidOperationException($"nothing was counted: {printed}");
    }

    /// <summary>Judges one case.</summary>
    /// <param name="lines">The baseline: <c>name count</c> each.</param>
    /// <param name="name">Runtime, architecture and case.</param>
    /// <param name="ours">Instructions a sample of ours.</param>
    /// <param name="yardstick">Instructions a sample of the generated parser.</param>
    /// <param name="most">Part of the yardstick that ours may be.</param>
    /// <returns>Whether both gates are passed, and what is to be printed; without a baseline that has the line to add.</returns>
    public static (bool IsFine, string Text) Of(string[] lines, string name, double ours, double yardstick, double most)
    {
        string print = string.Create(CultureInfo.InvariantCulture, $"{name} {ours:F1}");
        double part = ours / yardstick;
        bool isFine = part <= most; // not if it is not a number
        string text = string.Create(CultureInfo.InvariantCulture, $"{print} instructions a sample, {part:F3} × the generated parser{(isFine ? "" : " (too many)")}, at most {most}");
        if (Array.Find(lines, line => line.StartsWith(name + " ", StringComparison.Ordinal)) is not { } line) return (isFine, $"{text}; no baseline for this runtime, the line would be: {print}");
        double before = double.Parse(line.AsSpan(name.Length + 1), CultureInfo.InvariantCulture);
        bool hasGrown = !(ours <= before * MostOfBaseline);
        return (isFine && !hasGrown, string.Create(CultureInfo.InvariantCulture, $"{text}; {ours / before:F2} × the baseline{(hasGrown ? " (too many)" : "")}, at most {MostOfBaseline}"));
    }
}
