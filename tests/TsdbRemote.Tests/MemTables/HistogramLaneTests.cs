using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.MemTables.MemTableReader;

namespace TsdbRemote.Tests.MemTables;

public sealed class HistogramLaneTests
{
    [Fact]
    public void A_series_of_histograms_is_one_cache_line() =>
        // Open, sealed, late: 24. Sequence, two times: 24. Lengths of block, state, chunk: 12. Encoding: 1, and 3 to spare.
        Assert.Equal(64, Unsafe.SizeOf<HistogramState>());

    [Fact]
    public void Memory_stays_until_the_last_reader_lets_go_and_then_all_of_it_goes()
    {
        MemTable table = Create();
        LaneSample[] samples = [.. Enumerable.Range(0, 300).Select(static i => new LaneSample(i * 10, Of(i)))];
        foreach (LaneSample sample in samples) table.AppendOne(1, 1, sample);
        table.AppendOne(1, 1, new LaneSample(-5, Of(1)));
        Assert.True(table.TryAcquire());
        table.Dispose();
        Assert.True(table.Bytes > 0);
        Assert.Equal(301, table.ReadMixed(1).Count);
        table.Release();
        Assert.Equal(0, table.Bytes);
        Assert.Throws<ObjectDisposedException>(() => table.AppendOne(1, 1, samples[0]));
        Assert.Throws<ObjectDisposedException>(() => table.TryFindHistogram(1, 0, new NativeHistogram()));
    }

    [Fact]
    public void What_a_reader_was_given_does_not_change_when_a_late_histogram_is_replaced()
    {
        using MemTable table = Create();
        table.AppendOne(1, 1, new LaneSample(500, Of(1)));
        table.AppendOne(1, 1, new LaneSample(100, Of(2)));
        using var arena = new NativeArena(4096);
        var before = new List<SeriesChunk>();
        table.Collect(1, TimeRange.All, 10, arena, before);
        for (int i = 0; i < 100; i++) Assert.Equal(AppendOutcome.Replaced, table.AppendOne(1, 2, new LaneSample(100, Of(3 + i))));
        Assert.True(Of(2).SaysTheSameAs(LaneSample.Decode(before[1]).Single().Histogram!));
        Assert.True(Of(102).SaysTheSameAs(table.ReadMixed(1)[0].Histogram!));
    }

    [Fact]
    public void A_backfill_is_read_as_chunks_of_usual_size_and_a_named_reset_stays_one()
    {
        using MemTable table = Create();
        table.AppendOne(1, 1, new LaneSample(10 * WindowMs, Of(1)));
        for (int i = 199; i >= 0; i--)
        {
            NativeHistogram histogram = Of(i);
            if (i == 20) histogram.Hint = CounterResetHint.Reset;
            table.AppendOne(1, 1, new LaneSample(i * 10, histogram));
        }

        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(1, new TimeRange(0, 9 * WindowMs), 10, arena, chunks);
        Assert.Equal(200, chunks.Sum(static chunk => LaneSample.Decode(chunk).Count));
        Assert.InRange(chunks.Count, 3, 12);
        Assert.All(chunks, static chunk => Assert.Equal(11, chunk.Rank));
        SeriesChunk reset = chunks.Single(static chunk => chunk.MinTimeMs == 200);
        Assert.Equal(HistogramChunkFlags.Reset, new HistogramChunkReader(reset.Data.Span, reset.Encoding, new HistogramReadBuffer()).Flags);
    }

    [Fact]
    public void Appending_to_known_series_allocates_nothing_on_the_managed_heap()
    {
        using MemTable table = Create(stripes: 4);
        NativeHistogram[] given = [.. Enumerable.Range(0, 40).Select(static i => i % 2 == 0 ? Of(7) : HistogramGen.Float(Of(7)))];
        var source = new ListedHistograms(given);
        var histograms = new ResolvedHistogram[given.Length];
        var outcomes = new AppendOutcome[given.Length];
        AppendCounts counts = default;
        void Round(long time)
        {
            for (int i = 0; i < given.Length; i++) histograms[i] = new ResolvedHistogram((uint)i, i, i, time);
            table.AppendHistograms(histograms, source, (ulong)time, ref counts, null, outcomes);
            table.AppendHistograms(histograms, source, (ulong)time, ref counts, null, outcomes);
        }

        for (int i = 0; i < 400; i++) Round(i);

        // The list of a stripe's slabs may grow: so the best of three counts.
        long allocated = long.MaxValue;
        for (int window = 0; window < 3; window++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 40; i++) Round(400 + window * 40 + i);
            allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.InRange(allocated, 0, 4 * 1024);
        Assert.Equal((40 * 520, 40 * 520), (counts.Stored, counts.Duplicates));
        Assert.Equal(40 * 520, table.HistogramCount);
    }

    [Fact]
    public void Two_writers_and_a_reader_at_once_lose_nothing_of_either_kind()
    {
        const int Series = 40;
        const int Rounds = 150;
        using MemTable table = Create(stripes: 2);
        void Write(bool histograms)
        {
            for (int i = 0; i < Rounds; i++)
            {
                for (uint s = 0; s < Series; s++)
                {
                    long time = 2 * i + (histograms ? 1 : 0);
                    table.AppendOne(s, 1, histograms ? new LaneSample(time, Of(i)) : new LaneSample(time, (ulong)i, null));
                }
            }
        }

        Thread[] writers = [new(() => Write(histograms: true)), new(() => Write(histograms: false))];
        foreach (Thread writer in writers) writer.Start();
        try
        {
            while (writers.Any(static writer => writer.IsAlive)) table.ReadMixed(7);
        }
        finally
        {
            foreach (Thread writer in writers) writer.Join();
        }

        for (uint s = 0; s < Series; s++) Assert.Equal(2 * Rounds, table.ReadMixed(s).Count);
        Assert.Equal((2 * Series * Rounds, Series * Rounds, Series), (table.SampleCount, table.HistogramCount, table.SeriesCount));
    }

    private static NativeHistogram Of(int i) => HistogramGen.Integer(i, i, 2 * i, 3);
}
