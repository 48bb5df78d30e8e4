using System.Text;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.Format;
using TsdbRemote.Tests.Levels;
using TsdbRemote.Tests.SSTables;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Good files of each kind, as small as they can be and still have every part.</summary>
internal static class FileSeeds
{
    private const int MostChunkBytes = 300;

    public static IReadOnlyList<byte[]> Logs() => [Log(isSealed: true, 2), Log(isSealed: true, 5), Log(isSealed: false, 3), Log(isSealed: false, 0)];

    public static IReadOnlyList<byte[]> Dictionaries()
    {
        const string path = "d";
        var files = new MemoryFileSystem();
        using var series = new SeriesDictionary(7);
        foreach (byte[] run in (byte[][])[Labels.Encode(("__name__", "up"), ("job", "a")), Labels.Encode(("a", "b")), Labels.Encode(("__name__", "metric"), ("instance", new string('x', 60)))])
            series.GetOrAdd(run, Labels.Hash(run), out _);
        SeriesFileEnd end = SeriesFile.Append(files, path, Seals.DirectoryId, DictionaryParser.Number, 0, 0, series, [0]);
        byte[] one = [.. files[path]];
        SeriesFile.Append(files, path, Seals.DirectoryId, DictionaryParser.Number, end.Length, end.Crc, series, [1, 2]);
        return [one, [.. files[path]]];
    }

    public static IReadOnlyList<byte[]> Manifests() => [ManifestText.Write(ManifestSamples.State(2, 1)), ManifestText.Write(ManifestSamples.State(1, 0) with { Tombstones = [], Blocks = [], Dictionaries = [] })];

    public static IReadOnlyList<byte[]> SideFiles(bool isMetadata)
    {
        var files = new MemoryFileSystem();
        if (isMetadata)
        {
            var known = new MetricMetadata();
            for (int type = 0; type < 3; type++) known.Set(Encoding.UTF8.GetBytes($"metric_{type}"), type, "What it is."u8, type == 2 ? "seconds"u8 : default);
            MetadataFile.Write(files, "f", Seals.DirectoryId, known);
        }
        else
        {
            var ring = new ExemplarRing(1 << 20);
            byte[] series = Labels.Encode(("__name__", "up"));
            for (int i = 0; i < 3; i++) ring.Offer(series, new Exemplar(Labels.Encode(("trace_id", $"{i}")), Sample.Of(1000 + i, i)));
            ring.Offer(Labels.Encode(("a", "b")), new Exemplar([], Sample.Of(5, double.NaN)));
            ExemplarFile.Write(files, "f", Seals.DirectoryId, ring);
        }

        return [[.. files["f"]]];
    }

    public static IReadOnlyList<byte[]> Tables()
    {
        ModelChunk chunk = Chunk(0, 2);
        return
        [
            Table([new(0, 1, [chunk])]),
            Table([new(-TableModel.WindowMs, 2, [Chunk(-TableModel.WindowMs, 1)]), new(0, 1, [chunk, Chunk(60_000, 3)]), new(0, 300, [chunk with { Encoding = ChunkEncoding.Histogram }])]),
            Table([.. Enumerable.Range(1, 3).Select(id => new ModelSeries(0, (ulong)id, [chunk]))], bloomBits: 0),
            ManyBlocks(),
        ];
    }

    public static IReadOnlyList<byte[]> BlockIndexes()
    {
        IndexedSeries[] series =
        [
            new([("__name__", "a"), ("job", "x")], [new ChunkMeta(0, 5, 8), new ChunkMeta(6, 9, 40), new ChunkMeta(20, 21, 1UL << 32)]),
            new([("__name__", "a"), ("job", "y")], [new ChunkMeta(-7, 5, (1UL << 32) + 90)]),
            new([("__name__", "b")], [new ChunkMeta(1, 1, (1UL << 32) + 200)]),
        ];
        return [NaiveIndex.Of(series).Bytes, NaiveIndex.Of(series[..1]).Bytes, File.ReadAllBytes(Repository.TestData("golden/block-index-v2")), File.ReadAllBytes(Repository.TestData("golden/block-index-promtool"))];
    }

    public static IReadOnlyList<byte[]> BlockMetas() =>
    [
        .. Directory.GetFiles(Repository.TestData("blocks"), "meta.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(File.ReadAllBytes),
        new BlockMeta
        {
            Ulid = TestBlocks.Name(1),
            MinTimeMs = -5,
            EndTimeMs = 7_200_000,
            Version = 1,
            Compaction = new BlockMetaCompaction { Level = 1, Sources = [TestBlocks.Name(1)] },
            Mark = new BlockMark { Directory = Seals.DirectoryId, Generation = 7, Rank = 42 },
        }.ToJson(),
    ];

    public static IReadOnlyList<byte[]> TombstoneFiles()
    {
        var files = new MemoryFileSystem();
        TombstonesFormat.Write(files, "some", Tombstones.Of([new Tombstone(1, new TimeRange(-5, 5)), new Tombstone(1, new TimeRange(9, 10)), new Tombstone(70_000, new TimeRange(0, long.MaxValue))]));
        TombstonesFormat.Write(files, "none", Tombstones.None);
        return [[.. files["some"]], [.. files["none"]]];
    }

    public static IReadOnlyList<byte[]> ChunkSegments() =>
    [
        .. Directory.GetFiles(Repository.TestData("blocks"), "000001", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(File.ReadAllBytes).Where(static file => file.Length < 1000),
        [.. File.ReadAllBytes(Repository.TestData("promtool-chunks/000001")).Take(1000)],
    ];

    public static IReadOnlyList<byte[]> XorChunks() =>
    [
        ChunkSamples.Encode([Sample.Of(0, 1)]),
        ChunkSamples.Encode([Sample.Of(1_700_000_000_000, 1), Sample.Of(1_700_000_015_000, 2.5), Sample.Of(1_700_000_030_001, double.NaN), Sample.Of(1_700_000_900_000, -1e300)]),
        ChunkSamples.Encode([.. Enumerable.Range(0, 40).Select(static i => Sample.Of(i * 15_000L + i % 7, i % 5 == 0 ? i : i * 1.1))]),
        ChunkSamples.Encode([.. Enumerable.Range(0, 60).Select(static i => Sample.Of(i * 1000L, i / 20))]),
        ChunkSamples.Encode([new Sample(long.MinValue, ulong.MaxValue), new Sample(0, 0), new Sample(long.MaxValue, StaleMarker.Bits)]),
    ];

    public static IReadOnlyList<byte[]> HistogramChunks() =>
    [
        .. File.ReadLines(TestSupport.HistogramChunks.KeptPath()).Where(static line => !line.StartsWith('#')).Select(static line => line.Split(' '))
            .Select(static fields => (byte[])[byte.Parse(fields[3], System.Globalization.CultureInfo.InvariantCulture), .. Convert.FromHexString(fields[4])])
            .Where(static chunk => chunk.Length < MostChunkBytes).Take(60),
    ];

    public static IReadOnlyList<byte[]> WebConfigs() =>
    [
        .. ((string[])
        [
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: NoClientCert\n  client_allowed_sans: [a, 'b']\n  min_version: TLS12\n",
            "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n",
            "basic_auth_users:\n  a: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\nrights:\n  a: [read, write]\n",
            "bearer_tokens:\n  t: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nrights: { t: [admin] }\n",
            "{ http_server_config: &a { http2: ~ }, tls_server_config: {} }\n--- # \"x\"\n",
            "basic_auth_users: !!map {}\nhttp_server_config: { headers: { ? X-Content-Type-Options : |\n  nosniff\n} }\n",
        ]).Select(Encoding.UTF8.GetBytes),
    ];

    public static IReadOnlyList<byte[]> OptionFiles() =>
    [
        .. ((string[])
        [
            "storage:\n  data_dir: data\n  block_duration: 2h\n  max_future: 1h30m\n  lsm:\n    memtable_size: 64MB\n    memtable_flush_threshold: 0.8\n",
            "urls: http://localhost:9201\nstorage: { wal: { durability: interval, sync_interval: 1s, max_size: 1GB } }\n",
            "storage: &s\n  conflicts: reject\n  lsm: {enabled: true}\n# nothing\n",
            "logging: { a: &x { b: 1 }, c: *x }\n",
            "storage:\n  out_of_order_window: \"unlimited\"\n  allow_network_disk: ~\nlogging: {a: [1, 2]}\n",
        ]).Select(Encoding.UTF8.GetBytes),
    ];

    private static byte[] Log(bool isSealed, int records)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        for (int id = 0; id < records; id++)
        {
            log.Enqueue(id % 2 == 0 ? WalRecordKind.WriteV1 : WalRecordKind.WriteV2Zstd, LogFixture.Body(LogFixture.BodyBytes(id, 4 + 9 * id)), 1000 + id);
            if (id % 2 == 1) log.DrainAll();
        }

        log.DrainAll();
        if (isSealed) log.Close();
        byte[] file = disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment));
        int end = file.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
        return file[..Math.Min(file.Length, (end + 23) & ~3)];
    }

    private static ModelChunk Chunk(long fromMs, int samples)
    {
        Sample[] made = [.. Enumerable.Range(0, samples).Select(i => Sample.Of(fromMs + 15_000 * i, i))];
        return new ModelChunk(made[0].TimeMs, made[^1].TimeMs, ChunkEncoding.Xor, Convert.ToHexString(ChunkSamples.Encode(made)));
    }

    private static byte[] Table(ModelSeries[] series, int bloomBits = 10)
    {
        var files = new MemoryFileSystem();
        TableModel.Write(files, series, new SSTableWriterOptions { TableId = TableParser.TableId, BloomBitsPerKey = bloomBits });
        return [.. files[TableModel.Path]];
    }

    /// <summary>A table whose windows make three index blocks: the writer's own blocks are closed at 4 KiB only.</summary>
    private static byte[] ManyBlocks() => Table([.. Enumerable.Range(-1, 3).Select(static window => new ModelSeries(window * TableModel.WindowMs, 5, [Chunk(window * TableModel.WindowMs, 1)]))]);
}
