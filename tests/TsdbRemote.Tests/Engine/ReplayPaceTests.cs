using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary><c>wal.max_replay_time</c> goes by the pace at which this machine replayed its log, once a replay was long enough to tell.</summary>
public sealed class ReplayPaceTests
{
    private const long MiB = 1 << 20;

    private readonly ManualTime _time = new();

    [Theory]
    [InlineData(63, 900, null)] // too little, too short
    [InlineData(64, 500, 128L)]
    [InlineData(40, 2000, 20L)]
    [InlineData(4, 2000, 8L)] // the least that is believed
    public void Bytes_by_time_are_the_pace_if_there_was_enough_of_either(long mebibytes, int ms, long? mebibytesPerSecond)
    {
        var pace = new ReplayPace(_time);
        Assert.Null(pace.BytesPerSecond);
        pace.Begun();
        _time.Advance(TimeSpan.FromMilliseconds(ms));
        pace.Ended(mebibytes * MiB);
        Assert.Equal(mebibytesPerSecond * MiB, pace.BytesPerSecond);
    }

    [Fact]
    public void Segments_replayed_side_by_side_count_together_from_the_first_begun_to_the_last_ended()
    {
        var pace = new ReplayPace(_time);
        pace.Begun();
        _time.Advance(TimeSpan.FromSeconds(1));
        pace.Begun();
        _time.Advance(TimeSpan.FromSeconds(1));
        pace.Ended(100 * MiB);
        _time.Advance(TimeSpan.FromSeconds(2));
        pace.Ended(100 * MiB);
        Assert.Equal(50 * MiB, pace.BytesPerSecond);
    }

    [Fact]
    public async Task A_log_that_was_replayed_slowly_is_held_shorter_from_then_on()
    {
        var disk = new CrashFileSystem("/disk");
        StorageOptions options = EngineHarness.SmallOptions with { Wal = EngineHarness.SmallOptions.Wal with { MaxReplayTime = Duration.Seconds(2) } };
        EngineHarness first = EngineHarness.OpenStepwise(disk, options, _time);
        Assert.Null(first.Engine.Stats().ReplayBytesPerSecond);
        Assert.Equal(Math.Min(1024, 2 * 64 * Environment.ProcessorCount) * MiB, MostLog(first));
        await first.WriteAsync((Labels.Encode(("__name__", "up")), [Sample.Of(1, 1)]));
        await first.StopWithoutFlushAsync();

        await using EngineHarness slow = EngineHarness.OpenStepwise(disk, options, new HurriedTime());
        Assert.Equal((1, 8 * MiB), (slow.Engine.Stats().RecordsReplayed, slow.Engine.Stats().ReplayBytesPerSecond));
        Assert.Equal(16 * MiB, MostLog(slow));
    }

    /// <summary>A second passes with each look at the clock: everything seems slow.</summary>
    private sealed class HurriedTime : TimeProvider
    {
        private long _seconds;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Interlocked.Increment(ref _seconds);
    }

    private static long MostLog(EngineHarness engine) => engine.Engine.Stats().StallSignals.Single(static signal => signal.Reason == StallReason.LogBytes).StopAt;
}
