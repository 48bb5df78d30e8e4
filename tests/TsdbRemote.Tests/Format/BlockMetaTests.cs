using System.Text;
using System.Text.Json;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Format;

public class BlockMetaTests
{
    private const string Path = "blocks/meta.json";

    /// <summary>As promtool 3.5.3 writes it, byte for byte.</summary>
    private const string OfPromtool =
        "{\n\t\"ulid\": \"01M87K85AJTSJCZBCX46AVGB98\",\n\t\"minTime\": 1700000000000,\n\t\"maxTime\": 1700000065501,\n"
        + "\t\"stats\": {\n\t\t\"numSamples\": 9,\n\t\t\"numSeries\": 3,\n\t\t\"numChunks\": 3\n\t},\n"
        + "\t\"compaction\": {\n\t\t\"level\": 1,\n\t\t\"sources\": [\n\t\t\t\"01M87K85AJTSJCZBCX46AVGB98\"\n\t\t]\n\t},\n\t\"version\": 1\n}";

    private static readonly Ulid Own = Ulid.Parse("01M87K85AJTSJCZBCX46AVGB98");

    private static readonly BlockMeta Full = new()
    {
        Ulid = Own,
        MinTimeMs = -5,
        EndTimeMs = 0,
        Stats = new BlockMetaStats { Samples = 7, FloatSamples = 4, HistogramSamples = 3, Series = 2, Chunks = 6, Tombstones = 1 },
        Compaction = new BlockMetaCompaction
        {
            Level = 3,
            Sources = [Ulid.Parse("01ARYZ6S41TSV4RRFFQ69G5FAV"), Own],
            Parents = [new BlockMetaParent { Ulid = Ulid.Parse("01ARYZ6S41TSV4RRFFQ69G5FAV"), MinTimeMs = -9, EndTimeMs = 0 }],
            Deletable = true,
            Failed = true,
            Hints = ["from-out-of-order"],
        },
        Version = 1,
        Mark = new BlockMark { Directory = Guid.Parse("6f9619ff-8b86-d011-b42d-00c04fc964ff"), Generation = 0, Rank = 12 },
    };

    [Fact]
    public void What_promtool_writes_is_read_and_written_alike()
    {
        BlockMeta meta = Parse(OfPromtool);
        Assert.Equal((Own, 1700000000000, 1700000065501, 1), (meta.Ulid, meta.MinTimeMs, meta.EndTimeMs, meta.Version));
        Assert.Equal(new BlockMetaStats { Samples = 9, Series = 3, Chunks = 3 }, meta.Stats);
        Assert.Equal((1, Own), (meta.Compaction.Level, Assert.Single(meta.Compaction.Sources)));
        Assert.Empty(meta.Compaction.Parents);
        Assert.Empty(meta.Compaction.Hints);
        Assert.Null(meta.Thanos);
        Assert.Null(meta.Mark);
        Assert.Equal(OfPromtool, Encoding.UTF8.GetString(meta.ToJson()));
    }

    [Fact]
    public void Every_field_comes_back()
    {
        CrashFileSystem files = new("blocks");
        Full.WriteTo(files, Path);
        BlockMeta read = BlockMeta.Read(files, Path);
        Assert.Equal(Full.ToJson(), read.ToJson());
        Assert.Equal(Full.Stats, read.Stats);
        Assert.Equal(Full.Mark, read.Mark);
        Assert.Equal(Full.Compaction.Sources, read.Compaction.Sources);
        Assert.Equal(Full.Compaction.Parents, read.Compaction.Parents);
        Assert.Equal(Full.Compaction.Hints, read.Compaction.Hints);
        Assert.Equal((3, true, true), (read.Compaction.Level, read.Compaction.Deletable, read.Compaction.Failed));
    }

    [Fact]
    public void Keys_stand_in_the_spelling_of_Prometheus_and_zeros_of_required_ones_too()
    {
        string text = Encoding.UTF8.GetString(Full.ToJson());
        string[] keys =
        [
            "ulid", "minTime", "maxTime", "stats", "numSamples", "numFloatSamples", "numHistogramSamples", "numSeries", "numChunks", "numTombstones",
            "compaction", "level", "sources", "parents", "ulid", "minTime", "maxTime", "deletable", "failed", "hints",
            "version", "tsdb_remote", "directory", "generation", "rank",
        ];
        Assert.Equal(keys, text.Split('\n').Where(line => line.Contains("\": ", StringComparison.Ordinal)).Select(line => line.Split('"')[1]));
        Assert.Contains("\"maxTime\": 0,", text, StringComparison.Ordinal);
        Assert.Contains("\"generation\": 0,", text, StringComparison.Ordinal);
        Assert.DoesNotContain("\"deletable\"", OfPromtool, StringComparison.Ordinal);
    }

    [Fact]
    public void Thanos_section_survives_a_rewrite_and_unknown_keys_are_passed_over()
    {
        const string Thanos = """{ "version": 1, "labels": { "cluster": "eu-é<1>" }, "downsample": {}, "big": 12345678901234567890.5e3 }""";
        BlockMeta meta = Parse(Replaced("\"version\": 1\n", $"\"future\": [{{}}], \"version\": 1, \"thanos\": {Thanos}\n"));
        byte[] again = (meta with { Mark = Full.Mark }).ToJson();
        BlockMeta reread = BlockMeta.Parse(again, Path);
        Assert.True(JsonElement.DeepEquals(JsonDocument.Parse(Thanos).RootElement, reread.Thanos!.Value));
        Assert.Equal(Full.Mark, reread.Mark);
        Assert.Contains("eu-é<1>", Encoding.UTF8.GetString(again), StringComparison.Ordinal);
        Assert.Contains("12345678901234567890.5e3", Encoding.UTF8.GetString(again), StringComparison.Ordinal);
        Assert.DoesNotContain("future", Encoding.UTF8.GetString(again), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"version\": 1", "\"version\": 0", "version: is 0")]
    [InlineData("\"version\": 1", "\"version\": 1e0", "version")]
    [InlineData("\"version\": 1", "\"version\": \"1\"", "version")]
    [InlineData(",\n\t\"version\": 1", "", "'version'")]
    [InlineData("\"version\": 1", "\"version\": 1, \"version\": 1", "'version'")]
    [InlineData("1700000000000", "1.7e12", "minTime")]
    [InlineData("1700000000000", "1700000000000.0", "minTime")]
    [InlineData("1700000000000", "9223372036854775808", "minTime")]
    [InlineData("1700000000000", "null", "minTime")]
    [InlineData("1700000000000", "true", "minTime")]
    [InlineData("\t\"minTime\": 1700000000000,\n", "", "'minTime'")]
    [InlineData("1700000065501", "1700000000000", "maxTime")]
    [InlineData("1700000065501", "-9223372036854775808", "maxTime")]
    [InlineData("\t\"maxTime\": 1700000065501,\n", "", "'maxTime'")]
    [InlineData("\t\"ulid\": \"01M87K85AJTSJCZBCX46AVGB98\",\n", "", "'ulid'")]
    [InlineData("\"ulid\": \"01M87K85AJTSJCZBCX46AVGB98\"", "\"ulid\": \"01m87k85ajtsjczbcx46avgb98\"", "ulid: a ULID")]
    [InlineData("\"ulid\": \"01M87K85AJTSJCZBCX46AVGB98\"", "\"ulid\": 1", "ulid: a ULID")]
    [InlineData("\"ulid\": \"01M87K85AJTSJCZBCX46AVGB98\"", "\"ulid\": null", "ulid")]
    [InlineData("\"ulid\": \"01M87K85AJTSJCZBCX46AVGB98\"", "\"ulid\": \"\\ud800\"", "ulid")]
    [InlineData("\"numSamples\": 9", "\"numSamples\": -9", "stats.numSamples")]
    [InlineData("\"numSamples\": 9", "\"numSamples\": 18446744073709551615", "stats.numSamples")]
    [InlineData("\"numChunks\": 3", "\"numChunks\": 3, \"numTombstones\": -1", "stats.numTombstones")]
    [InlineData("\"numChunks\": 3", "\"numChunks\": []", "stats.numChunks")]
    [InlineData("\"stats\": {", "\"stats\": null, \"x\": {", "stats")]
    [InlineData("\"level\": 1", "\"level\": 0", "compaction.level")]
    [InlineData("\"level\": 1", "\"level\": 2147483648", "compaction.level")]
    [InlineData("\t\t\"level\": 1,\n", "", "'level'")]
    [InlineData("\"level\": 1", "\"level\": 1, \"parents\": [null]", "compaction.parents[0]")]
    [InlineData("\"level\": 1", "\"level\": 1, \"parents\": [{\"minTime\":1,\"maxTime\":2}]", "compaction.parents[0]: ")]
    [InlineData("\"level\": 1", "\"level\": 1, \"hints\": [\"a\", null]", "compaction.hints[1]")]
    [InlineData("\"level\": 1", "\"level\": 1, \"hints\": \"a\"", "compaction.hints")]
    [InlineData("\"level\": 1", "\"level\": 1, \"failed\": 1", "compaction.failed")]
    [InlineData("\t\t\t\"01M87K85AJTSJCZBCX46AVGB98\"", "\t\t\t\"x\"", "compaction.sources[0]")]
    [InlineData("\"version\": 1", "\"version\": 1, \"tsdb_remote\": {\"directory\": \"x\", \"generation\": 1, \"rank\": 1}", "tsdb_remote.directory")]
    [InlineData("\"version\": 1", "\"version\": 1, \"tsdb_remote\": {\"generation\": 1, \"rank\": 1}", "'directory'")]
    [InlineData("\"version\": 1", "\"version\": 1, \"thanos\": {\"a\": 1, \"a\": 2}", "thanos")]
    [InlineData("\"version\": 1", "\"version\": 1, \"thanos\": {\"a\": \"\\ud800\"}", "thanos")]
    [InlineData("\"version\": 1\n}", "\"version\": 1\n} {}", "invalid after a single JSON value")]
    [InlineData("\"version\": 1\n}", "\"version\": 1, // one\n}", "invalid")]
    [InlineData("\"version\": 1\n}", "\"version\": 1,\n}", "trailing")]
    [InlineData("{\n\t\"ulid\"", "\uFEFF{\n\t\"ulid\"", "invalid start")]
    public void What_is_wrong_is_named(string part, string replacement, string named)
    {
        Assert.Contains(part, OfPromtool, StringComparison.Ordinal);
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => Parse(Replaced(part, replacement)));
        Assert.Equal(Path, damage.Path);
        Assert.Contains(named, damage.What, StringComparison.Ordinal);
    }

    [Fact]
    public void The_offset_of_damage_is_where_it_is()
    {
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => Parse(Replaced("65501", "6550x")));
        Assert.Equal(OfPromtool.IndexOf("65501", StringComparison.Ordinal) + 4, damage.Offset);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("7")]
    public void What_is_no_object_is_damage(string text) => Assert.Throws<CorruptFileException>(() => Parse(text));

    [Fact]
    public void Depth_size_and_encoding_are_bounded()
    {
        string deep = string.Concat(Enumerable.Repeat("[", 10_000));
        Assert.Throws<CorruptFileException>(() => Parse(Replaced("\"version\"", $"\"x\": {deep}")));
        byte[] latin = Encoding.Latin1.GetBytes(Replaced("\"version\"", "\"é\": 1, \"version\""));
        Assert.Contains("UTF-8", Assert.Throws<CorruptFileException>(() => BlockMeta.Parse(latin, Path)).What, StringComparison.Ordinal);
        CrashFileSystem files = new("blocks");
        files.WriteNew(Path, new byte[BlockMeta.MaxBytes + 1]);
        Assert.Contains("at most", Assert.Throws<CorruptFileException>(() => BlockMeta.Read(files, Path)).What, StringComparison.Ordinal);
    }

    [Fact]
    public void No_flipped_bit_or_cut_gives_anything_but_a_meta_or_damage()
    {
        byte[] good = Full.ToJson();
        for (int i = 0; i < good.Length; i++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                byte[] flipped = (byte[])good.Clone();
                flipped[i] ^= (byte)(1 << bit);
                ParseOrReport(flipped);
            }

            byte[] cut = good[..i];
            Assert.Throws<CorruptFileException>(() => BlockMeta.Parse(cut, Path));
        }

        static void ParseOrReport(byte[] json)
        {
            try
            {
                Assert.Equal(BlockMeta.CurrentVersion, BlockMeta.Parse(json, Path).Version);
            }
            catch (CorruptFileException damage)
            {
                Assert.InRange(damage.Offset, 0, json.Length);
            }
        }
    }

    [Fact]
    public void A_missing_file_is_damage()
    {
        CrashFileSystem files = new("blocks");
        Assert.Equal("it is missing", Assert.Throws<CorruptFileException>(() => BlockMeta.Read(files, Path)).What);
    }

    [Fact]
    public void It_is_synced_before_it_gets_its_name_and_a_rest_is_no_obstacle()
    {
        CrashFileSystem files = new("blocks");
        files.WriteNew(Path + ".tmp", "rest"u8);
        Full.WriteTo(files, Path);
        List<string> operations = [];
        files.BeforeOperation = (_, operation) => operations.Add(operation.Kind.ToString());
        (Full with { Mark = null }).WriteTo(files, Path);
        Assert.Equal(["CreateNew", "Write", "SyncAll", "Rename"], operations.Where(kind => kind != "Close"));
        Assert.Null(BlockMeta.Read(files, Path).Mark);
    }

    [Fact]
    public void What_could_not_be_read_again_is_not_written()
    {
        CrashFileSystem files = new("blocks");
        Assert.Throws<ArgumentException>(() => (Full with { EndTimeMs = Full.MinTimeMs }).WriteTo(files, Path));
        Assert.Throws<ArgumentException>(() => (Full with { Version = 3 }).WriteTo(files, Path));
        Ulid[] many = [.. Enumerable.Range(0, 40_000).Select(i => Ulid.Create(i))];
        Assert.Throws<ArgumentException>(() => (Full with { Compaction = Full.Compaction with { Sources = many } }).WriteTo(files, Path));
        Assert.Empty(files.List("blocks"));
    }

    private static string Replaced(string part, string replacement) => OfPromtool.Replace(part, replacement, StringComparison.Ordinal);

    private static BlockMeta Parse(string json) => BlockMeta.Parse(Encoding.UTF8.GetBytes(json), Path);
}
