using System.Text;
using Google.Protobuf;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Wire;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Good inputs for what comes over the network.</summary>
internal static class NetworkSeeds
{
    private static readonly Lazy<byte[][]> RawV1 = new(() => [.. Bodies(static wire => wire.RequestV1())]);
    private static readonly Lazy<byte[][]> RawV2 = new(() => [.. Bodies(static wire => wire.RequestV2())]);

    private static readonly string[] SelectorTexts =
    [
        "up", "up{job=\"a\"}", "{__name__=~\"a.*|b\",job!=\"c\",x!~\"[0-9]+\"}", "{\"with space\",'ünï'=`raw`}", "a:b{c=\"\\n\\x41\\u00e4\\U0001F600\\101\"}", "up{a=\"1\",}", "{foo=~\".*\"}",
        "sum(up)", "up[5m]", "up offset 5m", "up @ 1", "NaN", "{}", "# comment\nup", "by{by=\"by\"}",
    ];

    private static readonly string[] ExpressionTexts =
    [
        "rate(up{job=\"a\"}[5m]) / on(instance) group_left(x) sum by (job) (rate(b_total[1m:10s] offset 5m))", "histogram_quantile(0.9, sum(rate(h_bucket{le=~\".+\"}[1h])) by (le))",
        "a and b or c unless d", "up @ 1e3 == bool 1", "topk(5, {__name__=~\"a.*\"})", "-foo^2 % 3", "max_over_time(rate(a[5m])[1h:])", "label_replace(up, \"a\", \"$1\", \"b\", '(.*)')",
        "count without (a, b) (x @ start())", "0x1F + Inf - nan", "# nothing\nup", "({\"a.b\", c!~\"d|e\"})",
    ];

    private static readonly string[] Patterns =
    [
        "a|b|c", "(?i)abc.*", "[a-z0-9_]+", "[^[:alpha:]\\d]", "(?P<n>x){2,30}", "\\Qa.b\\E\\x{1F600}", "\\p{Greek}\\PL", "(?:a+?|b*)$", "^(?s:.)\\b", "10\\.0\\..*", "(((a)))", "[\\]a-]", "a{1000}", "(?m:^a$)",
    ];

    public static IReadOnlyList<byte[]> WriteV1() => RawV1.Value;

    public static IReadOnlyList<byte[]> WriteV2() => RawV2.Value;

    public static IReadOnlyList<byte[]> Snappy() => [.. RawV1.Value.Select(static raw => IronSnappy.Snappy.Encode(raw)), IronSnappy.Snappy.Encode(new byte[3000])];

    public static IReadOnlyList<byte[]> Zstd()
    {
        using var packer = new ZstdSharp.Compressor();
        return [.. RawV1.Value.Select(raw => packer.Wrap(raw).ToArray())];
    }

    public static IReadOnlyList<byte[]> Reads()
    {
        Protos.Prometheus.ReadRequest hinted = Requests.Read(Requests.Query(1, 2, Requests.Eq("a", "b")));
        hinted.Queries[0].Hints = new Protos.Prometheus.ReadHints { Func = "rate", StepMs = 15, Grouping = { "job" } };
        return
        [
            Requests.Read(Requests.Query(0, 1000, Requests.Eq("__name__", "up"), Requests.Re("job", "a|b.*"), Requests.Nre("x", "[0-9]+"))).ToByteArray(),
            Requests.Read(Requests.Query(-5, long.MaxValue, Requests.Neq("a", "")), Requests.Query(1, 2)).Accepting(1, 0).ToByteArray(),
            hinted.ToByteArray(),
        ];
    }

    public static IReadOnlyList<byte[]> Exports(string type) => [.. OtlpEndpointTests.Bodies(type).Where(static body => body.Length < 1500)];

    public static IReadOnlyList<byte[]> Selectors() => Utf8(SelectorTexts);

    public static IReadOnlyList<byte[]> Expressions() => Utf8(ExpressionTexts);

    public static IReadOnlyList<byte[]> RegularExpressions() => Utf8(Patterns);

    private static IReadOnlyList<byte[]> Utf8(string[] texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];

    private static IEnumerable<byte[]> Bodies(Func<OddWire, byte[]> request) =>
        Enumerable.Range(0, 300).Select(seed => request(new OddWire(new Random(seed), seed % 3 == 0 ? 0.2 : 0))).Where(static body => body.Length is > 0 and < 2000);
}
