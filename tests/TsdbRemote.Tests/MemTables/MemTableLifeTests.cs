using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using static TsdbRemote.Tests.MemTables.MemTableReader;

namespace TsdbRemote.Tests.MemTables;

public sealed class MemTableLifeTests
{
    [Fact]
    public void Memory_stays_until_the_last_reader_lets_go()
    {
        MemTable table = Create();
        Sample[] samples = [.. Enumerable.Range(0, 500).Select(i => Sample.Of(i, i))];
        table.Append(1, 1, samples);
        Assert.True(table.TryAcquire());
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(1, TimeRange.All, 0, arena, chunks);
        table.Dispose();
        table.Dispose();
        Assert.True(table.Bytes > 0);
        Assert.Equal(samples, chunks.SelectMany(Decode));
        Assert.Equal(samples, table.Read(1));
        table.Release();
        Assert.Equal(0, table.Bytes);
        Assert.False(table.TryAcquire());
    }

    [Fact]
    public void Use_after_the_last_release_throws()
    {
        MemTable table = Create();
        table.Append(1, 1, Sample.Of(1, 1));
        table.Release();
        using var arena = new NativeArena(4096);
        Assert.Throws<ObjectDisposedException>(() => table.Append(1, 1, Sample.Of(2, 1)));
        Assert.Throws<ObjectDisposedException>(() => table.Collect(1, TimeRange.All, 0, arena, []));
        Assert.Throws<ObjectDisposedException>(() => table.Find(1, 1));
        Assert.Throws<ObjectDisposedException>(() => table.Contains(1));
        Assert.Throws<ObjectDisposedException>(table.OrdinalsSorted);
        Assert.Throws<InvalidOperationException>(table.Release);
    }

    [Fact]
    public void Appending_to_known_series_allocates_nothing_on_the_managed_heap()
    {
        using MemTable table = Create(stripes: 4);
        var series = new ResolvedSeries[200];
        for (int i = 0; i < series.Length; i++) series[i] = new ResolvedSeries { Ordinal = (uint)i, FirstSample = i, SampleCount = 1 };
        var samples = new Sample[series.Length];
        var outcomes = new AppendOutcome[series.Length];
        AppendCounts counts = default;
        long late = -1;
        void Round(long time)
        {
            Array.Fill(samples, Sample.Of(time, time * 0.1));
            table.Append(series, samples, (ulong)time, ref counts, null, outcomes);
            table.Append(series, samples, (ulong)time, ref counts, null, outcomes);
            Array.Fill(samples, Sample.Of(late--, 1));
            table.Append(series, samples, (ulong)time, ref counts, null, outcomes);
        }

        for (int i = 0; i < 260; i++) Round(i);

        // 24,000 samples each time. What may grow is the list of a stripe's slabs, one address for each, doubling: so the best of three counts.
        long allocated = long.MaxValue;
        for (int window = 0; window < 3; window++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 40; i++) Round(260 + window * 40 + i);
            allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.InRange(allocated, 0, 4 * 1024);
        Assert.Equal(200 * 380 * 2, table.SampleCount);
        Assert.Equal(200 * 380, counts.Duplicates);
    }

    [Fact]
    public void Two_writers_and_a_reader_at_once_lose_nothing_and_see_only_whole_chunks()
    {
        const int Series = 96;
        const int Rounds = 400;
        using MemTable table = Create(stripes: 2);
        using var start = new Barrier(3);
        int writing = 2;
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(writer => new Thread(() => Write(writer)))];
        Exception? failure = null;
        void Write(int writer)
        {
            try
            {
                start.SignalAndWait();
                for (int round = 0; round < Rounds; round++)
                {
                    // Both write every series; writer 1's times fall between writer 0's, so that each is late for the other.
                    long time = round * 10 + writer;
                    for (uint ordinal = 0; ordinal < Series; ordinal++) table.Append(ordinal, 1, Sample.Of(time, ordinal + time));
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
            finally
            {
                Interlocked.Decrement(ref writing);
            }
        }

        foreach (Thread thread in threads) thread.Start();
        start.SignalAndWait();
        var seen = new int[Series];
        uint next = 0;
        while (Volatile.Read(ref writing) > 0)
        {
            uint ordinal = next++ % Series;
            Sample[] samples = table.Read(ordinal);
            Assert.True(samples.Length >= seen[ordinal], "a sample that was readable is gone");
            Assert.All(samples, sample => Assert.Equal(ordinal + sample.TimeMs, sample.Value));
            seen[ordinal] = samples.Length;
        }

        foreach (Thread thread in threads) thread.Join();
        Assert.Null(failure);
        Assert.Equal(2 * Series * Rounds, table.SampleCount);
        for (uint ordinal = 0; ordinal < Series; ordinal++) Assert.Equal(2 * Rounds, table.Read(ordinal).Length);
    }

    [Fact]
    public void Bytes_follow_the_contents_and_small_tables_stay_small()
    {
        using MemTable table = Create(stripes: 64);
        table.Append(0, 1, Sample.Of(1, 1));
        Assert.InRange(table.Bytes, 1, 4096);
        // A series with one sample: state 128, which has the chunk, slot 4, and what pages and slabs round up.
        for (uint ordinal = 0; ordinal < 20_000; ordinal++) table.Append(ordinal, 1, Sample.Of(1, 1));
        Assert.InRange(table.Bytes, 20_000 * 132, 20_000 * 132 * 1.35);
        long before = table.Bytes;
        for (uint ordinal = 0; ordinal < 20_000; ordinal++) table.Append(ordinal, 2, Sample.Of(1, 1));
        Assert.Equal(before, table.Bytes);
    }

    [Fact]
    public void Blocks_that_all_series_have_outgrown_are_used_for_the_larger_ones()
    {
        using MemTable table = Create(stripes: 2);
        for (int time = 0; time < 100; time++)
        {
            for (uint ordinal = 0; ordinal < 2000; ordinal++) table.Append(ordinal, 1, new Sample(time, ordinal * 77 + (ulong)time * 0x1234567));
        }

        int chunk = 0;
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        for (uint ordinal = 0; ordinal < 2000; ordinal++) table.Collect(ordinal, TimeRange.All, 0, arena, chunks);
        foreach (SeriesChunk each in chunks) chunk += each.Data.Length;
        // State and slot; the chunk, in a block half as large again at worst. The five blocks before it are not to be seen.
        double inUse = 2000 * (64 + 4) + chunk;
        Assert.InRange(table.Bytes, inUse, inUse * 1.6);
    }
}
