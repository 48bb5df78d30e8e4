using System.Buffers.Binary;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Endpoints;
using TsdbRemote.Otlp;
using TsdbRemote.Protos.Otlp;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Bodies packed by snappy or zstd; another library has to unpack the former to the same.</summary>
internal sealed class CompressionParser(bool isSnappy) : FuzzParser
{
    private const int MostBytes = 1 << 16;

    private PooledBuffer? _raw;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _raw?.Dispose();
        return (isSnappy ? SnappyBlock.TryDecompress(input, MostBytes, out _raw) : ZstdFrame.TryDecompress(input, MostBytes, out _raw)) == CompressionStatus.Ok;
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        Assert.InRange(_raw!.Length, 0, MostBytes);
        if (isSnappy) Assert.True(_raw.Span.SequenceEqual(IronSnappy.Snappy.Decode(input)), "another library unpacks it to something else");
    }

    protected override void Close() => _raw?.Dispose();
}

/// <summary>A request of remote write; protobuf's own parser has to find the same samples in it.</summary>
internal sealed class WriteRequestParser(WriteProtocol protocol) : FuzzParser
{
    private readonly WriteBatch _batch = new();
    private byte[] _body = [];

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _body = input.ToArray();
        DecodeStatus status = protocol == WriteProtocol.V1
            ? RemoteWriteV1.Decode(_body, _batch, DecodeLimits.Default, out _)
            : RemoteWriteV2.Decode(_body, _batch, DecodeLimits.Default, out _);
        return status == DecodeStatus.Ok;
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        if (protocol == WriteProtocol.V1) CheckV1();
        else CheckV2();
        TakeHistograms(_batch);
    }

    protected override void Close() => _batch.Dispose();

    /// <summary>What was called good can be decoded, and what was not can be explained.</summary>
    internal static void TakeHistograms(WriteBatch batch)
    {
        for (int i = 0; i < batch.HistogramCount; i++)
        {
            if (!batch.Histograms[i].IsValid) Assert.NotEmpty(batch.ExplainHistogram(i));
            else Assert.Null(HistogramValidation.Admit(batch.HistogramAt(i)));
        }
    }

    private void CheckV1()
    {
        Wire.OracleV1.WriteRequest sent = Wire.OracleV1.WriteRequest.Parser.ParseFrom(_body);
        Assert.Equal(sent.Timeseries.Count, _batch.Series.Length);
        for (int i = 0; i < _batch.Series.Length; i++)
        {
            AssertSame(sent.Timeseries[i].Samples.Count, _batch.Series[i], n => (sent.Timeseries[i].Samples[n].Timestamp, sent.Timeseries[i].Samples[n].Value));
            Assert.Equal(sent.Timeseries[i].Histograms.Count, _batch.Series[i].HistogramCount);
        }
    }

    private void CheckV2()
    {
        Wire.OracleV2.Request sent = Wire.OracleV2.Request.Parser.ParseFrom(_body);
        Assert.Equal(sent.Timeseries.Count, _batch.Series.Length);
        for (int i = 0; i < _batch.Series.Length; i++)
        {
            AssertSame(sent.Timeseries[i].Samples.Count, _batch.Series[i], n => (sent.Timeseries[i].Samples[n].Timestamp, sent.Timeseries[i].Samples[n].Value));
            Assert.Equal(sent.Timeseries[i].Histograms.Count, _batch.Series[i].HistogramCount);
            if (_batch.Series[i].Problem != SeriesProblem.None) Assert.NotEmpty(RemoteWriteV2.Explain(_batch, _batch.Series[i]));
        }
    }

    private void AssertSame(int count, in SeriesEntry entry, Func<int, (long TimeMs, double Value)> sent)
    {
        ReadOnlySpan<Sample> samples = _batch.SamplesOf(entry);
        Assert.Equal(count, samples.Length);
        for (int n = 0; n < samples.Length; n++)
        {
            (long timeMs, double value) = sent(n);
            if (samples[n] != Sample.Of(timeMs, value)) Assert.Fail($"sample {n} is {samples[n]}, sent was {value:R} at {timeMs}");
        }
    }
}

/// <summary>A request of remote read, unpacked: snappy is a target of its own, and so each input reaches the message.</summary>
internal sealed class ReadRequestParser : FuzzParser
{
    private const byte LiteralOfTwoBytesLength = 61 << 2;

    private byte[] _packed = new byte[1 << 12];

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        if (_packed.Length < input.Length + Varint.MaxBytes + 3) Array.Resize(ref _packed, 2 * _packed.Length + input.Length);
        return ReadQueries.TryParse(_packed.AsSpan(0, Pack(input)), out ReadQueries? queries) is null && queries!.Queries.Count > 0;
    }

    /// <summary>As one literal: to look for what could be copied costs more than the parser.</summary>
    private int Pack(ReadOnlySpan<byte> input)
    {
        int at = Varint.Write(_packed, (ulong)input.Length);
        if (input.IsEmpty) return at;
        _packed[at] = LiteralOfTwoBytesLength;
        BinaryPrimitives.WriteUInt16LittleEndian(_packed.AsSpan(at + 1), (ushort)(input.Length - 1));
        input.CopyTo(_packed.AsSpan(at + 3));
        return at + 3 + input.Length;
    }
}

/// <summary>An export of OTLP; what it is translated to is a good request of remote write 1.0.</summary>
internal sealed class ExportParser(bool isJson) : FuzzParser
{
    private readonly WriteBatch _batch = new();
    private OtlpTranslator? _translator;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        if (OtlpMessage.Weigh(input, isJson, out _) is not null || OtlpMessage.Parse(input, isJson, out ExportRequest request) is not null) return false;
        _translator = new OtlpTranslator(new OtlpNames(default), 100_000, 4096);
        _translator.Translate(request, CancellationToken.None);
        return !_translator.IsTooMany;
    }

    public override void Check(ReadOnlySpan<byte> input)
    {
        using PooledBuffer written = PooledBuffer.Rent(1024);
        Assert.True(_translator!.Series.TryEncode(written, 1 << 30));
        Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(written.Memory, _batch, DecodeLimits.Default, out _));
    }

    protected override void Close() => _batch.Dispose();
}

/// <summary>A text that is taken, or refused by an exception that says why.</summary>
/// <typeparam name="T">The exception.</typeparam>
internal sealed class TextParser<T>(Action<string> parse) : FuzzParser
    where T : Exception
{
    public override bool Parse(ReadOnlySpan<byte> input)
    {
        try
        {
            parse(Encoding.UTF8.GetString(input));
            return true;
        }
        catch (T)
        {
            return false;
        }
    }
}
