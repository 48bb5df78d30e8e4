using System.Text;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Endpoints;
using TsdbRemote.Otlp;
using TsdbRemote.Protos.Otlp;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Wire;

namespace TsdbRemote.Tests.Mutations;

/// <summary>A million wrong inputs for each parser that reads what came over the network: it answers, and what it takes is what was sent.</summary>
/// <remarks>A failure names the number of the mutation; <c>new Mutator(corpus).Make(number)</c> makes it again.</remarks>
public sealed class MutationTests
{
    private const int Count = 1_000_000;

    private static readonly Lazy<byte[][]> RawV1 = new(() => [.. Bodies(static wire => wire.RequestV1())]);
    private static readonly Lazy<byte[][]> RawV2 = new(() => [.. Bodies(static wire => wire.RequestV2())]);

    [Fact]
    public void Snappy_blocks() => Try([.. RawV1.Value.Select(static raw => IronSnappy.Snappy.Encode(raw)), IronSnappy.Snappy.Encode(new byte[3000])], static (input, _) =>
    {
        if (SnappyBlock.TryDecompress(input, 1 << 16, out PooledBuffer? raw) != CompressionStatus.Ok) return false;
        using (raw) Assert.True(raw!.Span.SequenceEqual(IronSnappy.Snappy.Decode(input)), "another library unpacks it to something else");
        return true;
    });

    [Fact]
    public void Zstd_frames()
    {
        using var packer = new ZstdSharp.Compressor();
        Try([.. RawV1.Value.Select(raw => packer.Wrap(raw).ToArray())], static (input, _) =>
        {
            if (ZstdFrame.TryDecompress(input, 1 << 16, out PooledBuffer? raw) != CompressionStatus.Ok) return false;
            using (raw) return raw!.Length <= 1 << 16;
        });
    }

    [Fact]
    public void Remote_write_1_0() => Try(RawV1.Value, static (input, batch) =>
    {
        byte[] body = input.ToArray();
        if (RemoteWriteV1.Decode(body, batch, DecodeLimits.Default, out _) != DecodeStatus.Ok) return false;
        Wire.OracleV1.WriteRequest sent = Wire.OracleV1.WriteRequest.Parser.ParseFrom(body);
        Assert.Equal(sent.Timeseries.Count, batch.Series.Length);
        for (int i = 0; i < batch.Series.Length; i++)
        {
            AssertSame(sent.Timeseries[i].Samples.Count, batch, batch.Series[i], n => (sent.Timeseries[i].Samples[n].Timestamp, sent.Timeseries[i].Samples[n].Value));
            Assert.Equal(sent.Timeseries[i].Histograms.Count, batch.Series[i].HistogramCount);
        }

        TakeHistograms(batch);
        return batch.SampleCount + batch.HistogramCount > 0;
    });

    [Fact]
    public void Remote_write_2_0() => Try(RawV2.Value, static (input, batch) =>
    {
        byte[] body = input.ToArray();
        if (RemoteWriteV2.Decode(body, batch, DecodeLimits.Default, out _) != DecodeStatus.Ok) return false;
        Wire.OracleV2.Request sent = Wire.OracleV2.Request.Parser.ParseFrom(body);
        Assert.Equal(sent.Timeseries.Count, batch.Series.Length);
        for (int i = 0; i < batch.Series.Length; i++)
        {
            AssertSame(sent.Timeseries[i].Samples.Count, batch, batch.Series[i], n => (sent.Timeseries[i].Samples[n].Timestamp, sent.Timeseries[i].Samples[n].Value));
            Assert.Equal(sent.Timeseries[i].Histograms.Count, batch.Series[i].HistogramCount);
            if (batch.Series[i].Problem != SeriesProblem.None) Assert.NotEmpty(RemoteWriteV2.Explain(batch, batch.Series[i]));
        }

        TakeHistograms(batch);
        return batch.SampleCount + batch.HistogramCount > 0;
    });

    [Fact]
    public void Remote_read_requests() => Try([.. ReadRequests().Select(static request => request.ToByteArray())], static (input, _) =>
    {
        // Their snappy is tried above; here each mutation reaches the message.
        using PooledBuffer packed = SnappyBlock.Compress(input);
        return ReadQueries.TryParse(packed.Span, out ReadQueries? queries) is null && queries!.Queries.Count > 0;
    });

    [Theory]
    [InlineData(OtlpEndpointTests.ProtobufType)]
    [InlineData(OtlpEndpointTests.JsonType)]
    public void Exports_of_OTLP(string type)
    {
        bool isJson = type == OtlpEndpointTests.JsonType;
        Try([.. OtlpEndpointTests.Bodies(type).Where(static body => body.Length < 1500)], (input, batch) =>
        {
            if (OtlpMessage.Weigh(input, isJson, out _) is not null || OtlpMessage.Parse(input, isJson, out ExportRequest request) is not null) return false;
            var translator = new OtlpTranslator(new OtlpNames(default), 100_000, 4096);
            translator.Translate(request, CancellationToken.None);
            if (translator.IsTooMany) return false;
            using PooledBuffer written = PooledBuffer.Rent(1024);
            Assert.True(translator.Series.TryEncode(written, 1 << 30));
            Assert.Equal(DecodeStatus.Ok, RemoteWriteV1.Decode(written.Memory, batch, DecodeLimits.Default, out _));
            return batch.SampleCount + batch.HistogramCount > 0;
        });
    }

    [Fact]
    public void Expressions_whose_exemplars_are_asked_for() => Try(
        [.. Expressions.Select(Encoding.UTF8.GetBytes)],
        static (input, _) => Accepts<SelectorException>(Encoding.UTF8.GetString(input), static text => ExpressionSelectors.Find(text)));

    [Fact]
    public void Selectors() => Try(
        [.. SelectorTexts.Select(Encoding.UTF8.GetBytes)],
        static (input, _) => Accepts<SelectorException>(Encoding.UTF8.GetString(input), static text => SelectorParser.Parse(text)));

    [Fact]
    public void Regular_expressions() => Try(
        [.. Patterns.Select(Encoding.UTF8.GetBytes)], static (input, _) => Accepts<MatcherException>(Encoding.UTF8.GetString(input), static text => Matcher.CheckSyntax(MatcherType.Regex, text)));

    private static readonly string[] SelectorTexts =
    [
        "up", "up{job=\"a\"}", "{__name__=~\"a.*|b\",job!=\"c\",x!~\"[0-9]+\"}", "{\"with space\",'ünï'=`raw`}", "a:b{c=\"\\n\\x41\\u00e4\\U0001F600\\101\"}", "up{a=\"1\",}", "{foo=~\".*\"}",
        "sum(up)", "up[5m]", "up offset 5m", "up @ 1", "NaN", "{}", "# comment\nup", "by{by=\"by\"}",
    ];

    private static readonly string[] Expressions =
    [
        "rate(up{job=\"a\"}[5m]) / on(instance) group_left(x) sum by (job) (rate(b_total[1m:10s] offset 5m))", "histogram_quantile(0.9, sum(rate(h_bucket{le=~\".+\"}[1h])) by (le))",
        "a and b or c unless d", "up @ 1e3 == bool 1", "topk(5, {__name__=~\"a.*\"})", "-foo^2 % 3", "max_over_time(rate(a[5m])[1h:])", "label_replace(up, \"a\", \"$1\", \"b\", '(.*)')",
        "count without (a, b) (x @ start())", "0x1F + Inf - nan", "# nothing\nup", "({\"a.b\", c!~\"d|e\"})",
    ];

    private static readonly string[] Patterns =
    [
        "a|b|c", "(?i)abc.*", "[a-z0-9_]+", "[^[:alpha:]\\d]", "(?P<n>x){2,30}", "\\Qa.b\\E\\x{1F600}", "\\p{Greek}\\PL", "(?:a+?|b*)$", "^(?s:.)\\b", "10\\.0\\..*", "(((a)))", "[\\]a-]", "a{1000}", "(?m:^a$)",
    ];

    private delegate bool Parser(ReadOnlySpan<byte> input, WriteBatch batch);

    /// <summary>Tries all mutations of a corpus, on all processors.</summary>
    /// <param name="corpus">Good inputs.</param>
    /// <param name="parse">True if it was taken; fails if it was taken for something else.</param>
    private static void Try(IReadOnlyList<byte[]> corpus, Parser parse)
    {
        const int Lot = 10_000;
        long taken = 0;
        Parallel.For(0, Count / Lot, lot =>
        {
            var mutator = new Mutator(corpus);
            using var batch = new WriteBatch();
            long mine = 0;
            for (long number = (long)lot * Lot; number < (lot + 1L) * Lot; number++)
            {
                ReadOnlySpan<byte> input = mutator.Make(number);
                try
                {
                    if (parse(input, batch)) mine++;
                }
                catch (Exception failure)
                {
                    throw new InvalidOperationException($"mutation {number}, {Convert.ToHexString(input)}: {failure.Message}", failure);
                }
            }

            Interlocked.Add(ref taken, mine);
        });

        // Were all refused at once, nothing behind the first check would have been tried.
        Assert.True(taken > Count / 200, $"{taken} of {Count} were taken");
    }

    private static bool Accepts<T>(string text, Action<string> parse)
        where T : Exception
    {
        try
        {
            parse(text);
            return true;
        }
        catch (T)
        {
            return false;
        }
    }

    private static void AssertSame(int count, WriteBatch batch, in SeriesEntry entry, Func<int, (long TimeMs, double Value)> sent)
    {
        ReadOnlySpan<Sample> samples = batch.SamplesOf(entry);
        Assert.Equal(count, samples.Length);
        for (int n = 0; n < samples.Length; n++)
        {
            (long timeMs, double value) = sent(n);
            if (samples[n] != Sample.Of(timeMs, value)) Assert.Fail($"sample {n} is {samples[n]}, sent was {value:R} at {timeMs}");
        }
    }

    /// <summary>What was called good can be decoded, and what was not can be explained.</summary>
    private static void TakeHistograms(WriteBatch batch)
    {
        for (int i = 0; i < batch.HistogramCount; i++)
        {
            if (!batch.Histograms[i].IsValid) Assert.NotEmpty(batch.ExplainHistogram(i));
            else Assert.Null(HistogramValidation.Admit(batch.HistogramAt(i)));
        }
    }

    private static IEnumerable<byte[]> Bodies(Func<OddWire, byte[]> request) =>
        Enumerable.Range(0, 300).Select(seed => request(new OddWire(new Random(seed), seed % 3 == 0 ? 0.2 : 0))).Where(static body => body.Length is > 0 and < 2000);

    private static IEnumerable<Protos.Prometheus.ReadRequest> ReadRequests()
    {
        yield return Requests.Read(Requests.Query(0, 1000, Requests.Eq("__name__", "up"), Requests.Re("job", "a|b.*"), Requests.Nre("x", "[0-9]+")));
        yield return Requests.Read(Requests.Query(-5, long.MaxValue, Requests.Neq("a", "")), Requests.Query(1, 2)).Accepting(1, 0);
        Protos.Prometheus.ReadRequest hinted = Requests.Read(Requests.Query(1, 2, Requests.Eq("a", "b")));
        hinted.Queries[0].Hints = new Protos.Prometheus.ReadHints { Func = "rate", StepMs = 15, Grouping = { "job" } };
        yield return hinted;
    }
}
