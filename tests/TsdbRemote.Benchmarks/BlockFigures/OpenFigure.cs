using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using TsdbRemote.Benchmarks.ChunkEncodings;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>Time and memory to open many blocks: by the reader alone, and by a whole server beside one that has none.</summary>
/// <remarks>Blocks of two hours, one chunk of ten samples a series: opening looks at the index and never at chunks.</remarks>
internal static class OpenFigure
{
    private const long WindowMs = 2 * 3_600_000;
    private const int SamplesPerChunk = 10;

    public static async Task RunAsync(VerbArguments given, FigurePlace place)
    {
        int blocks = given.Number("--blocks", 500);
        int series = given.Number("--series", 5_000);
        given.RefuseOthers();
        using var target = new TsdbRemoteTarget(place.NewRoot(), place.Assembly);
        (double emptySeconds, double emptyMiB) = await StartAsync(target);
        await target.StopAsync();
        Write(target.BlocksDir, blocks, series);
        BlockFiles files = BlockFiles.Of(target.BlocksDir);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{files.Blocks} blocks of {series} series, {files.IndexBytes / 1048576.0:F0} MiB of index, {files.ChunkBytes / 1048576.0:F0} MiB of chunks"));
        OpenInProcess(target.BlocksDir);

        await target.StartAsync();
        long adopting = Stopwatch.GetTimestamp();
        await target.CompactAsync();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"verified and adopted in {Stopwatch.GetElapsedTime(adopting).TotalSeconds:F1} s"));
        await target.StopAsync();
        (double seconds, double miB) = await StartAsync(target);
        JsonNode status = await target.StatusAsync();
        int served = status["blocks"]!.AsArray().Count;
        long memory = status["blocks"]!.AsArray().Sum(static block => block!["memoryBytes"]!.GetValue<long>());
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"server with {served} blocks: ready in {seconds * 1000:F0} ms, RssAnon {miB:F1} MiB (blocks' own account {memory / 1048576.0:F2} MiB, of the start {status["replay"]!["openSeconds"]!.ToJsonString()}); empty: {emptySeconds * 1000:F0} ms, {emptyMiB:F1} MiB"));
    }

    private static async Task<(double Seconds, double MiB)> StartAsync(TsdbRemoteTarget target)
    {
        long started = Stopwatch.GetTimestamp();
        await target.StartAsync();
        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        await target.SettleAsync();
        return (seconds, target.StatusMiB("RssAnon"));
    }

    private static void OpenInProcess(string directory)
    {
        string[] blocks = [.. Directory.EnumerateDirectories(directory)];
        var files = new LocalFileSystem();
        GC.Collect();
        long heap = GC.GetTotalMemory(forceFullCollection: true);
        double anon = AnonMiB();
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        long started = Stopwatch.GetTimestamp();
        BlockReader[] readers = [.. blocks.Select(block => BlockReader.Open(files, block, mmap: true))];
        TimeSpan elapsed = Stopwatch.GetElapsedTime(started);
        cpu = Environment.CpuUsage.TotalTime - cpu;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"BlockReader.Open: {elapsed.TotalMilliseconds / blocks.Length:F2} ms a block ({elapsed.TotalMilliseconds:F0} ms in all, CPU {cpu.TotalMilliseconds:F0} ms); a block holds {readers.Sum(static reader => reader.MemoryBytes) / 1024.0 / blocks.Length:F1} KiB by its account, heap {(GC.GetTotalMemory(forceFullCollection: true) - heap) / 1024.0 / blocks.Length:F1} KiB, RssAnon {(AnonMiB() - anon) * 1024 / blocks.Length:F1} KiB"));
        foreach (BlockReader reader in readers) reader.Dispose();
    }

    private static double AnonMiB() =>
        long.Parse(File.ReadLines("/proc/self/status").First(static line => line.StartsWith("RssAnon:", StringComparison.Ordinal)).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024.0;

    private static void Write(string directory, int blocks, int seriesCount)
    {
        var files = new LocalFileSystem();
        byte[][] labels = [.. Enumerable.Range(0, seriesCount).Select(ScrapeLikeSeries.LabelsOf)];
        Array.Sort(labels, static (left, right) => Labels.Compare(left, right));
        long end = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - 3_600_000) / WindowMs * WindowMs;
        var samples = new Sample[SamplesPerChunk];
        List<SeriesChunk> chunks = [];
        for (int block = 0; block < blocks; block++)
        {
            long start = end - (blocks - block) * WindowMs;
            using var writer = new BlockWriter(files, directory, Ulid.Create(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds()));
            foreach (byte[] run in labels) writer.Declare(run);
            using var arena = new NativeArena();
            for (int series = 0; series < labels.Length; series++)
            {
                for (int i = 0; i < samples.Length; i++) samples[i] = Sample.Of(start + i * 60_000, series + i);
                chunks.Clear();
                ChunkMerge.Encode(samples, WindowMs, 0, arena, chunks);
                writer.Add(labels[series], [.. chunks]);
            }

            writer.FinishData();
            writer.Commit(writer.NewMeta());
        }
    }
}
