using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Engine;

/// <summary>Why writes are slowed down or stopped.</summary>
public enum StallReason
{
    /// <summary>MemTables wait for their flush.</summary>
    MemTables,

    /// <summary>The log holds too much that no table has.</summary>
    LogBytes,

    /// <summary>A window of time has too many tables of level 0; only writes into it wait.</summary>
    L0Tables,

    /// <summary>Too many bytes of tables wait to be merged.</summary>
    CompactionDebt,
}

/// <summary>One signal against its thresholds.</summary>
/// <param name="Reason">Which signal.</param>
/// <param name="Value">Where it stands: MemTables, tables or bytes.</param>
/// <param name="SlowAt">From here on writes are delayed.</param>
/// <param name="StopAt">From here on they wait, for some seconds, and are then told to come again.</param>
public readonly record struct StallSignal(StallReason Reason, long Value, long SlowAt, long StopAt)
{
    /// <summary>Where the signal stands between the thresholds: 0 at or below the first, 1 at or above the second.</summary>
    public double Progress => StopAt > SlowAt ? Math.Clamp((Value - SlowAt) / (double)(StopAt - SlowAt), 0, 1) : Value >= StopAt ? 1 : 0;
}

/// <summary>A window with so many tables of level 0 that writes into it are held back.</summary>
/// <param name="Window">The window; both ends belong to it.</param>
/// <param name="Tables">Its tables of level 0.</param>
public sealed record CrowdedWindow(TimeRange Window, int Tables);

/// <summary>What MemTables and log come to.</summary>
/// <param name="Waiting">MemTables that wait for their flush.</param>
/// <param name="MaxWaiting">How many may.</param>
/// <param name="Fill">Fill of the active one, as a part of its size; may exceed 1.</param>
/// <param name="IsEmpty">The active one holds nothing: switching it would gain nothing.</param>
/// <param name="LogBytes">Log bytes that no table holds yet.</param>
/// <param name="MaxLogBytes">How many may be.</param>
/// <param name="MemTableBytes">Size of a full MemTable.</param>
internal readonly record struct FlushPressure(
    int Waiting, int MaxWaiting, double Fill, bool IsEmpty, long LogBytes, long MaxLogBytes, long MemTableBytes);

/// <summary>What merges are behind by.</summary>
/// <param name="DebtBytes">Bytes of tables that wait to be merged.</param>
/// <param name="Jobs">Windows for which a merge is due.</param>
/// <param name="Crowded">Windows at or above the mark at which writes into them are slowed down.</param>
/// <param name="MostTables">Tables of level 0 of the window that has most of them.</param>
internal sealed record CompactionPressure(long DebtBytes, int Jobs, ImmutableArray<CrowdedWindow> Crowded, int MostTables)
{
    public static CompactionPressure None { get; } = new(0, 0, [], 0);
}

/// <summary>When writes are slowed down, by how much, and when they are stopped. Pure.</summary>
/// <remarks>
/// Each signal delays long before it stops, a little at first and more towards the stop: sudden stops are what senders suffer from
/// (facebook/rocksdb#9423). Thresholds: reliability §5.2; those of level 0 are RocksDB's.
/// </remarks>
internal static class StallRules
{
    /// <summary>Tables of level 0 in one window from which on writes into it are delayed.</summary>
    public const int SlowTables = 20;

    /// <summary>Tables of level 0 in one window at which writes into it wait.</summary>
    public const int StopTables = 36;

    /// <summary>Longest delay of a request by MemTables, log or debt.</summary>
    public static readonly TimeSpan LongestDelay = TimeSpan.FromMilliseconds(50);

    /// <summary>Longest delay of a request into a crowded window: its writers alone feel it, so it may press harder.</summary>
    public static readonly TimeSpan LongestWindowDelay = TimeSpan.FromMilliseconds(250);

    // Below it a timer's slack is most of the delay.
    private static readonly TimeSpan ShortestDelay = TimeSpan.FromMilliseconds(1);

    // A log three quarters full is being flushed; see RotationPolicy.
    private const double LogFill = 0.75;

    private const int StopFactor = 4;

    /// <summary>The signals that concern every write, with their thresholds.</summary>
    /// <param name="flush">MemTables and log.</param>
    /// <param name="debtBytes">Bytes of tables that wait to be merged.</param>
    /// <param name="levels">Number of levels.</param>
    public static ImmutableArray<StallSignal> Signals(in FlushPressure flush, long debtBytes, int levels)
    {
        long debt = SlowDebtBytes(flush.MemTableBytes, levels);
        return
        [
            new(StallReason.MemTables, flush.Waiting, FirstSlow(flush), flush.MaxWaiting),
            new(StallReason.LogBytes, flush.LogBytes, (long)(flush.MaxLogBytes * LogFill), flush.MaxLogBytes),
            new(StallReason.CompactionDebt, debtBytes, debt, debt * StopFactor),
        ];
    }

    /// <summary>The signal of the window that has most tables of level 0.</summary>
    public static StallSignal SignalOf(int tables) => new(StallReason.L0Tables, tables, SlowTables, StopTables);

    /// <summary>True if a signal stops writes.</summary>
    public static bool Stops(in StallSignal signal, in FlushPressure flush) => signal.Value >= signal.StopAt && signal.Reason switch
    {
        StallReason.MemTables => flush.Fill >= 1, // until then there is room in the active one
        StallReason.LogBytes => !flush.IsEmpty, // else nothing could be flushed that would make it shorter
        _ => true,
    };

    /// <summary>How long a request is delayed by a signal that does not stop it.</summary>
    public static TimeSpan DelayOf(in StallSignal signal, in FlushPressure flush)
    {
        TimeSpan delay = signal.Reason switch
        {
            // The last room there is: what waits counts whole, and what fills up beside it in part.
            StallReason.MemTables when signal.Value >= signal.SlowAt =>
                LongestDelay * Math.Min(1, (signal.Value - signal.SlowAt + Math.Min(flush.Fill, 1)) / (signal.StopAt - signal.SlowAt + 1)),
            StallReason.MemTables => TimeSpan.Zero,
            StallReason.L0Tables => LongestWindowDelay * signal.Progress,
            _ => LongestDelay * signal.Progress,
        };
        return delay < ShortestDelay ? TimeSpan.Zero : delay;
    }

    /// <summary>Debt from which on writes are delayed, in bytes.</summary>
    public static long SlowDebtBytes(long memTableBytes, int levels) => 4 * memTableBytes * levels;

    private static int FirstSlow(in FlushPressure flush) => Math.Max(1, flush.MaxWaiting - 1);
}
