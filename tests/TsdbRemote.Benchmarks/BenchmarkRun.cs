using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using Perfolizer.Horology;

namespace TsdbRemote.Benchmarks;

/// <summary>Hands the arguments to BenchmarkDotNet; <c>--short</c> is ours.</summary>
internal static class BenchmarkRun
{
    private const string Short = "--short";

    /// <returns>0 if every benchmark chosen has a result.</returns>
    public static int Run(string[] arguments)
    {
        List<string> rest = [.. arguments.Where(static argument => argument != Short)];
        bool isShort = rest.Count < arguments.Length;
        if (isShort && !rest.Contains("--filter") && !rest.Contains("-f")) rest.AddRange(["--filter", "*"]);
        IConfig config = DefaultConfig.Instance.WithSummaryStyle(SummaryStyle.Default.WithTimeUnit(TimeUnit.Nanosecond));
        if (isShort) config = config.AddJob(ShortJob());
        Summary[] summaries = [.. BenchmarkSwitcher.FromAssembly(typeof(BenchmarkRun).Assembly).Run([.. rest], config)];
        return summaries.All(static summary => !summary.HasCriticalValidationErrors && summary.Reports.All(static report => report.Success)) ? 0 : 1;
    }

    /// <summary>BenchmarkDotNet's ShortRun with shorter iterations. Changes other jobs rather than adding one.</summary>
    private static Job ShortJob() => Job.ShortRun.WithIterationTime(TimeInterval.FromMilliseconds(100)).AsMutator();
}

/// <summary>For benchmarks of seconds: few iterations, and the thread pool's setting of the server's runtimeconfig.template.json.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class ServerLikeJobAttribute : Attribute, IConfigSource
{
    public IConfig Config { get; } = ManualConfig.CreateEmpty().AddJob(
        Job.Default.WithWarmupCount(1).WithIterationCount(3)
            .WithEnvironmentVariable("DOTNET_ThreadPool_UnfairSemaphoreSpinLimit", "0").AsMutator());
}
