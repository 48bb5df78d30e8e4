using Google.Protobuf;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Benchmarks;

/// <summary>Size and ugliness of an input. Each benchmark class says what the three are there.</summary>
public enum Input
{
    /// <summary>What costs by the call rather than by the sample.</summary>
    Small,

    /// <summary>What a Prometheus of 20,000 series does all day.</summary>
    Typical,

    /// <summary>Legal, and the slowest that a sender or a query can ask for in this area.</summary>
    Worst,
}

/// <summary>What all benchmarks run on: the series and values of <see cref="ScrapeLoad"/>, the same in every process.</summary>
/// <remarks>
/// Whatever the <see cref="Input"/>, an invocation handles the same number of samples: BenchmarkDotNet divides by a constant, and so the rows of
/// a class can be compared in ns a sample.
/// </remarks>
internal static class Inputs
{
    /// <summary>Active series.</summary>
    public const int Series = 20_000;

    /// <summary>Samples of a request, one a series: what a Prometheus sends by default.</summary>
    public const int SamplesPerRequest = 2_000;

    /// <summary>Series of a request of <see cref="Input.Small"/>.</summary>
    public const int SeriesPerSmallRequest = 10;

    /// <summary>Time between two scrapes.</summary>
    public const long IntervalMs = 15_000;

    /// <summary>Length of a window: the default of <c>storage.block_duration</c>.</summary>
    public const long WindowMs = 2 * 60 * 60 * 1000;

    /// <summary>2025-01-01 UTC, the start of a window.</summary>
    public const long StartMs = 1_735_689_600_000;

    private const int WorstLabels = 30;
    private const int MaxDecoded = 32 << 20;

    /// <summary>The sample of a series at a scrape.</summary>
    public static Sample SampleOf(int series, int scrape) =>
        Sample.Of(StartMs + scrape * IntervalMs + series % 37, ScrapeLoad.ValueOf(series, scrape));

    /// <summary>One sample of each series.</summary>
    public static Sample[] Scrape(int scrape) => [.. Enumerable.Range(0, Series).Select(series => SampleOf(series, scrape))];

    /// <summary>All series cut into requests, as the resolver hands them to a MemTable whose dictionary met them in this order.</summary>
    public static ResolvedSeries[][] ResolvedRequests(int seriesPerRequest) =>
    [
        .. Enumerable.Range(0, Series).Chunk(seriesPerRequest).Select(static series => series.Select(
            static (ordinal, index) => new ResolvedSeries { Ordinal = (uint)ordinal, FirstSample = index, SampleCount = 1 }).ToArray()),
    ];

    /// <summary>An empty MemTable with the default options.</summary>
    /// <param name="segment">Its log segment.</param>
    /// <param name="dictionary">Names its series; without one they have ordinals only.</param>
    public static MemTable NewMemTable(long segment, SeriesDictionary? dictionary = null) =>
        new(new MemTableOptions(segment, WindowMs, Stripes: 64, RejectConflicts: false), dictionary ?? new SeriesDictionary());

    /// <summary>Appends whole scrapes in the order given, a request of 2,000 series at a time.</summary>
    public static void Fill(MemTable memTable, params IEnumerable<int> scrapes)
    {
        ResolvedSeries[][] requests = ResolvedRequests(SamplesPerRequest);
        AppendCounts counts = default;
        ulong sequence = (ulong)memTable.Segment << 40;
        foreach (int scrape in scrapes)
        {
            Sample[] samples = Scrape(scrape);
            for (int i = 0; i < requests.Length; i++)
                memTable.Append(requests[i], samples.AsSpan(i * SamplesPerRequest, SamplesPerRequest), ++sequence, ref counts);
        }
    }

    /// <summary>Pairs of neighbours swapped, 1 0 3 2 …: every second scrape is late.</summary>
    public static IEnumerable<int> EverySecondLate(int scrapes) => Enumerable.Range(0, scrapes).Select(static scrape => scrape ^ 1);

    /// <summary>A dictionary that holds these series, with ordinals in their order.</summary>
    public static SeriesDictionary NewDictionary(int series = Series)
    {
        var dictionary = new SeriesDictionary();
        for (int i = 0; i < series; i++)
        {
            byte[] run = ScrapeLoad.LabelsOf(i);
            dictionary.GetOrAdd(run, Labels.Hash(run), out _);
        }

        return dictionary;
    }

    /// <summary>A dictionary as it is after these bodies of 1.0 came once: it knows their series and in which order they come.</summary>
    public static SeriesDictionary DictionaryThatKnows(byte[][] bodies)
    {
        var dictionary = new SeriesDictionary();
        var resolver = new SeriesResolver(new LabelLimits(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue), int.MaxValue, new EngineCounters());
        using var scratch = new WriteScratch();
        foreach (byte[] body in bodies)
        {
            if (SnappyBlock.TryDecompress(body, MaxDecoded, out PooledBuffer? raw) != CompressionStatus.Ok) throw new InvalidOperationException("snappy");
            using (raw)
            {
                SenderCursor cursor = dictionary.NewCursor();
                scratch.KnownBy = dictionary;
                if (RemoteWriteV1.Decode(raw!.Memory, scratch.Batch, DecodeLimits.Default, ref cursor, out string? error) != DecodeStatus.Ok) throw new InvalidOperationException(error);
                resolver.Resolve(scratch, dictionary, long.MaxValue);
            }
        }

        return dictionary.Count == SamplesPerRequest ? dictionary : throw new InvalidOperationException($"{dictionary.Count} series are known");
    }

    /// <summary>Remote write 1.0 bodies in snappy, together <see cref="SamplesPerRequest"/> series of one sample.</summary>
    /// <remarks>
    /// Small: 200 requests of 10 series. Typical: one request. Worst: one request, 30 labels of 120 bytes a series, spelled as no encoder does
    /// (value before name), so that every label has to be copied.
    /// </remarks>
    public static byte[][] BodiesV1(Input input) =>
    [
        .. Enumerable.Range(0, SamplesPerRequest).Chunk(SeriesPerRequest(input)).Select(chunk =>
        {
            using PooledBuffer raw = PooledBuffer.Rent(1 << 20);
            foreach (int series in chunk)
            {
                byte[] run = input == Input.Worst ? SpellBackwards(WorstLabelsOf(series)) : ScrapeLoad.LabelsOf(series);
                RemoteWriteV1.EncodeSeries(raw, run, [SampleOf(series, scrape: 0)]);
            }

            return Compress(raw.Span);
        }),
    ];

    /// <summary>The same series and samples as remote write 2.0; the worst has no label value twice.</summary>
    public static byte[][] BodiesV2(Input input) =>
    [
        .. Enumerable.Range(0, SamplesPerRequest).Chunk(SeriesPerRequest(input)).Select(chunk =>
        {
            var request = new V2.Request { Symbols = { "" } };
            var symbols = new Dictionary<string, uint> { [""] = 0 };
            foreach (int series in chunk)
            {
                Sample sample = SampleOf(series, scrape: 0);
                var entry = new V2.TimeSeries { Samples = { new V2.Sample { Timestamp = sample.TimeMs, Value = sample.Value } } };
                var labels = new LabelRunReader(input == Input.Worst ? WorstLabelsOf(series) : ScrapeLoad.LabelsOf(series));
                while (labels.MoveNext())
                {
                    entry.LabelsRefs.Add(Reference(request, symbols, labels.Name));
                    entry.LabelsRefs.Add(Reference(request, symbols, labels.Value));
                }

                request.Timeseries.Add(entry);
            }

            return Compress(request.ToByteArray());
        }),
    ];

    private static int SeriesPerRequest(Input input) => input == Input.Small ? SeriesPerSmallRequest : SamplesPerRequest;

    private static byte[] WorstLabelsOf(int series) => Labels.Encode(
    [
        ("__name__", "worst"),
        .. Enumerable.Range(1, WorstLabels - 1).Select(label => ($"label_number_{label:D2}", $"{series:D6}-{label:D2}-{new string('v', 86)}")),
    ]);

    private static byte[] SpellBackwards(byte[] run)
    {
        using PooledBuffer output = PooledBuffer.Rent(2 * run.Length);
        var labels = new LabelRunReader(run);
        while (labels.MoveNext())
        {
            int length = FieldSize(labels.Value.Length) + FieldSize(labels.Name.Length);
            WriteHead(output, Labels.LabelTag, length);
            WriteHead(output, Labels.ValueTag, labels.Value.Length);
            output.Append(labels.Value);
            WriteHead(output, Labels.NameTag, labels.Name.Length);
            output.Append(labels.Name);
        }

        return output.Span.ToArray();
    }

    private static int FieldSize(int length) => 1 + Varint.SizeOf((uint)length) + length;

    private static void WriteHead(PooledBuffer output, byte tag, int length)
    {
        output.Append([tag]);
        int size = Varint.Write(output.Reserve(Varint.MaxBytes), (uint)length);
        output.SetLength(output.Length + size);
    }

    internal static uint Reference(V2.Request request, Dictionary<string, uint> symbols, ReadOnlySpan<byte> utf8)
    {
        string text = System.Text.Encoding.UTF8.GetString(utf8);
        if (symbols.TryGetValue(text, out uint known)) return known;
        request.Symbols.Add(text);
        symbols.Add(text, (uint)symbols.Count);
        return (uint)symbols.Count - 1;
    }

    private static byte[] Compress(ReadOnlySpan<byte> raw)
    {
        using PooledBuffer block = SnappyBlock.Compress(raw);
        return block.Span.ToArray();
    }
}
