using System.Runtime.CompilerServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using static TsdbRemote.Tests.MemTables.MemTableReader;

namespace TsdbRemote.Tests.MemTables;

public sealed class MemTableTests
{
    private static readonly Sample[] Steady = [.. Enumerable.Range(0, 400).Select(i => Sample.Of(i, i * 0.5))];

    [Fact]
    public void The_state_of_a_series_is_two_cache_lines_with_the_end_of_its_chunk()
    {
        // Builder: 3 × 8 (time, delta, value) + 4 (bits) + 2 (count) + 1 + 1 (value window) = 32.
        // Open, sealed, late: 3 words = 24. Sequence: 8. The chunk's end: 60, and 4 for what is before it. Together 128, which short chunks need no more than.
        Assert.Equal(32, Unsafe.SizeOf<XorChunkBuilder>());
        Assert.Equal(128, Unsafe.SizeOf<SeriesState>());
        // Pointers to the one before and to one far below 16, times 16, length and depth 8.
        Assert.Equal(40, Unsafe.SizeOf<SealedChunk>());
        Assert.Equal(8, Unsafe.SizeOf<OpenChunk>());
        Assert.Equal(16, Unsafe.SizeOf<LateSamples>());
    }

    [Fact]
    public void An_empty_table_says_so()
    {
        using MemTable table = Create();
        Assert.Equal(7, table.Segment);
        Assert.Equal(0, table.Bytes);
        Assert.Equal(0, table.SampleCount);
        Assert.Equal(0, table.SeriesCount);
        Assert.Equal(long.MaxValue, table.MinTimeMs);
        Assert.Equal(long.MinValue, table.MaxTimeMs);
        Assert.Empty(table.OrdinalsSorted());
        Assert.False(table.Contains(3));
        Assert.Null(table.Find(3, 0));
        Assert.Empty(table.Read(3));
    }

    [Theory]
    [InlineData(0, 4)]
    [InlineData(-1, 4)]
    [InlineData(1000, 0)]
    [InlineData(1000, 3)]
    [InlineData(1000, -4)]
    [InlineData(1000, 1 << 17)]
    public void Impossible_options_are_refused(long windowMs, int stripes) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new MemTable(new MemTableOptions(1, windowMs, stripes, false), new SeriesDictionary()));

    [Fact]
    public void Samples_in_order_are_cut_at_120_and_at_the_window()
    {
        using MemTable table = Create();
        Sample[] samples = [.. Enumerable.Range(0, 1300).Select(i => Sample.Of(i, i))];
        AppendCounts counts = table.Append(5, 1, samples);
        Assert.Equal(new AppendCounts { Stored = 1300 }, counts);
        Assert.Equal(samples, table.Read(5));
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(5, TimeRange.All, 0, arena, chunks);
        Assert.Equal([120, 120, 120, 120, 120, 120, 120, 120, 40, 120, 120, 60], chunks.Select(chunk => Decode(chunk).Length));
        Assert.Equal(1300, table.SampleCount);
        Assert.Equal((0, 1299), (table.MinTimeMs, table.MaxTimeMs));
    }

    [Fact]
    public void It_knows_the_windows_that_it_holds_some_of_and_none_between_them()
    {
        using MemTable table = Create();
        Assert.Empty(table.Windows());
        table.Append(5, 1, Sample.Of(10_500, 1));
        table.Append(5, 2, Sample.Of(2_999, 1)); // late
        table.Append(6, 3, Sample.Of(3_000, 1), Sample.Of(20_000, 1)); // another stripe, and a chunk ended by its window
        table.Append(6, 4, Sample.Of(20_000, 2), Sample.Of(-1, 1), Sample.Of(-1, 1));
        Assert.Equal([new TimeRange(-1000, -1), new TimeRange(2000, 3999), new TimeRange(10_000, 10_999), new TimeRange(20_000, 20_999)], table.Windows());
    }

    [Fact]
    public void Of_very_many_windows_it_knows_the_first_and_the_last_sample()
    {
        using MemTable table = Create();
        for (int i = 0; i < 3000; i++) table.Append(5, (ulong)i, Sample.Of(i * 10_000, 1));
        Assert.Equal([new TimeRange(0, 29_990_000)], table.Windows());
    }

    [Fact]
    public void A_late_sample_lands_in_its_own_chunk_of_the_next_rank()
    {
        using MemTable table = Create();
        table.Append(5, 1, Sample.Of(10, 1), Sample.Of(20, 2));
        Assert.Equal(new AppendCounts { Stored = 1, OutOfOrder = 1 }, table.Append(5, 2, Sample.Of(15, 9)));
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(5, TimeRange.All, 40, arena, chunks);
        Assert.Equal([40L, 41L], chunks.Select(chunk => chunk.Rank));
        Assert.Equal([Sample.Of(15, 9)], Decode(chunks[1]));
        Assert.Equal([Sample.Of(10, 1), Sample.Of(15, 9), Sample.Of(20, 2)], table.Read(5));
    }

    [Fact]
    public void The_same_sample_again_is_a_duplicate_wherever_it_lies()
    {
        using MemTable table = Create();
        table.Append(5, 1, Steady);
        table.Append(5, 2, Sample.Of(-5, 1));
        Assert.Equal(new AppendCounts { Duplicates = 401 }, table.Append(5, 3, [.. Steady, Sample.Of(-5, 1)]));
        Assert.Equal(401, table.SampleCount);
    }

    [Fact]
    public void The_value_that_was_replaced_can_come_back()
    {
        using MemTable table = Create();
        table.Append(5, 1, Sample.Of(10, 1), Sample.Of(20, 2));
        Assert.Equal(1, table.Append(5, 2, Sample.Of(10, 7)).Replaced);
        Assert.Equal(1, table.Append(5, 3, Sample.Of(10, 7)).Duplicates);
        Assert.Equal(1, table.Append(5, 4, Sample.Of(10, 1)).Replaced);
        Assert.Equal([Sample.Of(10, 1), Sample.Of(20, 2)], table.Read(5));
        Assert.Equal(2, table.SampleCount);
    }

    [Fact]
    public void Values_are_compared_by_their_bits()
    {
        using MemTable table = Create();
        var stale = new Sample(10, StaleMarker.Bits);
        var nan = new Sample(10, StaleMarker.NormalNaN);
        table.Append(5, 1, stale);
        Assert.Equal(1, table.Append(5, 2, stale).Duplicates);
        Assert.Equal(1, table.Append(5, 3, nan).Replaced);
        Assert.Equal(1, table.Append(5, 4, Sample.Of(10, 0.0)).Replaced);
        Assert.Equal(1, table.Append(5, 5, Sample.Of(10, -0.0)).Replaced);
        Assert.Equal(BitConverter.DoubleToUInt64Bits(-0.0), table.Find(5, 10)!.Value.ValueBits);
    }

    [Fact]
    public void In_one_request_the_later_position_wins_and_a_series_may_come_twice()
    {
        using MemTable table = Create();
        AppendCounts counts = default;
        var outcomes = new AppendOutcome[5];
        table.Append(
            [
                new ResolvedSeries { Ordinal = 1, FirstSample = 0, SampleCount = 2 },
                new ResolvedSeries { Ordinal = ResolvedSeries.Skip, FirstSample = 2, SampleCount = 1 },
                new ResolvedSeries { Ordinal = 900, FirstSample = 0, SampleCount = 0 },
                new ResolvedSeries { Ordinal = 1, FirstSample = 3, SampleCount = 2 },
            ],
            [Sample.Of(10, 1), Sample.Of(10, 2), Sample.Of(10, 3), Sample.Of(10, 4), Sample.Of(10, 4)],
            1,
            ref counts,
            null,
            outcomes);
        Assert.Equal(new AppendCounts { Stored = 1, Replaced = 2, Duplicates = 1 }, counts);
        Assert.Equal([AppendOutcome.Stored, AppendOutcome.Replaced, default, AppendOutcome.Replaced, AppendOutcome.Duplicate], outcomes);
        Assert.Equal([Sample.Of(10, 4)], table.Read(1));
        Assert.Equal([1u], table.OrdinalsSorted());
    }

    [Fact]
    public void A_conflict_is_refused_where_the_option_says_so_and_its_opponent_can_be_named()
    {
        using MemTable table = Create(reject: true);
        AppendCounts counts = default;
        var outcomes = new AppendOutcome[6];
        Sample[] samples = [Sample.Of(10, 1), Sample.Of(20, 2), Sample.Of(10, 9), Sample.Of(5, 5), Sample.Of(5, 6), Sample.Of(5, 5)];
        var winners = new RecordingWinnerLog(100);
        table.Append([new ResolvedSeries { Ordinal = 1, SampleCount = 6 }], samples, 1, ref counts, winners, outcomes);
        Assert.Equal(new AppendCounts { Stored = 3, OutOfOrder = 1, Conflicts = 2, Duplicates = 1 }, counts);
        Assert.Equal(
            [
                AppendOutcome.Stored, AppendOutcome.Stored, AppendOutcome.Conflict,
                AppendOutcome.Stored, AppendOutcome.Conflict, AppendOutcome.Duplicate,
            ],
            outcomes);
        Assert.Equal(1.0, table.Find(1, 10)!.Value.Value);
        Assert.Equal(5.0, table.Find(1, 5)!.Value.Value);
        Assert.Equal([Sample.Of(5, 5), Sample.Of(10, 1), Sample.Of(20, 2)], table.Read(1));
        Assert.Empty(winners.Records);
    }

    [Fact]
    public void Any_time_that_fits_64_bits_can_be_kept()
    {
        using MemTable table = Create();
        long[] times = [long.MinValue, long.MinValue + 1, -1001, -1000, -1, 0, 999, 1000, long.MaxValue - 1, long.MaxValue];
        Sample[] samples = [.. times.Select(time => Sample.Of(time, time))];
        Assert.Equal(10, table.Append(1, 1, samples).Stored);
        Sample[] backwards = [.. samples.Reverse()];
        Assert.Equal(9, table.Append(2, 1, backwards).OutOfOrder);
        Assert.Equal(samples, table.Read(1));
        Assert.Equal(samples, table.Read(2));
        Assert.Equal((long.MinValue, long.MaxValue), (table.MinTimeMs, table.MaxTimeMs));
        Assert.Equal(10, table.Append(1, 2, backwards).Duplicates);
        Assert.Equal([samples[^1]], table.Read(2, new TimeRange(long.MaxValue, long.MaxValue)));
        Assert.Equal([samples[0]], table.Read(2, new TimeRange(long.MinValue, long.MinValue)));
    }

    [Fact]
    public void A_request_over_thousands_of_windows_costs_one_small_block_a_window()
    {
        using MemTable table = Create();
        Sample[] samples = [.. Enumerable.Range(0, 20_000).Select(i => Sample.Of(i * WindowMs, i))];
        table.Append(1, 1, samples);
        Assert.InRange(table.Bytes, 20_000 * 64, 20_000 * 64 * 1.4);
        Assert.Equal(20_000, table.Append(1, 2, samples).Duplicates);
        Assert.Equal(samples, table.Read(1));
    }

    [Fact]
    public void What_does_not_overlap_the_range_is_skipped()
    {
        using MemTable table = Create();
        table.Append(1, 1, Steady);
        table.Append(1, 2, Sample.Of(-50, 0), Sample.Of(-40, 0), Sample.Of(-60, 0));
        Assert.Empty(table.Read(1, new TimeRange(-39, -1)));
        Assert.Empty(table.Read(1, new TimeRange(400, long.MaxValue)));
        Assert.Empty(table.Read(1, new TimeRange(5, 4)));
        Assert.Equal([Sample.Of(-50, 0)], table.Read(1, new TimeRange(-55, -45)));
        Assert.Equal(Steady[120..240], table.Read(1, new TimeRange(130, 130)));
        Assert.Equal(Steady[360..], table.Read(1, new TimeRange(399, 500)));
    }

    [Fact]
    public void A_sealed_chunk_stays_as_it_is_whatever_comes_later()
    {
        using MemTable table = Create(stripes: 1);
        table.Append(1, 1, Steady);
        using var arena = new NativeArena(4096);
        var chunks = new List<SeriesChunk>();
        table.Collect(1, TimeRange.All, 0, arena, chunks);
        byte[][] before = [.. chunks.Select(chunk => chunk.Data.Span.ToArray())];
        for (uint ordinal = 0; ordinal < 50; ordinal++) table.Append(ordinal, 2, [.. Steady.Select(s => Sample.Of(s.TimeMs + 7, ordinal))]);
        table.Append(1, 3, [.. Steady.Reverse().Select(s => Sample.Of(s.TimeMs, 3))]);
        Assert.Equal(before, chunks.Select(chunk => chunk.Data.Span.ToArray()));
        var again = new List<SeriesChunk>();
        table.Collect(1, TimeRange.All, 0, arena, again);
        Assert.Equal(SealedPointers(chunks[..3]), SealedPointers(again[..3]));
    }

    [Fact]
    public void Ordinals_come_sorted_over_all_stripes()
    {
        using MemTable table = Create(stripes: 8);
        uint[] ordinals = [.. Enumerable.Range(0, 3000).Where(i => i % 7 < 2 || i > 2500).Select(i => (uint)i)];
        foreach (uint ordinal in ordinals.Reverse()) table.Append(ordinal, 1, Sample.Of(1, ordinal));
        Assert.Equal(ordinals, table.OrdinalsSorted());
        Assert.Equal(ordinals.Length, table.SeriesCount);
        Assert.All(ordinals, ordinal => Assert.Equal(ordinal, table.Find(ordinal, 1)!.Value.Value));
        Assert.All(Enumerable.Range(0, 3100).Select(i => (uint)i), i => Assert.Equal(ordinals.Contains(i), table.Contains(i)));
    }

    [Fact]
    public void Samples_outside_the_request_are_refused_before_anything_is_stored()
    {
        using MemTable table = Create();
        AppendCounts counts = default;
        ResolvedSeries[] series = [new ResolvedSeries { SampleCount = 2 }];
        Sample[] samples = [Sample.Of(1, 1), Sample.Of(2, 2)];
        Assert.Throws<ArgumentOutOfRangeException>(() => table.Append(series, samples.AsSpan(0, 1), 1, ref counts));
        Assert.Throws<ArgumentException>(() => table.Append(series, samples, 1, ref counts, null, new AppendOutcome[1]));
        Assert.Equal(default, counts);
        Assert.Equal(0, table.SeriesCount);
    }

    private static nint[] SealedPointers(IEnumerable<SeriesChunk> chunks) => [.. chunks.Select(chunk => Address(chunk.Data))];

    private static unsafe nint Address(NativeBytes bytes) => (nint)bytes.Pointer;
}
