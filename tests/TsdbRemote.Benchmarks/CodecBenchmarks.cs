using System.Buffers.Binary;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Benchmarks;

/// <summary>Samples → XOR chunks and back: as a MemTable appends and as a block is written; many at a time and one by one. Baseline: 16 bytes a sample.</summary>
/// <remarks>
/// Small: chunks of 8 samples. Typical: of 120, a MemTable's. Worst: of 120 with times and values at random, so that every sample takes the longest codes.
/// </remarks>
[MemoryDiagnoser]
[GroupBenchmarksBy(BenchmarkLogicalGroupRule.ByParams, BenchmarkLogicalGroupRule.ByCategory)]
[CategoriesColumn]
public class CodecBenchmarks
{
    private const int Samples = 400 * PerChunk;
    private const int PerChunk = MemTable.SamplesPerChunk;
    private const int PerSmallChunk = 8;
    private const int PlainBytes = 16;
    private const int LongestStepMs = 600_000;

    private readonly OptimalXorScratch _scratch = new();
    private readonly byte[] _buffer = new byte[OptimalXorEncoder.DefaultMaxBytes + XorChunkBuilder.AppendSlack];
    private readonly byte[] _plain = new byte[PerChunk * PlainBytes];
    private readonly Sample[] _decoded = new Sample[PerChunk];
    private Sample[][] _series = [];
    private byte[][] _chunks = [];

    [ParamsAllValues]
    public Input Input { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        int perChunk = Input == Input.Small ? PerSmallChunk : PerChunk;
        var random = new Random(1);
        _series = [.. Enumerable.Range(0, Samples / perChunk).Select(series => Input == Input.Worst ? AtRandom(random) : AsScraped(series, perChunk))];
        _chunks = [.. _series.Select(series => _buffer[..Append(series)])];
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    [BenchmarkCategory("encode")]
    public int XorAppend()
    {
        int bytes = 0;
        foreach (Sample[] series in _series) bytes += Append(series);
        return bytes;
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    [BenchmarkCategory("encode")]
    public int OptimalXor()
    {
        int bytes = 0;
        foreach (Sample[] series in _series)
        {
            int count = OptimalXorEncoder.Encode(series, long.MaxValue, PerChunk, OptimalXorEncoder.DefaultMaxBytes, _buffer, _scratch, out int length);
            if (count != series.Length) Fail(count);
            bytes += length;
        }

        return bytes;
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    [BenchmarkCategory("encode")]
    public int PlainWrite()
    {
        int bytes = 0;
        foreach (Sample[] series in _series)
        {
            int at = 0;
            foreach (Sample sample in series)
            {
                BinaryPrimitives.WriteInt64LittleEndian(_plain.AsSpan(at), sample.TimeMs);
                BinaryPrimitives.WriteUInt64LittleEndian(_plain.AsSpan(at + sizeof(long)), sample.ValueBits);
                at += PlainBytes;
            }

            bytes += at;
        }

        return bytes;
    }

    /// <summary>As reads decode: many samples at a time where they have the common shapes.</summary>
    [Benchmark(OperationsPerInvoke = Samples)]
    [BenchmarkCategory("decode")]
    public int XorReadRun()
    {
        int samples = 0;
        foreach (byte[] chunk in _chunks)
        {
            var reader = new XorChunkReader(chunk);
            samples += reader.ReadInto(_decoded);
        }

        return Whole(samples);
    }

    [Benchmark(OperationsPerInvoke = Samples)]
    [BenchmarkCategory("decode")]
    public int XorMoveNext()
    {
        int samples = 0;
        foreach (byte[] chunk in _chunks)
        {
            var reader = new XorChunkReader(chunk);
            for (int i = 0; reader.MoveNext(); i++, samples++) _decoded[i] = new Sample(reader.TimeMs, reader.ValueBits);
        }

        return Whole(samples);
    }

    [Benchmark(Baseline = true, OperationsPerInvoke = Samples)]
    [BenchmarkCategory("decode")]
    public int PlainRead()
    {
        int samples = 0;
        foreach (Sample[] series in _series)
        {
            int at = 0;
            for (int i = 0; i < series.Length; i++, at += PlainBytes)
            {
                ReadOnlySpan<byte> bytes = _plain.AsSpan(at);
                _decoded[i] = new Sample(BinaryPrimitives.ReadInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt64LittleEndian(bytes[sizeof(long)..]));
            }

            samples += series.Length;
        }

        return Whole(samples);
    }

    private static Sample[] AsScraped(int series, int count) =>
        [.. Enumerable.Range(0, count).Select(scrape => Sample.Of(Inputs.StartMs + scrape * Inputs.IntervalMs + series % 37, ScrapeLoad.ValueOf(series, scrape)))];

    private static Sample[] AtRandom(Random random)
    {
        var samples = new Sample[PerChunk];
        long timeMs = Inputs.StartMs;
        for (int i = 0; i < samples.Length; i++)
        {
            timeMs += 1 + random.Next(LongestStepMs);
            samples[i] = new Sample(timeMs, (ulong)random.NextInt64());
        }

        return samples;
    }

    private int Append(Sample[] series)
    {
        var builder = default(XorChunkBuilder);
        foreach (Sample sample in series) builder.Append(_buffer, sample.TimeMs, sample.ValueBits);
        return builder.ByteLength;
    }

    private static int Whole(int samples)
    {
        if (samples != Samples) Fail(samples);
        return samples;
    }

    private static void Fail(int samples) => throw new InvalidOperationException($"{samples} samples in a chunk, or in all");
}
