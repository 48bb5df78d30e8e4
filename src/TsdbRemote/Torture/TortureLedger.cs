namespace TsdbRemote.Torture;

/// <summary>What became of a request.</summary>
internal enum RequestFate : byte
{
    /// <summary>Never sent.</summary>
    None,

    /// <summary>Sent; not answered, or with a 5xx: its samples may be there or not.</summary>
    Sent,

    /// <summary>Answered 2xx.</summary>
    Acknowledged,

    /// <summary>Answered 2xx, and flushed since: there in every mode of durability.</summary>
    Flushed,
}

/// <summary>All requests of all writers, and what their samples are: each value tells its writer, series and request, so that whatever is read proves where it came from.</summary>
/// <remarks>
/// A request has one sample for each of <see cref="SeriesEach"/> series. Every eighth is three hours late; series change every few hundred requests. Thread-safe.
/// </remarks>
internal sealed class TortureLedger(long startMs)
{
    public const int Writers = 4;
    public const int SeriesEach = 100;

    private const int RequestsOfGeneration = 400;
    private const int LateEvery = 8;
    private const long StepMs = 10_000;
    private const long LateMs = 3 * 3_600_000;
    private const int RequestBits = 24;

    private readonly Lock _gate = new();
    private readonly List<RequestFate>[] _fates = [.. Enumerable.Range(0, Writers).Select(static _ => new List<RequestFate>())];

    /// <summary>Samples that were answered 2xx.</summary>
    public long Acknowledged => Count(RequestFate.Acknowledged) * SeriesEach;

    /// <summary>The next request of a writer, noted as sent.</summary>
    public int Begin(int writer)
    {
        lock (_gate)
        {
            _fates[writer].Add(RequestFate.Sent);
            return _fates[writer].Count - 1;
        }
    }

    public void Acknowledge(int writer, int request)
    {
        lock (_gate) _fates[writer][request] = RequestFate.Acknowledged;
    }

    /// <summary>All requests, for <see cref="Flush"/>: what is acknowledged later is not covered by a flush that was asked for before.</summary>
    public RequestFate[][] Snapshot()
    {
        lock (_gate) return [.. _fates.Select(static fates => fates.ToArray())];
    }

    /// <summary>A flush that was asked for after this snapshot was answered 2xx.</summary>
    public void Flush(RequestFate[][] before)
    {
        lock (_gate)
        {
            for (int writer = 0; writer < Writers; writer++)
            {
                for (int request = 0; request < before[writer].Length; request++)
                {
                    if (before[writer][request] == RequestFate.Acknowledged) _fates[writer][request] = RequestFate.Flushed;
                }
            }
        }
    }

    /// <summary>After a kill in mode <c>none</c>: what was not flushed may be there or not.</summary>
    /// <returns>How many samples these are.</returns>
    public long ForgetUnflushed()
    {
        long forgotten = 0;
        lock (_gate)
        {
            foreach (List<RequestFate> fates in _fates)
            {
                for (int request = 0; request < fates.Count; request++)
                {
                    if (fates[request] != RequestFate.Acknowledged) continue;
                    fates[request] = RequestFate.Sent;
                    forgotten += SeriesEach;
                }
            }
        }

        return forgotten;
    }

    /// <summary>A request that was acknowledged, of a writer.</summary>
    /// <returns>False if there is none among the last few.</returns>
    public bool TryRecent(int writer, Random random, out int request)
    {
        lock (_gate)
        {
            List<RequestFate> fates = _fates[writer];
            request = fates.Count - 1 - random.Next(50);
            return request >= 0 && fates[request] >= RequestFate.Acknowledged;
        }
    }

    public static int GenerationOf(int request) => request / RequestsOfGeneration;

    public static double ValueOf(int writer, int series, int request) => ((writer * SeriesEach + series) * (1L << RequestBits)) + request;

    public long TimeOf(int request) => startMs + request * StepMs - (request % LateEvery == LateEvery - 1 ? LateMs - StepMs / 2 : 0);

    /// <summary>Whether a sample is one of a request, with the right value and in the right series.</summary>
    /// <param name="writer">Whose it says it is.</param>
    /// <param name="series">Its number among those of the writer.</param>
    /// <param name="generation">Its generation of series.</param>
    /// <param name="timeMs">Its time.</param>
    /// <param name="value">Its value.</param>
    /// <param name="request">The request.</param>
    public bool IsOurs(int writer, int series, int generation, long timeMs, double value, out int request)
    {
        request = (int)((long)value & ((1L << RequestBits) - 1));
        lock (_gate)
        {
            return writer is >= 0 and < Writers && series is >= 0 and < SeriesEach && request < _fates[writer].Count && generation == GenerationOf(request)
                && timeMs == TimeOf(request) && value.Equals(ValueOf(writer, series, request));
        }
    }

    private long Count(RequestFate least)
    {
        lock (_gate) return _fates.Sum(fates => fates.LongCount(fate => fate >= least));
    }
}
