using TsdbRemote.Storage.Options;

namespace TsdbRemote.Torture;

/// <summary>What is asked of a torture.</summary>
/// <param name="Directory">Where the servers keep their data; what is made in it is removed again, unless something was wrong with it.</param>
/// <param name="Duration">How long; what is begun is ended, so it takes some seconds more.</param>
/// <param name="Modes">The modes of durability that take turns.</param>
/// <param name="Seed">Decides when is killed and what is damaged. Not how far the writers had come by then, so no run is like another.</param>
internal sealed record TorturePlan(string Directory, TimeSpan Duration, IReadOnlyList<WalDurability> Modes, int Seed)
{
    /// <summary>Longest turn of one mode: its directory is checked, damaged and begun anew then, so that neither it nor a check grows for hours.</summary>
    public TimeSpan TurnDuration => TimeSpan.FromTicks(Math.Min(Duration.Ticks / Modes.Count, TimeSpan.FromMinutes(5).Ticks));

    /// <summary>Options of the server: everything small, so that logs are switched and tables flushed, merged and converted all the time.</summary>
    public static string[] ServerOptions(WalDurability mode) =>
    [
        $"--storage:wal:durability={mode.ToString().ToLowerInvariant()}", "--storage:lsm:memtable_size=1MB", "--storage:integration:late_delay=1s", "--admin:enabled=true",
    ];
}
