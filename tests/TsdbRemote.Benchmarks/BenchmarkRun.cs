using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using Perfolizer.Horology;

namespace TsdbRemote.Benchmarks;

/// <summary>Hands the arguments to BenchmarkDotNet; <c>--short</c> is ours.</summary>
internal static class BenchmarkRun
{
    private const string Short = "--short";

    /// <returns>0 if benchmarks were chosen and each has a result, or none was asked for.</returns>
    public static int Run(string[] arguments)
    {
        List<string> rest = [.. arguments.Where(static argument => argument != Short)];
        bool isShort = rest.Count < arguments.Length;
        if (isShort && !rest.Contains("--filter") && !rest.Contains("-f")) rest.AddRange(["--filter", "*"]);
        IConfig config = DefaultConfig.Instance.WithSummaryStyle(SummaryStyle.Default.WithTimeUnit(TimeUnit.Nanosecond));
        if (isShort) config = config.AddJob(ShortJob());
        Summary[] summaries = [.. BenchmarkSwitcher.FromAssembly(typeof(BenchmarkRun).Assembly).Run([.. rest], config)];
        if (summaries.Length == 0) return rest.Exists(static argument => argument is "--list" or "--info" or "--help" or "--version") ? 0 : 1;
        return summaries.All(static summary => !summary.HasCriticalValidationErrors && summary.Reports.All(static report => report.Success)) ? 0 : 1;
    }

    /// <summary>BenchmarkDotNet's ShortRun with shorter iterations. Changes other jobs rather than adding one.</summary>
    private static Job ShortJob() => Job.ShortRun.WithIterationTime(TimeInterval.FromMilliseconds(100)).AsMutator();
}

/// <summary>
/// For a benchmark whose one invocation is long enough to be a figure: one iteration whatever the job says (<c>--launchCount 3</c> repeats it),
/// and the thread pool's setting of the server's runtimeconfig.template.json, which BenchmarkDotNet does not take over.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class ServerLikeJobAttribute : Attribute, IConfigSource
{
    public IConfig Config { get; } = ManualConfig.CreateEmpty().AddJob(
        Job.Default.WithStrategy(RunStrategy.Monitoring).WithWarmupCount(0).WithIterationCount(1)
            .WithEnvironmentVariable("DOTNET_ThreadPool_UnfairSemaphoreSpinLimit", "0").AsMutator());
}
