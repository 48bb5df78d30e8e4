namespace TsdbRemote.Telemetry;

/// <summary>The longest time that the garbage collector has stopped all threads for, since the first use. The runtime's own meter has only the sum.</summary>
/// <remarks>
/// An object that nobody holds is finalized after each collection of its generation, and leaves another one behind for the next; so each collection, however
/// small, is looked at once, for the price of one finalizer. Where two follow so closely that one look has to do for both, the last of each kind is seen.
/// </remarks>
internal static class LongestPause
{
    private static readonly GCKind[] Kinds = [GCKind.Ephemeral, GCKind.FullBlocking, GCKind.Background];
    private static long _ticks;
    private static int _watching;

    /// <summary>Begins to look; once for the process.</summary>
    public static void Watch()
    {
        if (Interlocked.Exchange(ref _watching, 1) == 0) Sentinel.Leave();
    }

    /// <summary>The longest pause so far, seconds.</summary>
    public static double Seconds => TimeSpan.FromTicks(Volatile.Read(ref _ticks)).TotalSeconds;

    private static void Look()
    {
        long longest = Volatile.Read(ref _ticks);
        foreach (GCKind kind in Kinds)
        {
            foreach (TimeSpan pause in GC.GetGCMemoryInfo(kind).PauseDurations) longest = Math.Max(longest, pause.Ticks);
        }

        // Finalizers run one after the other.
        Volatile.Write(ref _ticks, longest);
    }

    private sealed class Sentinel
    {
        ~Sentinel()
        {
            if (Environment.HasShutdownStarted) return;
            Look();
            Leave();
        }

        public static void Leave() => _ = new Sentinel();
    }
}
