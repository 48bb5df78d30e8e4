using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;
using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>The page <c>/api/v1/status/lsm?format=text</c>: a summary that a person reads in a terminal. Pure.</summary>
internal static class LsmText
{
    private const int WindowsShown = 24;

    /// <summary>Writes the summary.</summary>
    /// <param name="stats">The engine's figures.</param>
    /// <param name="windows">Tables by window and level.</param>
    /// <param name="replay">How far the replay is.</param>
    /// <param name="now">The clock, for how long something has been going on.</param>
    public static string Of(EngineStats stats, ImmutableArray<WindowStats> windows, ReplayProgress replay, DateTimeOffset now)
    {
        var text = new StringBuilder();
        State(text, stats, replay);
        Writes(text, stats);
        Levels(text, stats);
        Windows(text, windows);
        Compactions(text, stats);
        Stalls(text, stats, now);
        Blocks(text, stats);
        return text.ToString();
    }

    private static void State(StringBuilder text, EngineStats stats, ReplayProgress replay)
    {
        Line(text, $"state        {Name(stats.Phase)}{(stats.Failure is { } failure ? $": {failure}" : "")}{(stats.IsRescued ? "; nothing is lost: what was acknowledged is in tables" : "")}");
        if (stats.Phase == EnginePhase.Replaying) Line(text, $"replay       {Bytes(replay.BytesDone)} of {Bytes(replay.BytesTotal)}");
        foreach (string damage in stats.Damages) Line(text, $"damage       {damage}");
        Line(text, $"paths        writes {Name(stats.WritePath)}, reads {Name(stats.ReadPath)}");
        Line(text, $"series       {stats.Series:N0}, {Bytes(stats.DictionaryBytes)} in memory");
    }

    private static void Writes(StringBuilder text, EngineStats stats)
    {
        Line(text, $"samples      {stats.SamplesStored:N0} stored, {stats.SamplesDuplicate:N0} repeated, {stats.SamplesReplaced:N0} replaced, {stats.SamplesOutOfOrder:N0} late, {stats.SamplesRejected.Values.Sum():N0} refused");
        Line(text, $"requests     {stats.WriteRequests:N0}, {stats.WriteRequestsFailed:N0} told to come again, {Bytes(stats.InFlightBytes)} in flight");
        Line(text, $"log          {Bytes(stats.WalUnflushedBytes)} not flushed, {stats.Wal.Appends:N0} records in {stats.Wal.Groups:N0} commits, {stats.Wal.Syncs:N0} syncs");
        Line(text, $"memtables    {stats.MemTables.Length}, {Bytes(stats.MemTables.Sum(static memTable => memTable.Bytes))}, {stats.MemTables.Sum(static memTable => memTable.Samples):N0} samples");
        Line(text, $"flushes      {stats.Flushes:N0}, {stats.FlushErrors} failed, {stats.FlushesToBlocks:N0} straight into {stats.FlushBlocks:N0} blocks, {Bytes(stats.FlushBytes)}, {stats.FlushSeconds:F1} s");
    }

    private static void Levels(StringBuilder text, EngineStats stats)
    {
        Line(text, $"");
        Line(text, $"level   tables       bytes          samples");
        foreach (var level in stats.Tables.GroupBy(static table => table.Level).OrderBy(static level => level.Key))
        {
            Line(text, $"L{level.Key,-4} {level.Count(),8} {Bytes(level.Sum(static table => table.Size)),11} {level.Sum(static table => table.Samples),16:N0}");
        }
    }

    private static void Windows(StringBuilder text, ImmutableArray<WindowStats> windows)
    {
        if (windows.IsEmpty) return;
        Line(text, $"");
        Line(text, $"window                 runs by level");
        if (windows.Length > WindowsShown) Line(text, $"... {windows.Length - WindowsShown} older ones");
        foreach (WindowStats window in windows.TakeLast(WindowsShown))
        {
            string levels = string.Join("  ", window.Levels.Select(static level => string.Create(
                CultureInfo.InvariantCulture, $"L{level.Level}: {level.Runs} ({level.Tables} {(level.Tables == 1 ? "table" : "tables")}, {Bytes(level.Bytes)})")));
            Line(text, $"{Time(window.StartMs),-22} {levels}");
        }
    }

    private static void Compactions(StringBuilder text, EngineStats stats)
    {
        Line(text, $"");
        Line(text, $"merges into   count  errors   seconds  tables in  tables out    bytes in   bytes out");
        foreach (LevelCompactions level in stats.Compactions.Where(static level => level.Count + level.Errors > 0))
        {
            Line(text, $"L{level.Level,-10} {level.Count,7} {level.Errors,7} {level.Seconds,9:F1} {level.TablesMerged,10} {level.TablesWritten,11} {Bytes(level.BytesRead),11} {Bytes(level.BytesWritten),11}");
        }

        Line(text, $"waiting      {stats.CompactionsWaiting} windows; debt {Bytes(stats.CompactionDebtBytes)}");
        Line(text, $"pace         {stats.CompactionDuty:P0} of full speed; so far merges slept {stats.CompactionSleepSeconds:F1} s, conversions {stats.ConversionSleepSeconds:F1} s, block compactions {stats.BlockCompactionSleepSeconds:F1} s");
        Line(text, $"write amplification {stats.WriteAmplification:F2}");
        foreach (RunningCompaction merge in stats.CompactionsRunning)
        {
            Line(text, $"running      window {Time(merge.WindowStartMs)} into L{merge.OutputLevel} ({Name(merge.Reason)}): {merge.Tables} tables, {Bytes(merge.BytesRead)} of {Bytes(merge.Bytes)}, {merge.Seconds:F1} s");
        }
    }

    private static void Stalls(StringBuilder text, EngineStats stats, DateTimeOffset now)
    {
        Line(text, $"");
        Line(text, $"stall signal        value        slow at        stop at   held back   refused");
        foreach (StallSignal signal in stats.StallSignals)
        {
            Line(text, $"{Name(signal.Reason),-16} {Amount(signal.Reason, signal.Value),8} {Amount(signal.Reason, signal.SlowAt),14} {Amount(signal.Reason, signal.StopAt),14} {stats.StallSecondsBy[signal.Reason],9:F1} s {stats.StallsRefusedBy[signal.Reason],9}");
        }

        foreach (WriteStallEpisode stall in stats.Stalls)
        {
            string window = stall.WindowStartMs is { } start ? $", window {Time(start)}" : "";
            double seconds = ((stall.EndedMs ?? now.ToUnixTimeMilliseconds()) - stall.BeganMs) / 1000.0;
            string end = stall.EndedMs is null ? "goes on" : "over";
            Line(text, $"stall        {Time(stall.BeganMs)} {Name(stall.Reason)}{window}: {end} after {seconds:F1} s; {stall.Delayed} writes waited {stall.WaitedSeconds:F1} s in all, {stall.Refused} refused");
        }
    }

    private static void Blocks(StringBuilder text, EngineStats stats)
    {
        Line(text, $"");
        Line(text, $"blocks       {stats.Blocks.Length}, {Bytes(stats.Blocks.Sum(static block => block.Bytes))}, {stats.Blocks.Sum(static block => block.Samples):N0} samples");
        Line(text, $"conversions  {stats.Conversions}, {stats.LateConversions} of late data, {stats.ConversionErrors} failed, {Bytes(stats.ConversionBytes)}, {stats.ConversionSeconds:F1} s");
        Line(text, $"compactions  {stats.BlockCompactions}, {stats.BlockCompactionErrors} failed, of {stats.BlocksMerged} blocks, {Bytes(stats.BlockCompactionBytesRead)} into {Bytes(stats.BlockCompactionBytesWritten)}, {stats.BlockCompactionSeconds:F1} s");
        if (stats.BlockCompactionRunning is { } job)
        {
            Line(text, $"running      {job.Blocks} blocks of {Time(job.MinTimeMs)} to {Time(job.EndTimeMs)} into one: {Bytes(job.Bytes)}, {Bytes(job.BytesWritten)} of chunks written, {job.Seconds:F1} s");
        }

        Line(text, $"reads        {stats.Reads:N0}; bloom filters spared {stats.BloomHits:N0} look-ups and let {stats.BloomMisses:N0} pass");
    }

    private static void Line(StringBuilder text, FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture).TrimEnd()).Append('\n');

    private static string Time(long ms) => ms >= DateTimeOffset.MinValue.ToUnixTimeMilliseconds() && ms <= DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()
        ? DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) + "Z"
        : ms.ToString(CultureInfo.InvariantCulture) + " ms";

    private static string Amount(StallReason reason, long value) =>
        reason is StallReason.LogBytes or StallReason.CompactionDebt ? Bytes(value) : value.ToString(CultureInfo.InvariantCulture);

    internal static string Bytes(long bytes)
    {
        string[] units = ["B", "KB", "MB", "GB", "TB"];
        double value = bytes;
        int unit = 0;
        for (; Math.Abs(value) >= 1024 && unit < units.Length - 1; unit++) value /= 1024;
        return value.ToString(unit == 0 ? "F0" : "F1", CultureInfo.InvariantCulture) + " " + units[unit];
    }

    private static string Name(Enum value) => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());
}
