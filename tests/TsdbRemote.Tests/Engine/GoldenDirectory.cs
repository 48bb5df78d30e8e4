using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Engine;

/// <summary>A data directory as a program of an earlier version left it when it was killed, with a file of every kind (<c>Data/golden/directory-v1</c>), and what is to be read from it.</summary>
/// <remarks>
/// A format that gets a new version gets a new directory, and the old ones stay: <c>TSDB_REMOTE_REWRITE_GOLDEN=1 dotnet test --filter UpgradeTests</c> writes the newest anew; one that was
/// released is never rewritten.
/// </remarks>
internal static class GoldenDirectory
{
    private const string Newest = "directory-v1";
    private const string Expected = "expected.txt";

    /// <summary>All of them, oldest first.</summary>
    public static IEnumerable<string> All => Directory.GetDirectories(Repository.TestData("golden"), "directory-v*").Select(static path => Path.GetFileName(path)!).Order(StringComparer.Ordinal);

    /// <summary>Writes the newest, if that is asked for.</summary>
    public static void RewriteIfAsked()
    {
        if (Environment.GetEnvironmentVariable("TSDB_REMOTE_REWRITE_GOLDEN") != "1") return;
        string target = Repository.TestData($"golden/{Newest}");
        if (Directory.Exists(target)) Directory.Delete(target, recursive: true);
        CrashFileSystem disk = Killed();
        foreach (string file in FilesOf(disk).Where(static file => file != "LOCK"))
        {
            byte[] bytes = disk.ReadAll($"{Root}/{file}");

            // The room that is reserved behind a log's last frame may end anywhere.
            if (file.StartsWith("wal/", StringComparison.Ordinal)) bytes = bytes[..(bytes.AsSpan().LastIndexOfAnyExcept((byte)0) + 4 & ~3)];
            string path = Path.Combine(target, file);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, bytes);
        }

        File.WriteAllText(Path.Combine(target, Expected), Read(Open(CopyOf(Newest))));
    }

    /// <summary>What is to be read from one.</summary>
    public static string ExpectedOf(string name) => File.ReadAllText(Repository.TestData($"golden/{name}/{Expected}"));

    /// <summary>Names of its files, relative to the data directory.</summary>
    public static IEnumerable<string> FilesIn(string name)
    {
        string source = Repository.TestData($"golden/{name}");
        return Directory.GetFiles(source, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(source, file)).Where(static file => file != Expected).Order(StringComparer.Ordinal);
    }

    /// <summary>A disk with a copy of it.</summary>
    public static CrashFileSystem CopyOf(string name)
    {
        var disk = new CrashFileSystem("/disk", Root);
        foreach (string file in FilesIn(name))
        {
            string[] folders = file.Split('/')[..^1];
            for (int depth = 1; depth <= folders.Length; depth++) disk.MakeDir($"{Root}/{string.Join('/', folders[..depth])}");
            disk.WriteNew($"{Root}/{file}", File.ReadAllBytes(Repository.TestData($"golden/{name}/{file}")));
        }

        foreach (string folder in (string[])["wal", "series", "tables", "blocks", "snapshots", "quarantine"]) disk.MakeDir($"{Root}/{folder}");
        return disk;
    }

    public static EngineHarness Open(IFileSystem disk) => EngineHarness.OpenStepwise(disk, EngineHarness.SmallOptions, Clock());

    /// <summary>Everything that is served: a line for each run of samples, each exemplar and each family.</summary>
    public static string Read(EngineHarness engine)
    {
        var text = new StringBuilder();
        foreach ((string series, List<LaneSample> samples) in engine.ReadMixed().OrderBy(static series => series.Key, StringComparer.Ordinal))
        {
            text.Append(series).Append('\n');
            for (int from = 0; from < samples.Count;)
            {
                int end = EndOfRun(samples, from);
                text.Append("  ").Append(Print(samples[from]));
                if (end - from > 1) text.Append(CultureInfo.InvariantCulture, $" and {end - from - 1} more, +{StepOf(samples, from).TimeMs} ms, +{StepOf(samples, from).Value:R}");
                text.Append('\n');
                from = end;
            }
        }

        foreach (string exemplar in Exemplars.HeldExemplars.Print(engine.Engine.FindExemplars(static _ => true, TimeRange.All))) text.Append("exemplar ").Append(exemplar).Append('\n');
        foreach ((string family, MetricDescription told) in engine.Engine.Metadata.List().OrderBy(static one => one.Key, StringComparer.Ordinal))
            text.Append("metadata ").Append(family).Append(' ').Append(told).Append('\n');
        return text.ToString();
    }

    /// <summary>Where samples end that follow each other in equal steps of time and value, to the bit: a line says all of them.</summary>
    private static int EndOfRun(List<LaneSample> samples, int from)
    {
        int end = from + 1;
        if (samples[from].Histogram is not null || end == samples.Count || samples[end].Histogram is not null) return end;
        (long timeMs, double value) = StepOf(samples, from);
        while (end < samples.Count && samples[end].Histogram is null && samples[end].TimeMs == samples[from].TimeMs + (end - from) * timeMs
            && samples[end].ValueBits == BitConverter.DoubleToUInt64Bits(ValueOf(samples[from]) + (end - from) * value)) end++;
        return end;
    }

    private static (long TimeMs, double Value) StepOf(List<LaneSample> samples, int from) =>
        (samples[from + 1].TimeMs - samples[from].TimeMs, ValueOf(samples[from + 1]) - ValueOf(samples[from]));

    private static double ValueOf(LaneSample sample) => BitConverter.UInt64BitsToDouble(sample.ValueBits);

    private static string Print(LaneSample sample)
    {
        if (sample.Histogram is not { } histogram) return string.Create(CultureInfo.InvariantCulture, $"{sample.TimeMs} {sample.ValueBits:x16}");
        string positive = Print(histogram.PositiveSpans, histogram.PositiveBuckets, histogram.IsFloat);
        string negative = Print(histogram.NegativeSpans, histogram.NegativeBuckets, histogram.IsFloat);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{sample} schema {histogram.Schema}, zero {histogram.ZeroCount:x} up to {histogram.ZeroThreshold:R}, positive{positive}, negative{negative}, bounds {string.Join(' ', histogram.CustomBounds)}");
    }

    /// <summary>The buckets that hold anything: a chunk may have had to add others.</summary>
    private static string Print(List<BucketSpan> spans, List<long> buckets, bool isFloat)
    {
        var text = new StringBuilder();
        long count = 0;
        for (var walk = new BucketWalk(spans.ToArray()); walk.MoveNext();)
        {
            count = isFloat ? buckets[walk.Position] : count + buckets[walk.Position];
            if (count != 0) text.Append(CultureInfo.InvariantCulture, $" {walk.Index}:{count:x}");
        }

        return text.ToString();
    }
}
