using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;
using static TsdbRemote.Tests.MemTables.MemTableReader;

namespace TsdbRemote.Tests.MemTables;

public sealed class WinnerRuleTests
{
    private readonly RecordingWinnerLog _winners = new(100);

    [Fact]
    public void A_later_arrival_with_a_lower_sequence_wins_and_is_logged_again()
    {
        using MemTable table = Create();
        table.AppendLogging(_winners, 1, 5, Sample.Of(10, 1));
        Assert.Equal(1, table.AppendLogging(_winners, 1, 3, Sample.Of(10, 2)).Replaced);
        Assert.Equal([(101UL, 1u, Sample.Of(10, 2))], _winners.Records);
        Assert.Equal([Sample.Of(10, 2)], table.Read(1));
    }

    [Fact]
    public void The_logged_winner_becomes_the_series_sequence()
    {
        using MemTable table = Create();
        table.AppendLogging(_winners, 1, 5, Sample.Of(10, 1));
        table.AppendLogging(_winners, 1, 3, Sample.Of(10, 2));
        table.AppendLogging(_winners, 1, 99, Sample.Of(10, 3));
        Assert.Equal([101UL, 102UL], _winners.Records.Select(record => record.Sequence));
        table.AppendLogging(_winners, 1, 103, Sample.Of(10, 4));
        Assert.Equal(2, _winners.Records.Count);
    }

    [Fact]
    public void A_higher_or_equal_sequence_needs_no_second_record()
    {
        using MemTable table = Create();
        table.AppendLogging(_winners, 1, 5, Sample.Of(10, 1), Sample.Of(10, 2));
        table.AppendLogging(_winners, 1, 6, Sample.Of(10, 3));
        Assert.Empty(_winners.Records);
    }

    [Fact]
    public void A_duplicate_raises_the_sequence_too_or_a_replay_would_end_with_it()
    {
        using MemTable table = Create();
        table.AppendLogging(_winners, 1, 5, Sample.Of(10, 1));
        table.AppendLogging(_winners, 1, 8, Sample.Of(10, 1));
        table.AppendLogging(_winners, 1, 6, Sample.Of(10, 2));
        Assert.Equal([Sample.Of(10, 2)], _winners.Records.Select(record => record.Sample));
    }

    [Fact]
    public void A_lower_sequence_that_contradicts_nothing_needs_no_second_record()
    {
        using MemTable table = Create();
        table.AppendLogging(_winners, 1, 5, Sample.Of(10, 1), Sample.Of(20, 2));
        Assert.Equal(new AppendCounts { Stored = 2, OutOfOrder = 1, Duplicates = 1 },
            table.AppendLogging(_winners, 1, 3, Sample.Of(15, 1), Sample.Of(20, 2), Sample.Of(30, 3)));
        Assert.Empty(_winners.Records);
        table.AppendLogging(_winners, 1, 4, Sample.Of(15, 9));
        Assert.Equal([Sample.Of(15, 9)], _winners.Records.Select(record => record.Sample));
    }

    [Fact]
    public void Sequences_of_other_series_do_not_matter()
    {
        using MemTable table = Create();
        table.AppendLogging(_winners, 1, 9, Sample.Of(10, 1));
        table.AppendLogging(_winners, 2, 3, Sample.Of(10, 1));
        table.AppendLogging(_winners, 2, 4, Sample.Of(10, 2));
        Assert.Empty(_winners.Records);
    }

    [Fact]
    public void A_log_that_fails_leaves_the_old_value_and_a_working_table()
    {
        using MemTable table = Create();
        table.Append(1, 5, Sample.Of(10, 1));
        Assert.Throws<InvalidOperationException>(() => table.AppendLogging(new FailingLog(), 1, 3, Sample.Of(10, 2)));
        Assert.Equal([Sample.Of(10, 1)], table.Read(1));
        Assert.Equal(1, table.Append(1, 6, Sample.Of(20, 2)).Stored);
    }

    private sealed class FailingLog : IWinnerLog
    {
        public ulong LogWinner(uint ordinal, Sample sample) => throw new InvalidOperationException("the log has failed");

        public ulong LogWinner(uint ordinal, int histogram) => throw new InvalidOperationException("the log has failed");
    }
}
