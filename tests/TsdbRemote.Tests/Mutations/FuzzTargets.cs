using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Endpoints;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Every parser that reads what somebody else may have written.</summary>
internal static class FuzzTargets
{
    // What a run of all tests has time for: these cost 12 to 37 µs an input.
    private const long Few = 200_000;

    // Of YAML one costs 100 µs.
    private const long Fewer = 50_000;

    // 200 µs, for it is read through all layers of the framework's configuration and each option is looked for. What reads its bytes is the target yaml.
    private const long Fewest = 10_000;

    // A tree of nodes for each regular expression, wherever it stands; classes of Unicode are long lists.
    private const long RegexFixedBytes = 1 << 20;
    private const long RegexBytesPerByte = 8192;

    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new("snappy", NetworkSeeds.Snappy, static () => new CompressionParser(isSnappy: true)),
        new("zstd", NetworkSeeds.Zstd, static () => new CompressionParser(isSnappy: false)),
        new("write-1", NetworkSeeds.WriteV1, static () => new WriteRequestParser(WriteProtocol.V1)),
        new("write-2", NetworkSeeds.WriteV2, static () => new WriteRequestParser(WriteProtocol.V2)),
        new("read", NetworkSeeds.Reads, static () => new ReadRequestParser()),
        new("otlp-protobuf", static () => NetworkSeeds.Exports(OtlpEndpointTests.ProtobufType), static () => new ExportParser(isJson: false)) { Count = Few },
        new("otlp-json", static () => NetworkSeeds.Exports(OtlpEndpointTests.JsonType), static () => new ExportParser(isJson: true)) { Count = Few },
        new("selector", NetworkSeeds.Selectors, static () => new TextParser<SelectorException>(static text => SelectorParser.Parse(text))) { FixedBytes = RegexFixedBytes, BytesPerByte = RegexBytesPerByte, Count = Few },
        new("expression", NetworkSeeds.Expressions, static () => new TextParser<SelectorException>(static text => ExpressionSelectors.Find(text))) { FixedBytes = RegexFixedBytes, BytesPerByte = RegexBytesPerByte, Count = Few },
        new("regex", NetworkSeeds.RegularExpressions, static () => new TextParser<MatcherException>(static text => Matcher.CheckSyntax(MatcherType.Regex, text))) { FixedBytes = RegexFixedBytes, BytesPerByte = RegexBytesPerByte, Count = Few },

        new("log", FileSeeds.Logs, static () => new LogParser()) { Seal = static file => Seals.Log(file, LogParser.Segment) },
        new("dictionary", FileSeeds.Dictionaries, static () => new DictionaryParser())
        {
            Seal = static file => Seals.Framed(file, SeriesFile.Kind, DictionaryParser.Number, SeriesFile.HeaderBytes),
        },
        new("manifest", FileSeeds.Manifests, static () => new ManifestParser()) { Seal = Seals.Manifest, Count = Few },
        new("metadata", static () => FileSeeds.SideFiles(isMetadata: true), static () => new SideFileParser(isMetadata: true)) { Seal = static file => SealSideFile(file, isMetadata: true), Count = Few },
        new("exemplars", static () => FileSeeds.SideFiles(isMetadata: false), static () => new SideFileParser(isMetadata: false)) { Seal = static file => SealSideFile(file, isMetadata: false), Count = Few },
        new("sstable", FileSeeds.Tables, static () => new TableParser()) { Seal = Seals.Table },
        new("block-index", FileSeeds.BlockIndexes, static () => new BlockIndexParser()) { Seal = Seals.BlockIndex },
        new("block-meta", FileSeeds.BlockMetas, static () => new BlockMetaParser()) { Count = Few },
        new("tombstones", FileSeeds.TombstoneFiles, static () => new TombstonesParser()) { Seal = Seals.Tombstones, Count = Few },
        new("chunk-segment", FileSeeds.ChunkSegments, static () => new ChunkSegmentParser()) { Seal = Seals.ChunkSegment, Count = Few },
        new("xor-chunk", FileSeeds.XorChunks, static () => new XorChunkParser()),
        new("histogram-chunk", FileSeeds.HistogramChunks, static () => new HistogramChunkParser()) { BytesPerByte = 512 },
        new("yaml", static () => [.. FileSeeds.OptionFiles(), .. FileSeeds.WebConfigs()], static () => new YamlKeysParser()) { BytesPerByte = 1024, Count = Fewer },
        new("web-config", FileSeeds.WebConfigs, static () => new WebConfigParser()) { BytesPerByte = 1024, Count = Fewer },
        new("options-file", FileSeeds.OptionFiles, static () => new OptionsFileParser()) { FixedBytes = 256 << 10, BytesPerByte = 1024, Count = Fewest },
    ];

    public static FuzzTarget Find(string name) => All.FirstOrDefault(target => target.Name == name)
        ?? throw new ArgumentException($"no target \"{name}\"; there are {string.Join(", ", All.Select(static target => target.Name))}");

    private static void SealSideFile(Span<byte> file, bool isMetadata) => Seals.Framed(file, SideFileParser.KindOf(isMetadata).Name, number: 0, SideFileParser.HeaderBytes);
}
