using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Benchmarks;

/// <summary>A write body → samples and label runs: snappy, then protobuf by hand. Baselines: the generated parsers behind the same snappy.</summary>
/// <remarks>Small: 200 bodies of 10 series. Typical: one of 2,000. Worst: <see cref="Inputs.BodiesV1"/>.</remarks>
[MemoryDiagnoser]
[GroupBenchmarksBy(BenchmarkLogicalGroupRule.ByParams, BenchmarkLogicalGroupRule.ByCategory)]
[CategoriesColumn]
public class DecodeBenchmarks
{
    private const int MaxDecoded = 32 << 20;

    private readonly WriteBatch _batch = new();
    private byte[][] _v1 = [];
    private byte[][] _v2 = [];
    private SeriesDictionary _known = new();

    [ParamsAllValues]
    public Input Input { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        _v1 = Inputs.BodiesV1(Input);
        _v2 = Inputs.BodiesV2(Input);
        _known.Dispose();
        _known = Inputs.DictionaryThatKnows(_v1);
    }

    [Benchmark(OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("1.0")]
    public int SnappyV1() => Decompress(_v1);

    [Benchmark(OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("1.0")]
    public int DecodeV1()
    {
        int samples = 0;
        foreach (byte[] body in _v1)
        {
            using PooledBuffer raw = Decompress(body);
            if (RemoteWriteV1.Decode(raw.Memory, _batch, DecodeLimits.Default, out string? error) != DecodeStatus.Ok) Fail(error);
            samples += _batch.SampleCount;
        }

        return Whole(samples);
    }

    /// <summary>What a server is sent: series that it knows, in the order of the last time, found while they are decoded.</summary>
    /// <remarks>The worst are not found so, since no run of labels lies in the body as it was stored.</remarks>
    [Benchmark(OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("1.0")]
    public int DecodeV1Known()
    {
        int samples = 0;
        foreach (byte[] body in _v1)
        {
            using PooledBuffer raw = Decompress(body);
            SenderCursor cursor = _known.NewCursor();
            if (RemoteWriteV1.Decode(raw.Memory, _batch, DecodeLimits.Default, ref cursor, out string? error) != DecodeStatus.Ok) Fail(error);
            samples += _batch.SampleCount;
        }

        return Whole(samples);
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("1.0")]
    public int GeneratedV1()
    {
        int samples = 0;
        foreach (byte[] body in _v1)
        {
            using PooledBuffer raw = Decompress(body);
            WriteRequest request = WriteRequest.Parser.ParseFrom(raw.Span);
            foreach (TimeSeries series in request.Timeseries) samples += series.Samples.Count;
        }

        return Whole(samples);
    }

    [Benchmark(OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("2.0")]
    public int SnappyV2() => Decompress(_v2);

    [Benchmark(OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("2.0")]
    public int DecodeV2()
    {
        int samples = 0;
        foreach (byte[] body in _v2)
        {
            using PooledBuffer raw = Decompress(body);
            if (RemoteWriteV2.Decode(raw.Memory, _batch, DecodeLimits.Default, out string? error) != DecodeStatus.Ok) Fail(error);
            samples += _batch.SampleCount;
        }

        return Whole(samples);
    }

    /// <summary>Does less than <see cref="DecodeV2"/>: it leaves the labels as references.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Inputs.SamplesPerRequest)]
    [BenchmarkCategory("2.0")]
    public int GeneratedV2()
    {
        int samples = 0;
        foreach (byte[] body in _v2)
        {
            using PooledBuffer raw = Decompress(body);
            V2.Request request = V2.Request.Parser.ParseFrom(raw.Span);
            foreach (V2.TimeSeries series in request.Timeseries) samples += series.Samples.Count;
        }

        return Whole(samples);
    }

    [GlobalCleanup]
    public void Clean()
    {
        _batch.Dispose();
        _known.Dispose();
    }

    private static int Decompress(byte[][] bodies)
    {
        int bytes = 0;
        foreach (byte[] body in bodies)
        {
            using PooledBuffer raw = Decompress(body);
            bytes += raw.Length;
        }

        return bytes;
    }

    private static PooledBuffer Decompress(byte[] body)
    {
        CompressionStatus status = SnappyBlock.TryDecompress(body, MaxDecoded, out PooledBuffer? raw);
        return status == CompressionStatus.Ok ? raw! : throw new InvalidOperationException($"snappy: {status}");
    }

    private static int Whole(int samples) => samples == Inputs.SamplesPerRequest ? samples : throw new InvalidOperationException($"{samples} samples decoded");

    private static void Fail(string? error) => throw new InvalidOperationException(error);
}
