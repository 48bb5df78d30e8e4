using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Series;

/// <summary>The order in which senders name their series: finds a series where it is if a sender keeps to the order of his last request.</summary>
/// <remarks>
/// A scrape's series come in the same order each time, and Prometheus' shards keep it, so whoever followed a series the last time follows it
/// again. One comparison of the label run then does what a hash, a slot and a comparison do. A wrong guess costs that comparison, and the
/// hash table settles it.
/// A guess is one word in the record of the series before, written by any thread, the last one's word stands. It is an ordinal that some thread
/// had found, so it leads to a whole record, whoever wrote it; that it is the right one, the comparison says.
/// </remarks>
internal readonly unsafe struct SenderOrder(LabelStorage storage)
{
    private const int CacheLine = 64;

    /// <summary>Looks a series up behind another one. Takes no lock.</summary>
    /// <param name="previous">The series before it in the request.</param>
    /// <param name="run">The label run as it came.</param>
    /// <param name="ordinal">The series, if it was the one.</param>
    public bool TryFollow(uint previous, ReadOnlySpan<byte> run, out uint ordinal)
    {
        uint follower = Volatile.Read(ref storage.FollowerOf(previous));
        ordinal = follower - 1;
        return follower != 0 && storage[ordinal].Run.SequenceEqual(run);
    }

    /// <summary>Notes that a series came behind another.</summary>
    public void Note(uint previous, uint ordinal) => Volatile.Write(ref storage.FollowerOf(previous), ordinal + 1);

    /// <summary>Brings near what <see cref="TryFollow"/> will compare for the series behind one.</summary>
    /// <param name="previous">The series before them.</param>
    /// <param name="count">How many.</param>
    public void PrefetchBehind(uint previous, int count)
    {
        for (int i = 0; i < count; i++)
        {
            uint follower = Volatile.Read(ref storage.FollowerOf(previous));
            if (follower == 0) return;
            previous = follower - 1;
            ref readonly SeriesRecord record = ref storage[previous];
            for (int at = 0; at < record.Length; at += CacheLine) Prefetch.Near(record.Labels + at);
        }
    }
}
