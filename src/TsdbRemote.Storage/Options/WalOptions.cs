using System.Collections.Immutable;
using System.Globalization;

namespace TsdbRemote.Storage.Options;

/// <summary>What an acknowledgement promises.</summary>
public enum WalDurability
{
    /// <summary>On disk before the answer. A power cut loses nothing acknowledged.</summary>
    Fsync,

    /// <summary>Handed to the kernel before the answer, synced every <see cref="WalOptions.SyncInterval"/>. A killed process loses nothing.</summary>
    Interval,

    /// <summary>No log at all: what was not flushed is lost. For tests and imports.</summary>
    None,
}

/// <summary>What an open does with a damaged log segment.</summary>
public enum CorruptionPolicy
{
    /// <summary>Move what is damaged to <c>quarantine/</c>, name it, serve the rest.</summary>
    Salvage,

    /// <summary>Do not start.</summary>
    Refuse,
}

/// <summary>The write-ahead log. Keys: <c>storage.wal</c>.</summary>
public sealed record WalOptions : IOptionsSection
{
    /// <summary>True: one writer commits all waiting requests together. False: each request writes and syncs for itself.</summary>
    public bool Async { get; init; } = true;

    /// <summary>What an acknowledgement promises.</summary>
    public WalDurability Durability { get; init; } = WalDurability.Fsync;

    /// <summary>Time between syncs under <see cref="WalDurability.Interval"/>: at most this, plus one sync, is lost to a power cut.</summary>
    public Duration SyncInterval { get; init; } = Duration.Seconds(1);

    /// <summary>Most requests in one group commit. More: fewer syncs under load, a longer wait for the first of the group.</summary>
    public int WriteBatchSize { get; init; } = 1000;

    /// <summary>Log kept before a flush is forced. Bytes. More: fewer flushes, longer replay.</summary>
    public ByteSize MaxSize { get; init; } = ByteSize.Gibibytes(1);

    /// <summary>Replay time that the log may come to; caps <see cref="MaxSize"/>, at the pace of the last replay, or 64 MiB of log a second and processor.</summary>
    public Duration MaxReplayTime { get; init; } = Duration.Seconds(10);

    /// <summary>What an open does with a damaged segment.</summary>
    public CorruptionPolicy OnCorruption { get; init; } = CorruptionPolicy.Salvage;

    /// <summary>
    /// Sequence of a record of the log that the replay leaves out and puts into <c>quarantine/</c>: one at which starts ended again and again, as the start that gave up says.
    /// Several are separated by commas: a sender that got no answer sends the same again, and makes a second such record. Null: none.
    /// </summary>
    [NullWord("none")]
    public string? QuarantineRecord { get; init; }

    /// <summary>The records that <see cref="QuarantineRecord"/> names.</summary>
    /// <param name="text">The option.</param>
    /// <returns>Null if it is not made of sequences.</returns>
    public static ImmutableHashSet<ulong>? RecordsOf(string? text)
    {
        ImmutableHashSet<ulong>.Builder records = ImmutableHashSet.CreateBuilder<ulong>();
        foreach (string one in (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (!ulong.TryParse(one, NumberStyles.None, CultureInfo.InvariantCulture, out ulong sequence)) return null;
            records.Add(sequence);
        }

        return records.ToImmutable();
    }

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
    [
        .. OptionProblem.Range(path, "sync_interval", SyncInterval, new Duration(10), Duration.Minutes(10)),
        .. OptionProblem.Range(path, "write_batch_size", WriteBatchSize, 1, 100_000),
        .. OptionProblem.Range(path, "max_size", MaxSize, ByteSize.Mebibytes(1), ByteSize.Gibibytes(1024)),
        .. OptionProblem.Range(path, "max_replay_time", MaxReplayTime, Duration.Seconds(1), Duration.Hours(24)),
        .. RecordsOf(QuarantineRecord) is null ? [$"{path}.quarantine_record: {QuarantineRecord} given, none or sequences of records separated by commas allowed"] : Array.Empty<string>(),
    ];
}
