using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using TsdbRemote.Tests.Mutations;

namespace TsdbRemote.Fuzz;

/// <summary>Tries inputs one after the other and goes on from those that led to code which none before had led to.</summary>
internal sealed class GuidedRun(FuzzOptions options) : IDisposable
{
    // An input that grows only makes the next ones slower.
    private const int LongestKept = 4096;
    private const long NumbersOfASeed = 1L << 40;
    private const int MostFindings = 20;

    private static readonly TimeSpan Every = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Coverage _coverage = new();
    private readonly MemoryMappedViewAccessor _last = Instrumented.OpenLastInput();
    private readonly Dictionary<string, string> _findings = [];
    private long _startOfInput = Stopwatch.GetTimestamp();
    private long _tried;
    private long _taken;

    /// <summary>Runs.</summary>
    /// <returns>0; 1 if there are findings.</returns>
    public int Run()
    {
        FuzzTarget target = FuzzTargets.Find(options.Target);
        List<byte[]> corpus = [.. target.Corpus()];
        using var watch = new Timer(_ => Watch(), null, Every, Every);
        using var trial = new FuzzTrial(target);
        foreach (byte[] input in corpus) Try(trial, input);
        Print(corpus.Count);
        var mutator = new Mutator(corpus, target.Seal);
        long next = Stopwatch.GetTimestamp() + (long)(Every.TotalSeconds * Stopwatch.Frequency);
        for (long number = 0; number < options.Inputs && _findings.Count < MostFindings; number++)
        {
            ReadOnlySpan<byte> input = mutator.Make(options.Seed * NumbersOfASeed + number);
            if (Try(trial, input) && input.Length <= LongestKept) corpus.Add(input.ToArray());
            if (number % 1024 != 0 || Stopwatch.GetTimestamp() < next) continue;
            next += (long)(Every.TotalSeconds * Stopwatch.Frequency);
            Print(corpus.Count);
        }

        Print(corpus.Count);
        if (options.Keep) Keep(target, trial, corpus);
        foreach (string finding in _findings.Values) Console.WriteLine($"FINDING {finding}");
        return _findings.Count == 0 ? 0 : 1;
    }

    /// <inheritdoc/>
    public void Dispose() => _last.Dispose();

    /// <returns>True if it led to something new.</returns>
    private bool Try(FuzzTrial trial, ReadOnlySpan<byte> input)
    {
        Note(input);
        _coverage.Begin();
        _tried++;
        try
        {
            if (trial.Run(input)) _taken++;
        }
        catch (FuzzFindingException finding)
        {
            _findings.TryAdd(PlaceOf(finding.InnerException!), $"{finding.Message}\n{finding.InnerException}");
            return false;
        }

        return _coverage.End();
    }

    /// <summary>One fault is met by many inputs.</summary>
    private static string PlaceOf(Exception cause) => cause.GetType().Name + cause.StackTrace?.Split('\n').FirstOrDefault(static line => line.Contains("TsdbRemote.", StringComparison.Ordinal));

    private void Note(ReadOnlySpan<byte> input)
    {
        Volatile.Write(ref _startOfInput, Stopwatch.GetTimestamp());
        int length = (int)Math.Min(input.Length, _last.Capacity - sizeof(int));
        _last.Write(0, length);
        _last.SafeMemoryMappedViewHandle.WriteSpan(sizeof(int), input[..length]);
    }

    private void Watch()
    {
        if (Stopwatch.GetElapsedTime(Volatile.Read(ref _startOfInput)) > Patience) Environment.FailFast($"{options.Target}: an input takes more than {Patience}");
    }

    private void Print(int corpus) => Console.WriteLine($"{options.Target}: {_tried} inputs, {_taken} taken, {corpus} kept, {_coverage.Seen} pairs of branches, {_findings.Count} findings");

    /// <summary>Of those that lead to a pair of branches that no shorter one leads to, the shortest; what the seeds lead to needs nothing kept.</summary>
    private void Keep(FuzzTarget target, FuzzTrial trial, List<byte[]> corpus)
    {
        _coverage.Forget();
        bool LeadsOn(byte[] input)
        {
            _coverage.Begin();
            try
            {
                trial.Run(input);
            }
            catch (FuzzFindingException)
            {
                return false;
            }

            return _coverage.EndPairs();
        }

        IReadOnlyList<byte[]> seeds = target.Seeds();
        foreach (byte[] seed in seeds) LeadsOn(seed);
        string[] kept = [.. corpus.Skip(seeds.Count).OrderBy(static input => input.Length).Where(LeadsOn).Select(Convert.ToBase64String)];
        string path = FuzzTarget.KeptPath(target.Name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllLines(path, kept);
        Console.WriteLine($"{path}: {kept.Length} inputs, {new FileInfo(path).Length} bytes");
    }
}
