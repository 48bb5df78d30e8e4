using System.Text.Json.Nodes;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Verification;

/// <summary>A small block as a description in which every detail can be changed before its bytes, checksums included, are made.</summary>
/// <remarks>Written from the format page, apart from the library's own writers.</remarks>
internal sealed class BlockForge
{
    public const long StartMs = 1_700_006_400_000;
    public const long EndMs = StartMs + 7_200_000;
    public const string Id = "01HF7YAT00ABCDEFGHJKMNPQRS";
    public const string OtherId = "01HF7YAT00ABCDEFGHJKMNPQRT";

    public string Name { get; set; } = Id;

    public string Directory => $"blocks/{Name}";

    public List<ForgedSeries> Series { get; } = [];

    /// <summary>Series by number, or an id that is taken as it is.</summary>
    public List<(int Series, uint? Id, long MinMs, long MaxMs)> Tombstones { get; } = [];

    public ForgedIndex Index { get; } = new();

    /// <summary>Changes meta.json once it says what the block holds.</summary>
    public Action<JsonObject> Meta { get; set; } = static _ => { };

    /// <summary>Changes a chunk segment by its name once its records stand.</summary>
    public Action<string, List<byte>> Segment { get; set; } = static (_, _) => { };

    /// <summary>Changes the whole block once its files stand.</summary>
    public Action<MemoryFileSystem, string> Files { get; set; } = static (_, _) => { };

    public BlockVerifyOptions Options { get; set; } = BlockVerifyOptions.Default;

    /// <summary>XOR chunks in two segments, a histogram of each kind, stale ends; local, every option given that can be.</summary>
    public static BlockForge Local()
    {
        BlockForge forge = new();
        forge.Series.Add(new ForgedSeries(("__name__", "bytes"), ("job", "api"), ("zone", "ü"))
        {
            Chunks = { ForgedChunk.Xor(StartMs, 20), ForgedChunk.Xor(StartMs + 600_000, 30) },
        });
        forge.Series.Add(new ForgedSeries(("__name__", "latency"), ("job", "api")) { Chunks = { ForgedChunk.Of(Integer()) } });
        forge.Series.Add(new ForgedSeries(("__name__", "latency"), ("job", "custom")) { Chunks = { ForgedChunk.Of(Custom()) } });
        forge.Series.Add(new ForgedSeries(("__name__", "load"), ("job", "api")) { Chunks = { ForgedChunk.Of(Float()) } });
        forge.Series.Add(new ForgedSeries(("__name__", "up"), ("instance", "a"), ("job", "api"))
        {
            Chunks = { ForgedChunk.Xor(StartMs + 5, 7) with { OpensSegment = true }, ForgedChunk.Xor(EndMs - 1, 1) },
        });
        forge.Options = BlockVerifyOptions.Default with
        {
            NowMs = EndMs + 60_000,
            CreatedSinceMs = 1_699_999_999_000,
            LevelRangesMs = [7_200_000, 21_600_000],
            LiveBlocks = [new LiveBlock(OtherId, EndMs, EndMs + 7_200_000, [OtherId]), new LiveBlock(Id, StartMs, EndMs, [Id])],
            VerticalCompaction = false,
            MustStay = new HashSet<string> { OtherId },
            ExternalProof = static (_, _) => [],
        };
        return forge;
    }

    /// <summary>The same, meant for a bucket of Thanos.</summary>
    public static BlockForge Thanos()
    {
        BlockForge forge = Local();
        forge.Options = forge.Options with { Shipping = ShippingTarget.Thanos };
        forge.Files = static (files, directory) =>
        {
            JsonObject meta = JsonNode.Parse(files[$"{directory}/meta.json"])!.AsObject();
            var list = new JsonArray();
            foreach (string name in (string[])["chunks/000001", "chunks/000002", "index"])
                list.Add(new JsonObject { ["rel_path"] = name, ["size_bytes"] = files[$"{directory}/{name}"].Length });
            list.Add(new JsonObject { ["rel_path"] = "meta.json" });
            meta["thanos"] = new JsonObject
            {
                ["version"] = 1,
                ["labels"] = new JsonObject { ["cluster"] = "eu1", ["replica"] = "a" },
                ["downsample"] = new JsonObject { ["resolution"] = 0 },
                ["source"] = "receive",
                ["segment_files"] = new JsonArray("000001", "000002"),
                ["files"] = list,
            };
            files[$"{directory}/meta.json"] = System.Text.Encoding.UTF8.GetBytes(meta.ToJsonString());
        };
        return forge;
    }

    /// <summary>The same, meant for Mimir.</summary>
    public static BlockForge Mimir()
    {
        BlockForge forge = Local();
        forge.Options = forge.Options with { Shipping = ShippingTarget.Mimir };
        forge.Meta = static meta => meta["thanos"] = new JsonObject { ["labels"] = new JsonObject { ["__compactor_shard_id__"] = "1_of_4" } };
        return forge;
    }

    public static HistogramForge Integer() => new()
    {
        Samples =
        {
            new(StartMs, 6, 1, 18.5, 1, 2, 2), new(StartMs + 15_000, 9, 2, 30.25, 2, 3, 2), new(StartMs + 30_001, 14, 2, 50, 3, 5, 4),
            new(StartMs + 45_000, 0, 0, 0) { IsStale = true }, new(StartMs + 60_000, 0, 0, 0) { IsStale = true },
        },
    };

    public static HistogramForge Float() => new()
    {
        IsFloat = true,
        Flags = 0b1100_0000,
        Negative = { (1, -3) },
        Samples = { new(StartMs, 9, 1, 3, 1, 2, 4, 1), new(StartMs + 15_000, 7, 0, 2, 1, 1, 4, 1), new(StartMs + 30_000, 8, 0, -2, 1, 1, 4, 2) },
    };

    public static HistogramForge Custom()
    {
        HistogramForge forge = new()
        {
            Schema = -53,
            ThresholdCode = 0,
            Bounds = { 0.005, 0.1, 1e-9 + 1 },
            Samples = { new(StartMs, 6, 0, 7.25, 1, 2, 3), new(StartMs + 1000, 8, 0, 9.25, 1, 3, 4) },
        };
        forge.Positive.Clear();
        forge.Positive.Add((3, 0));
        return forge;
    }

    /// <summary>Changes meta.json behind everything else.</summary>
    public void EditMeta(Action<JsonObject> edit) => Files += (files, directory) =>
    {
        JsonObject meta = JsonNode.Parse(files[$"{directory}/meta.json"])!.AsObject();
        edit(meta);
        files[$"{directory}/meta.json"] = System.Text.Encoding.UTF8.GetBytes(meta.ToJsonString());
    };

    /// <summary>Changes the bytes of a file behind everything else.</summary>
    public void EditFile(string name, Func<byte[], byte[]> edit) =>
        Files += (files, directory) => files[$"{directory}/{name}"] = edit(files[$"{directory}/{name}"]);

    public MemoryFileSystem Build()
    {
        var files = new MemoryFileSystem(canMap: false);
        BuildSegments(files);
        files[$"{Directory}/index"] = Index.Build(Series);
        files[$"{Directory}/tombstones"] = BuildTombstones();
        files[$"{Directory}/meta.json"] = System.Text.Encoding.UTF8.GetBytes(BuildMeta().ToJsonString());
        Files(files, Directory);
        return files;
    }

    public BlockReport Verify() => BlockVerifier.Verify(Build(), Directory, Options, CancellationToken.None);

    private void BuildSegments(MemoryFileSystem files)
    {
        var segments = new List<List<byte>>();
        foreach (ForgedChunk chunk in Series.SelectMany(static series => series.Chunks))
        {
            if (segments.Count == 0 || chunk.OpensSegment) segments.Add([0x85, 0xBD, 0x40, 0xDD, 1, 0, 0, 0]);
            chunk.Reference ??= ((ulong)(segments.Count - 1) << 32) | (uint)segments[^1].Count;
            byte[] covered = [chunk.Encoding, .. chunk.Data];
            segments[^1].AddRange([.. ForgedIndex.Uvarint((ulong)chunk.Data.Length), .. covered, .. ForgedIndex.Be32(Crc32C.Of(covered) ^ chunk.CrcFault)]);
        }

        for (int i = 0; i < segments.Count; i++)
        {
            string name = $"{i + 1:D6}";
            Segment(name, segments[i]);
            files[$"{Directory}/chunks/{name}"] = [.. segments[i]];
        }
    }

    private byte[] BuildTombstones()
    {
        var entries = new List<byte>();
        foreach ((int series, uint? id, long minMs, long maxMs) in Tombstones)
            entries.AddRange([.. ForgedIndex.Uvarint(id ?? Series[series].Id), .. ForgedIndex.Varint(minMs), .. ForgedIndex.Varint(maxMs)]);
        return [0x01, 0x30, 0xBA, 0x30, 1, .. entries, .. ForgedIndex.Be32(Crc32C.Of(entries.ToArray()))];
    }

    private JsonObject BuildMeta()
    {
        List<ForgedChunk> chunks = [.. Series.SelectMany(static series => series.Chunks)];
        long floats = chunks.Where(static chunk => chunk.Encoding == 1).Sum(static chunk => chunk.Count);
        long samples = chunks.Sum(static chunk => chunk.Count);
        var meta = new JsonObject
        {
            ["ulid"] = Id,
            ["minTime"] = StartMs,
            ["maxTime"] = EndMs,
            ["stats"] = new JsonObject
            {
                ["numSamples"] = samples,
                ["numFloatSamples"] = floats,
                ["numHistogramSamples"] = samples - floats,
                ["numSeries"] = Series.Count,
                ["numChunks"] = chunks.Count,
                ["numTombstones"] = Tombstones.Count,
            },
            ["compaction"] = new JsonObject { ["level"] = 1, ["sources"] = new JsonArray(Id) },
            ["version"] = 1,
        };
        Meta(meta);
        return meta;
    }
}

/// <summary>One series of a forged block.</summary>
internal sealed class ForgedSeries(params (string Name, string Value)[] labels)
{
    public List<(string Name, string Value)> Labels { get; } = [.. labels];

    public List<ForgedChunk> Chunks { get; init; } = [];

    /// <summary>Its id, once the index is built.</summary>
    public uint Id { get; set; }
}

/// <summary>One chunk of a forged block, as its segment and as the index have it.</summary>
internal sealed record ForgedChunk(byte Encoding, byte[] Data, long MinMs, long MaxMs)
{
    public bool OpensSegment { get; init; }

    /// <summary>What the index says; null: where the record stands.</summary>
    public ulong? Reference { get; set; }

    public uint CrcFault { get; init; }

    public int Count => Data.Length < 2 ? 0 : (Data[0] << 8) | Data[1];

    /// <summary>Samples every 15 s, with values that go through every value code.</summary>
    public static ForgedChunk Xor(long startMs, int count) => Xor(SamplesFrom(startMs, count));

    public static ForgedChunk Xor(params Sample[] samples) => new(1, NaiveXor.Encode(samples), samples[0].TimeMs, samples[^1].TimeMs);

    public static Sample[] SamplesFrom(long startMs, int count) =>
        [.. Enumerable.Range(0, count).Select(i => Sample.Of(startMs + 15_000L * i + (i % 3), i % 5 == 0 ? i / 5 : i * 0.1))];

    public static ForgedChunk Of(HistogramForge histogram) =>
        new(histogram.IsFloat ? (byte)3 : (byte)2, histogram.Build(), histogram.Samples[0].TimeMs, histogram.Samples[^1].TimeMs);
}
