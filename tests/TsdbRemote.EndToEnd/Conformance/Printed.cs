using System.Buffers.Binary;
using System.Globalization;
using Google.Protobuf;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using Sample = TsdbRemote.Protos.Prometheus.Sample;

namespace TsdbRemote.EndToEnd.Conformance;

/// <summary>Cuts a streamed answer into its frames.</summary>
internal static class Frames
{
    /// <summary>The frames: length, CRC-32C of the payload in big-endian, payload with exactly one series.</summary>
    public static IReadOnlyList<ChunkedReadResponse> Of(byte[] body)
    {
        List<ChunkedReadResponse> frames = [];
        for (int at = 0; at < body.Length;)
        {
            var head = new CodedInputStream(body, at, body.Length - at);
            int length = (int)head.ReadUInt32();
            at = (int)head.Position + sizeof(uint);
            Assert.Equal(Crc32C.Of(body.AsSpan(at, length)), BinaryPrimitives.ReadUInt32BigEndian(body.AsSpan(at - sizeof(uint))));
            ChunkedReadResponse frame = ChunkedReadResponse.Parser.ParseFrom(body, at, length);
            Assert.Single(frame.ChunkedSeries);
            frames.Add(frame);
            at += length;
        }

        return frames;
    }
}

/// <summary>Series as a reader of the conformance page sees them: <c>a{b="c"} 0:1 15000:NaN</c>, times in ms after the row's time.</summary>
internal static class Printed
{
    public static string Of(TimeSeries series, long epochMs)
    {
        IEnumerable<(long TimeMs, string Text)> all = series.Samples.Select(static sample => (sample.Timestamp, Value(sample)))
            .Concat(series.Histograms.Select(static histogram => (histogram.Timestamp, Histogram(histogram))));
        return Labels(series.Labels) + string.Concat(all.OrderBy(static one => one.TimeMs).Select(one => Invariant($" {one.TimeMs - epochMs}:{one.Text}")));
    }

    /// <summary>Frames in their order, those of one series side by side joined; chunks are decoded.</summary>
    public static string Of(IReadOnlyList<ChunkedReadResponse> frames, long epochMs)
    {
        List<string> series = [];
        string last = "";
        foreach (ChunkedReadResponse frame in frames)
        {
            string labels = Labels(frame.ChunkedSeries[0].Labels);
            if (labels != last) series.Add(last = labels);
            series[^1] += string.Concat(frame.ChunkedSeries[0].Chunks.Select(chunk => " " + Chunk(chunk, epochMs)));
        }

        return series.Count == 0 ? "nothing" : string.Join("; ", series);
    }

    /// <summary>A chunk: its type and what is in it.</summary>
    public static string Chunk(Chunk chunk, long epochMs)
    {
        List<long> times = TimesOf(chunk, out List<string> texts);
        Assert.Equal((times[0], times[^1]), (chunk.MinTimeMs, chunk.MaxTimeMs));
        return $"{chunk.Type}[{string.Join(' ', times.Select((time, i) => Invariant($"{time - epochMs}:{texts[i]}")))}]";
    }

    /// <summary>Times of a chunk's samples, ms.</summary>
    public static List<long> TimesOf(Chunk chunk) => TimesOf(chunk, out _);

    private static List<long> TimesOf(Chunk chunk, out List<string> texts)
    {
        List<long> times = [];
        texts = [];
        if (chunk.Type == Protos.Prometheus.Chunk.Types.Encoding.Xor)
        {
            var reader = new XorChunkReader(chunk.Data.Span);
            while (reader.MoveNext())
            {
                times.Add(reader.TimeMs);
                texts.Add(Value(new Sample { Value = BitConverter.UInt64BitsToDouble(reader.ValueBits) }));
            }

            Assert.False(reader.IsCorrupt);
            return times;
        }

        ChunkEncoding encoding = chunk.Type == Protos.Prometheus.Chunk.Types.Encoding.Histogram ? ChunkEncoding.Histogram : ChunkEncoding.FloatHistogram;
        List<TestSupport.HistogramSample> histograms = [];
        TestSupport.HistogramChunks.Read(chunk.Data.Span, encoding, new HistogramReadBuffer(), histograms);
        foreach (TestSupport.HistogramSample sample in histograms)
        {
            times.Add(sample.TimeMs);
            texts.Add(StaleMarker.Bits == sample.Histogram.SumBits ? "stale histogram" : Invariant($"schema {sample.Histogram.Schema}"));
        }

        return times;
    }

    private static string Labels(IEnumerable<Label> labels)
    {
        Label[] all = [.. labels];
        string name = all.FirstOrDefault(static label => label.Name == "__name__")?.Value ?? "";
        string rest = string.Join(',', all.Where(static label => label.Name != "__name__").Select(static label => $"{label.Name}=\"{label.Value.ReplaceLineEndings("\\n")}\""));
        return rest.Length == 0 ? name : $"{name}{{{rest}}}";
    }

    private static string Value(Sample sample)
    {
        ulong bits = BitConverter.DoubleToUInt64Bits(sample.Value);
        if (bits == StaleMarker.Bits) return "stale";
        return double.IsNaN(sample.Value) ? Invariant($"NaN({bits:x16})") : Invariant($"{sample.Value:R}");
    }

    private static string Histogram(Histogram histogram)
    {
        if (BitConverter.DoubleToUInt64Bits(histogram.Sum) == StaleMarker.Bits) return "stale histogram";
        bool isFloat = histogram.CountCase == Protos.Prometheus.Histogram.CountOneofCase.CountFloat;
        string buckets = string.Join(',', isFloat ? histogram.PositiveCounts.Select(static count => Invariant($"{count:R}")) : Absolute(histogram.PositiveDeltas));
        double count = isFloat ? histogram.CountFloat : histogram.CountInt;
        return Invariant($"{(isFloat ? "float histogram" : "histogram")}(schema {histogram.Schema}, count {count:R}, positive {buckets})");
    }

    private static IEnumerable<string> Absolute(IEnumerable<long> deltas)
    {
        long count = 0;
        foreach (long delta in deltas) yield return (count += delta).ToString(CultureInfo.InvariantCulture);
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
