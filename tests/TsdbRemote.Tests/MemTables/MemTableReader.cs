using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.MemTables;

/// <summary>Appends to and reads a MemTable as the engine would, and checks each chunk against its promises on the way.</summary>
internal static class MemTableReader
{
    public const long WindowMs = 1000;

    public static MemTable Create(int stripes = 4, bool reject = false) => new(new MemTableOptions(7, WindowMs, stripes, reject), new SeriesDictionary());

    public static AppendCounts Append(this MemTable table, uint ordinal, ulong sequence, params ReadOnlySpan<Sample> samples) =>
        table.AppendLogging(null, ordinal, sequence, samples);

    public static AppendCounts AppendLogging(
        this MemTable table, IWinnerLog? winners, uint ordinal, ulong sequence, params ReadOnlySpan<Sample> samples)
    {
        AppendCounts counts = default;
        table.Append([new ResolvedSeries { Ordinal = ordinal, SampleCount = samples.Length }], samples, sequence, ref counts, winners);
        return counts;
    }

    /// <summary>What a reader sees, by a merge that is the plainest one: decode all, in the order of ranks, later ones overwrite.</summary>
    public static Sample[] Read(this MemTable table, uint ordinal, TimeRange? range = null)
    {
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(ordinal, range ?? TimeRange.All, 10, arena, chunks);
        CheckPromises(chunks, range ?? TimeRange.All);
        var merged = new SortedDictionary<long, ulong>();
        foreach (SeriesChunk chunk in chunks.OrderBy(chunk => chunk.Rank))
        {
            foreach (Sample sample in Decode(chunk)) merged[sample.TimeMs] = sample.ValueBits;
        }

        return [.. merged.Select(pair => new Sample(pair.Key, pair.Value))];
    }

    public static Sample[] Decode(SeriesChunk chunk)
    {
        var samples = new List<Sample>();
        var reader = new XorChunkReader(chunk.Data.Span);
        while (reader.MoveNext()) samples.Add(new Sample(reader.TimeMs, reader.ValueBits));
        Assert.False(reader.IsCorrupt);
        Assert.Equal(reader.Count, samples.Count);
        return [.. samples];
    }

    private static void CheckPromises(List<SeriesChunk> chunks, TimeRange range)
    {
        foreach (IGrouping<long, SeriesChunk> version in chunks.GroupBy(chunk => chunk.Rank))
        {
            Assert.InRange(version.Key, 10, 11);
            long before = long.MinValue;
            bool first = true;
            foreach (SeriesChunk chunk in version)
            {
                Sample[] samples = Decode(chunk);
                Assert.InRange(samples.Length, 1, MemTable.SamplesPerChunk);
                Assert.Equal(chunk.MinTimeMs, samples[0].TimeMs);
                Assert.Equal(chunk.MaxTimeMs, samples[^1].TimeMs);
                Assert.Equal(TimeWindow.StartOf(chunk.MinTimeMs, WindowMs), TimeWindow.StartOf(chunk.MaxTimeMs, WindowMs));
                Assert.True(range.Overlaps(new TimeRange(chunk.MinTimeMs, chunk.MaxTimeMs)), "a chunk outside the range was offered");
                Assert.True(first || chunk.MinTimeMs > before, "chunks of one version overlap or descend");
                before = chunk.MaxTimeMs;
                first = false;
            }
        }
    }
}

/// <summary>A winner log that counts on from a given sequence and remembers what it logged.</summary>
internal sealed class RecordingWinnerLog(ulong last) : IWinnerLog
{
    private ulong _last = last;

    public List<(ulong Sequence, uint Ordinal, Sample Sample)> Records { get; } = [];

    public ulong LogWinner(uint ordinal, Sample sample)
    {
        Records.Add((++_last, ordinal, sample));
        return _last;
    }

    public List<(ulong Sequence, uint Ordinal, int Histogram)> Histograms { get; } = [];

    public ulong LogWinner(uint ordinal, int histogram)
    {
        Histograms.Add((++_last, ordinal, histogram));
        return _last;
    }
}
