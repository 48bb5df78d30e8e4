using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Benchmarks;

/// <summary>The process whose instructions are counted: a typical body decoded again and again, snappy included.</summary>
internal static class DecodeLoop
{
    /// <summary>1.0, of series that nobody knows.</summary>
    public const string Cold1 = "1.0";

    /// <summary>1.0, of series that are known, in the order of the last time: nearly all that a server is sent.</summary>
    public const string Known1 = "1.0-known";

    /// <summary>2.0.</summary>
    public const string Cold2 = "2.0";

    /// <summary>1.0 by the generated parser.</summary>
    public const string Generated1 = "1.0-generated";

    /// <summary>2.0 by the generated parser, which leaves the labels as references.</summary>
    public const string Generated2 = "2.0-generated";

    private const int MaxDecoded = 32 << 20;
    private const int Always = 2;

    /// <summary>
    /// Decodes a body so many times, and twice more in any case, so that processes of any number have compiled the same, and have come to where a batch has room for
    /// all series: until then the way of known series breaks off wherever it grows.
    /// </summary>
    /// <returns>0, or 1 if it was not decoded whole.</returns>
    public static int Run(string which, int rounds)
    {
        byte[][] bodies = which is Cold2 or Generated2 ? Inputs.BodiesV2(Input.Typical) : Inputs.BodiesV1(Input.Typical);
        using var batch = new WriteBatch();
        using SeriesDictionary known = which == Known1 ? Inputs.DictionaryThatKnows(bodies) : new SeriesDictionary();
        for (int round = 0; round < rounds + Always; round++)
        {
            if (SnappyBlock.TryDecompress(bodies[0], MaxDecoded, out PooledBuffer? raw) != CompressionStatus.Ok) return 1;
            using (raw)
            {
                if (Decode(which, raw!, batch, known) != Inputs.SamplesPerRequest) return 1;
            }
        }

        return which == Known1 && !AreKnown(batch) ? 1 : 0;
    }

    /// <summary>Decodes it once.</summary>
    /// <returns>Samples in it; -1 if it is refused.</returns>
    private static int Decode(string which, PooledBuffer raw, WriteBatch batch, SeriesDictionary known)
    {
        switch (which)
        {
            case Cold1:
                return RemoteWriteV1.Decode(raw.Memory, batch, DecodeLimits.Default, out _) == DecodeStatus.Ok ? batch.SampleCount : -1;
            case Known1:
                SenderCursor cursor = known.NewCursor();
                return RemoteWriteV1.Decode(raw.Memory, batch, DecodeLimits.Default, ref cursor, out _) == DecodeStatus.Ok ? batch.SampleCount : -1;
            case Cold2:
                return RemoteWriteV2.Decode(raw.Memory, batch, DecodeLimits.Default, out _) == DecodeStatus.Ok ? batch.SampleCount : -1;
            case Generated1:
                return WriteRequest.Parser.ParseFrom(raw.Span).Timeseries.Sum(static series => series.Samples.Count);
            case Generated2:
                return V2.Request.Parser.ParseFrom(raw.Span).Timeseries.Sum(static series => series.Samples.Count);
            default:
                throw new ArgumentException($"{which}: no such case", nameof(which));
        }
    }

    /// <summary>Whether the way of known series was taken: by all but the first, which is found by its hash.</summary>
    private static bool AreKnown(WriteBatch batch)
    {
        foreach (ref readonly SeriesEntry entry in batch.Series[1..])
        {
            if (!entry.WasExpected) return false;
        }

        return true;
    }
}
