using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Storage.Series;

/// <summary>Which series were in one of the last few flushes, and when that was: a byte a series, from the first flush on that is noted.</summary>
/// <remarks>
/// Flushes are numbered from 1 to 252 and round again, and each series has the number of the last one it was in. So nothing is cleared; a series that was last
/// in a flush 252 before looks as if it were in the next few, which keeps it a little longer.
/// Threads: one at a time notes; any other reads, and may see a flush half noted.
/// </remarks>
internal sealed class FlushPresence : IDisposable
{
    /// <summary>So many flushes count.</summary>
    public const int Flushes = 4;

    private const int PageShift = 12;

    // A multiple, so that the last ones have places of their own in the ring of times.
    private const int Numbers = 63 * Flushes;

    private readonly NativePages<byte> _numbers = new(PageShift);
    private readonly long[] _timesMs = new long[Flushes];
    private volatile int _last;
    private long _segment = -1;

    /// <summary>Native bytes taken from the system.</summary>
    public long AllocatedBytes => _numbers.AllocatedBytes;

    /// <summary>Begins to note a flush. Another attempt of the same one is no other flush: a disk that is full for a while must not push the ones before out.</summary>
    /// <param name="segment">Number of its MemTable's log segment.</param>
    /// <param name="count">Series that the dictionary holds.</param>
    /// <param name="nowMs">Time of day, ms.</param>
    public void Begin(long segment, int count, long nowMs)
    {
        if (count > 0) _numbers.EnsureThrough((uint)count - 1);
        int number = segment == _segment ? _last : _last % Numbers + 1;
        _segment = segment;
        Volatile.Write(ref _timesMs[number % Flushes], nowMs);
        _last = number;
    }

    /// <summary>Notes that a series is in the flush.</summary>
    public void Note(uint ordinal) => _numbers[ordinal] = (byte)_last;

    /// <summary>True if a series was in one of the last <see cref="Flushes"/> flushes, and that was within a range of time.</summary>
    public bool WasFlushed(uint ordinal, TimeRange range)
    {
        if (!_numbers.Covers(ordinal)) return false;
        int number = _numbers[ordinal];
        bool isOfLast = number != 0 && (_last - number + Numbers) % Numbers < Flushes;
        return isOfLast && range.Contains(Volatile.Read(ref _timesMs[number % Flushes]));
    }

    /// <summary>Takes over what the dictionary before knows. Only while nobody else knows this object.</summary>
    /// <param name="before">Of the dictionary before.</param>
    /// <param name="sources">For each ordinal here the one there.</param>
    public void Take(FlushPresence before, ReadOnlySpan<uint> sources)
    {
        _last = before._last;
        _segment = before._segment;
        before._timesMs.CopyTo(_timesMs, 0);
        if (_last == 0 || sources.IsEmpty) return;
        _numbers.EnsureThrough((uint)sources.Length - 1);
        for (int i = 0; i < sources.Length; i++)
        {
            if (before._numbers.Covers(sources[i])) _numbers[(uint)i] = before._numbers[sources[i]];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _numbers.Dispose();
}
