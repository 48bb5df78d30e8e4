using System.Globalization;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.ChunkEncodings;

/// <summary>Bytes against processor time of the ways to choose the windows of XOR chunks; prints a table.</summary>
/// <remarks>
/// Data: <see cref="ScrapeLikeSeries"/>, in windows of two hours. Bytes are those of a chunk segment, frames included. Time is that of the whole
/// encoding from decoded samples to chunk bytes, processor time of the process, which does nothing else; the best of a few passes.
/// </remarks>
internal static class ChunkEncodingsVerb
{
    // The first passes of a row may still run unoptimized code.
    private const int Passes = 6;
    private const long EnoughNs = 4_000_000_000;
    private const long WindowMs = Inputs.WindowMs;
    private const int MaxSamples = OptimalXorEncoder.DefaultMaxSamples;
    private static readonly byte[] Buffer = new byte[XorChunkBuilder.MaxBytes(MaxSamples)];

    public static int Run(string[] arguments)
    {
        int scrapes = arguments.Length == 0 ? 1920 : int.Parse(arguments[0], CultureInfo.InvariantCulture);
        IEnumerable<int> all = Enumerable.Range(0, ScrapeLikeSeries.Count);
        Sample[][] data = [.. all.Select(series => ScrapeLikeSeries.SamplesOf(series, scrapes, Inputs.StartMs))];
        long samples = (long)scrapes * data.Length;
        double changed = data.Sum(static series => (long)Changes(series)) / (double)samples;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{data.Length} series of {scrapes} samples at 15 s, {changed:P1} of the values change"));
        Console.WriteLine("| windows | bytes/sample | ns/sample |");
        Console.WriteLine("|---|---|---|");
        var scratch = new OptimalXorScratch();
        Measure("greedy, 120 samples", data, static (series, arena, output) => ChunkMerge.Encode(series, WindowMs, 1, arena, output));
        Measure("greedy, 480 samples", data, static (series, arena, output) => ChunkMerge.Encode(series, WindowMs, 1, arena, output, MaxSamples));
        Measure("exact windows", data, Chosen(new ExactWindows()));
        foreach (int lookahead in new[] { 0, 2, 4, 8 })
        {
            foreach (int width in new[] { 2, 4, 8, 16 }) Measure($"beam of {width}, {lookahead} ahead", data, Chosen(new Beam(width, lookahead)));
        }

        Measure("all windows", data, Chosen(new AllWindows()));
        Measure("optimal, 120 samples", data, (series, arena, output) => Optimal(series, 120, arena, output, scratch));
        Measure("optimal, 240 samples", data, (series, arena, output) => Optimal(series, 240, arena, output, scratch));
        Measure("optimal, 480 samples", data, (series, arena, output) => OptimalXorEncoder.EncodeAll(series, WindowMs, 1, arena, output, scratch));
        return 0;
    }

    private static void Measure(string name, Sample[][] data, Encode encode)
    {
        var chunks = new List<SeriesChunk>();
        long samples = data.Sum(static series => (long)series.Length);
        long bytes = 0;
        double best = double.MaxValue;
        double spent = 0;
        for (int pass = 0; pass < Passes && spent < EnoughNs; pass++)
        {
            using var arena = new NativeArena();
            bytes = 0;
            TimeSpan before = Environment.CpuUsage.TotalTime;
            foreach (Sample[] series in data)
            {
                chunks.Clear();
                encode(series, arena, chunks);
                foreach (SeriesChunk chunk in chunks) bytes += ChunkRecord.SizeOf(chunk.Data.Length);
            }

            double used = (Environment.CpuUsage.TotalTime - before).TotalNanoseconds;
            best = Math.Min(best, used);
            spent += used;
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {(double)bytes / samples:F4} | {best / samples:F1} |"));
    }

    /// <summary>As <see cref="OptimalXorEncoder.EncodeAll"/>, in shorter chunks.</summary>
    private static void Optimal(ReadOnlySpan<Sample> series, int maxSamples, NativeArena arena, List<SeriesChunk> output, OptimalXorScratch scratch)
    {
        while (!series.IsEmpty)
        {
            long lastMs = TimeWindow.EndOf(series[0].TimeMs, WindowMs);
            int count = OptimalXorEncoder.Encode(series, lastMs, maxSamples, OptimalXorEncoder.DefaultMaxBytes, Buffer, scratch, out int length);
            output.Add(Copy(series[..count], length, arena));
            series = series[count..];
        }
    }

    /// <summary>Encodes with the windows that a choice names; cut by the window of time and by samples, never by bytes.</summary>
    private static Encode Chosen(WindowChoice choice)
    {
        var exact = new XorWindow[MaxSamples];
        var chosen = new XorWindow[MaxSamples];
        return (series, arena, output) =>
        {
            while (!series.IsEmpty)
            {
                long lastMs = TimeWindow.EndOf(series[0].TimeMs, WindowMs);
                int count = 1;
                int changes = 0;
                for (; count < series.Length && count < MaxSamples && series[count].TimeMs <= lastMs; count++)
                {
                    ulong xor = series[count].ValueBits ^ series[count - 1].ValueBits;
                    if (xor != 0) exact[changes++] = XorWindow.Of(xor);
                }

                choice.Choose(exact.AsSpan(0, changes), chosen);
                output.Add(Write(series[..count], chosen, arena));
                series = series[count..];
            }
        };
    }

    private static SeriesChunk Write(ReadOnlySpan<Sample> samples, ReadOnlySpan<XorWindow> windows, NativeArena arena)
    {
        var builder = default(XorChunkBuilder);
        int changes = 0;
        ulong last = samples[0].ValueBits;
        foreach (Sample sample in samples)
        {
            XorWindow window = sample.ValueBits == last ? default : windows[changes++];
            builder.Append(Buffer, sample.TimeMs, sample.ValueBits, window);
            last = sample.ValueBits;
        }

        return Copy(samples, builder.ByteLength, arena);
    }

    private static SeriesChunk Copy(ReadOnlySpan<Sample> samples, int length, NativeArena arena)
    {
        NativeBytes data = arena.Allocate(length);
        Buffer.AsSpan(0, length).CopyTo(data.Span);
        return new SeriesChunk(samples[0].TimeMs, samples[^1].TimeMs, ChunkEncoding.Xor, data, 1);
    }

    private static int Changes(Sample[] series)
    {
        int changes = 0;
        for (int i = 1; i < series.Length; i++)
        {
            if (series[i].ValueBits != series[i - 1].ValueBits) changes++;
        }

        return changes;
    }

    private delegate void Encode(ReadOnlySpan<Sample> series, NativeArena arena, List<SeriesChunk> output);
}
