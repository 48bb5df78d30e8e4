using System.Diagnostics;
using BenchmarkDotNet.Analysers;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Validators;

namespace TsdbRemote.Benchmarks;

/// <summary>Adds the column of <see cref="CpuDiagnoser"/>.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class CpuDiagnoserAttribute : Attribute, IConfigSource
{
    public IConfig Config { get; } = ManualConfig.CreateEmpty().AddDiagnoser(new CpuDiagnoser());
}

/// <summary>Processor time of the benchmark's process during the measured iterations, user and system, all threads, a sample.</summary>
/// <remarks>For what waits for disks or works on several threads, where the wall says little. Set-up between iterations counts too: keep it small.</remarks>
internal sealed class CpuDiagnoser : IDiagnoser
{
    private readonly Dictionary<BenchmarkCase, TimeSpan> _used = [];
    private TimeSpan _before;

    public IEnumerable<string> Ids => [nameof(CpuDiagnoser)];

    public IEnumerable<IExporter> Exporters => [];

    public IEnumerable<IAnalyser> Analysers => [];

    public RunMode GetRunMode(BenchmarkCase benchmarkCase) => RunMode.NoOverhead;

    public void Handle(HostSignal signal, DiagnoserActionParameters parameters)
    {
        // The benchmark's process waits while this runs.
        if (signal == HostSignal.BeforeActualRun) _before = CpuOf(parameters.Process);
        if (signal == HostSignal.AfterActualRun) _used[parameters.BenchmarkCase] = CpuOf(parameters.Process) - _before;
    }

    public IEnumerable<Metric> ProcessResults(DiagnoserResults results)
    {
        if (!_used.TryGetValue(results.BenchmarkCase, out TimeSpan used)) yield break;
        long samples = results.Measurements.Where(static measurement => measurement.Is(IterationMode.Workload, IterationStage.Actual))
            .Sum(static measurement => measurement.Operations);
        if (samples > 0) yield return new Metric(CpuDescriptor.Instance, used.TotalNanoseconds / samples);
    }

    public void DisplayResults(ILogger logger)
    {
        // The column says it all.
    }

    public IEnumerable<ValidationError> Validate(ValidationParameters validationParameters) => [];

    private static TimeSpan CpuOf(Process process)
    {
        process.Refresh();
        return process.TotalProcessorTime;
    }

    private sealed class CpuDescriptor : IMetricDescriptor
    {
        public static CpuDescriptor Instance { get; } = new();

        public string Id => "Cpu";

        public string DisplayName => "CPU ns";

        public string Legend => "Processor time of all threads of the process, user and system, per operation (ns)";

        public string NumberFormat => "0.0";

        public UnitType UnitType => UnitType.Dimensionless;

        public string Unit => "ns";

        public bool TheGreaterTheBetter => false;

        public int PriorityInCategory => 0;

        public bool GetIsAvailable(Metric metric) => true;
    }
}
