using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

public sealed class FlushPresenceTests : IDisposable
{
    private const int Count = 10;
    private static readonly TimeRange Always = new(0, long.MaxValue);

    private readonly FlushPresence _presence = new();

    public void Dispose() => _presence.Dispose();

    [Fact]
    public void A_series_counts_for_so_many_flushes_however_often_numbers_have_gone_round()
    {
        for (uint flush = 0; flush < 1000; flush++)
        {
            uint series = flush % Count;
            _presence.Begin(flush, Count, nowMs: flush);
            _presence.Note(series);
            for (uint other = 0; other < Count; other++)
            {
                uint age = (flush - other) % Count;
                Assert.Equal(flush >= other && age < FlushPresence.Flushes, _presence.WasFlushed(other, Always));
            }
        }
    }

    [Fact]
    public void Attempts_of_one_flush_are_one_flush()
    {
        _presence.Begin(segment: 1, Count, nowMs: 1);
        _presence.Note(5);
        for (int attempt = 0; attempt < 2 * FlushPresence.Flushes; attempt++)
        {
            _presence.Begin(segment: 2, Count, nowMs: 2);
            _presence.Note(6);
        }

        Assert.True(_presence.WasFlushed(5, Always));
        Assert.True(_presence.WasFlushed(6, Always));
    }

    [Fact]
    public void A_flush_of_another_time_does_not_count_and_a_successor_knows_what_is_known()
    {
        _presence.Begin(segment: 1, Count, nowMs: 100);
        _presence.Note(5);
        using var successor = new FlushPresence();
        successor.Take(_presence, [3, 5]);
        foreach ((FlushPresence known, uint series) in new[] { (_presence, 5u), (successor, 1u) })
        {
            Assert.True(known.WasFlushed(series, new TimeRange(100, 200)));
            Assert.False(known.WasFlushed(series, new TimeRange(101, 200)));
            Assert.False(known.WasFlushed(0, Always));
        }
    }
}
