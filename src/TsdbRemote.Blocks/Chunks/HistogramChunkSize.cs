using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>When a histogram chunk is full: Prometheus' prediction, which spreads a window's samples evenly over its chunks.</summary>
/// <remarks>
/// Once a chunk has a quarter of its target, its end is foretold as if samples went on as they came. Chunks of large histograms hold at least ten samples
/// unless their window ends. Source: prometheus, tsdb/head_append.go (histogramsAppendPreprocessor). A chunk that a counter reset or another layout
/// ended leaves its successor without a prediction of its own, if it had one itself: so does Prometheus, and its cuts are to be ours. One that is not bounded
/// ends with its window only: a part of a chunk is not cut again.
/// </remarks>
internal struct HistogramChunkSize(long windowMs, bool isBounded = true)
{
    /// <summary>Bytes that a chunk is to have.</summary>
    public const int TargetBytes = 1024;

    private const int MinSamples = 10;

    private long _nextAtMs;
    private bool _isPredicted;

    /// <summary>A chunk begins.</summary>
    /// <param name="timeMs">Its first sample's time.</param>
    /// <param name="isCutByContent">True if the sample did not go with the last chunk's, which was not full.</param>
    public void Begin(long timeMs, bool isCutByContent)
    {
        _nextAtMs = WindowEnd(timeMs);
        _isPredicted &= isCutByContent;
    }

    /// <summary>Whether the next sample belongs into another chunk.</summary>
    /// <param name="timeMs">The sample's time.</param>
    /// <param name="samples">Samples of the chunk.</param>
    /// <param name="bytes">Bytes of the chunk.</param>
    /// <param name="firstMs">Time of its first sample.</param>
    /// <param name="lastMs">Time of its last sample.</param>
    public bool IsFull(long timeMs, int samples, int bytes, long firstMs, long lastMs)
    {
        if (!isBounded) return timeMs >= _nextAtMs;
        long windowEnd = _isPredicted ? WindowEnd(firstMs) : _nextAtMs;
        if (!_isPredicted && bytes >= TargetBytes / 4)
        {
            _nextAtMs = Predict(firstMs, lastMs, _nextAtMs, (double)TargetBytes / bytes);
            _isPredicted = true;
        }

        return (timeMs >= _nextAtMs || bytes >= TargetBytes * 2) && (samples >= MinSamples || timeMs >= windowEnd);
    }

    private static long Predict(long firstMs, long lastMs, long endMs, double ratioToFull)
    {
        double chunks = unchecked(endMs - firstMs) / (unchecked(lastMs - firstMs + 1) * ratioToFull);
        return chunks <= 1 ? endMs : (long)(firstMs + unchecked(endMs - firstMs) / Math.Floor(chunks));
    }

    /// <summary>First instant behind the window; the end of time without windows.</summary>
    private readonly long WindowEnd(long timeMs)
    {
        long last = windowMs == 0 ? long.MaxValue : TimeWindow.EndOf(timeMs, windowMs);
        return last == long.MaxValue ? last : last + 1;
    }
}
