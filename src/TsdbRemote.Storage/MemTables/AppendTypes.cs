using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.MemTables;

/// <summary>What became of one sample given to <see cref="MemTable.Append"/>.</summary>
public enum AppendOutcome : byte
{
    /// <summary>The series had no sample at that time; now it has.</summary>
    Stored,

    /// <summary>The series held exactly this sample: time and value bits. Success, stored once.</summary>
    Duplicate,

    /// <summary>The series held another value at that time, and this later arrival took its place.</summary>
    Replaced,

    /// <summary>The series holds another value at that time, and <see cref="MemTableOptions.RejectConflicts"/> keeps it.</summary>
    Conflict,

    /// <summary>A histogram whose time a float holds. It is accepted, and the float is what readers see, whichever came first.</summary>
    Overruled,
}

/// <summary>How one <see cref="MemTable"/> works; fixed for its life.</summary>
/// <param name="Segment">Number of the log segment that lives and dies with it.</param>
/// <param name="WindowMs">Length of a window in ms, 1 or more; no chunk crosses a multiple of it (floor division).</param>
/// <param name="Stripes">Locks, a power of two from 1 to 65,536.</param>
/// <param name="RejectConflicts">True: another value at a known time is refused. False: the later arrival wins.</param>
public readonly record struct MemTableOptions(long Segment, long WindowMs, int Stripes, bool RejectConflicts);

/// <summary>One series of a request, already found in the dictionary.</summary>
public struct ResolvedSeries
{
    /// <summary>The <see cref="Ordinal"/> of an entry to pass over: nothing of it was accepted.</summary>
    public const uint Skip = uint.MaxValue;

    /// <summary>The series' number in the dictionary, dense from 0; or <see cref="Skip"/>.</summary>
    public uint Ordinal;

    /// <summary>Index of its first sample among the request's samples.</summary>
    public int FirstSample;

    /// <summary>Its samples, contiguous and in any order of time; 0 or more.</summary>
    public int SampleCount;
}

/// <summary>One histogram of a request, whose series is already found in the dictionary.</summary>
/// <param name="Ordinal">The series' number in the dictionary.</param>
/// <param name="Series">Index of the series in the request.</param>
/// <param name="Index">Index of the histogram in the request.</param>
/// <param name="TimeMs">Its time, ms.</param>
public readonly record struct ResolvedHistogram(uint Ordinal, int Series, int Index, long TimeMs);

/// <summary>What became of a request's samples. <see cref="MemTable.Append"/> adds to it.</summary>
/// <remarks>Stored + Duplicates + Replaced + Conflicts = samples given.</remarks>
public struct AppendCounts
{
    /// <summary>Samples at times that were free.</summary>
    public long Stored;

    /// <summary>Samples that were there already, to the bit.</summary>
    public long Duplicates;

    /// <summary>Samples that took another value's place, and histograms that gave way to a float.</summary>
    public long Replaced;

    /// <summary>Samples refused because another value holds their time.</summary>
    public long Conflicts;

    /// <summary>Those of <see cref="Stored"/> that were older than the series' newest sample in this MemTable.</summary>
    public long OutOfOrder;

    /// <summary>All that were not refused.</summary>
    public readonly long Accepted => Stored + Duplicates + Replaced;
}

/// <summary>Logs a sample once more, so that a replay in sequence order ends with it (design §5.1).</summary>
public interface IWinnerLog
{
    /// <summary>Logs the sample as a record of its own, to be durable before the request that brought it is acknowledged.</summary>
    /// <remarks>Called under a stripe's lock: enqueue and return; do not wait, and do not call the MemTable.</remarks>
    /// <param name="ordinal">The series.</param>
    /// <param name="sample">The sample that must win.</param>
    /// <returns>The new record's sequence, above every sequence given out before.</returns>
    ulong LogWinner(uint ordinal, Sample sample);

    /// <summary>As the other, of a histogram.</summary>
    /// <param name="ordinal">The series.</param>
    /// <param name="histogram">Index of the histogram in the request that is being appended.</param>
    ulong LogWinner(uint ordinal, int histogram);
}
