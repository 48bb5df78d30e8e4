using System.Text;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;
using static TsdbRemote.Tests.Format.IndexModel;

namespace TsdbRemote.Tests.Format;

public class IndexReaderTests
{
    private const string PromtoolBlock = "promtool-block/01M883H24CATNR1N7M8KBZMK9E";

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_worked_example_of_promtool_is_read(bool mmap)
    {
        byte[] index = File.ReadAllBytes(Repository.TestData("golden/block-index-promtool"));
        using IndexReader reader = IndexReader.Open(With(index), IndexModel.Path, mmap);
        const long T = 1_700_000_000_000;
        IndexedSeries[] series =
        [
            new([("__name__", "req_total"), ("code", "200")], [new ChunkMeta(T, T + 30_000, 8)]),
            new([("__name__", "up"), ("instance", "x"), ("job", "a")], [new ChunkMeta(T, T + 65_500, 37)]),
            new([("__name__", "up"), ("instance", "y"), ("job", "b")], [new ChunkMeta(T, T, 82)]),
        ];
        Assert.Equal([5U, 7U, 9U], reader.AllSeries(CancellationToken.None));
        Assert.Equal(series.Select(one => one.Text), Read(reader, [5, 7, 9]));
        Assert.Equal([7U, 9U], reader.SelectSeries([Equal("__name__", "up")], null, CancellationToken.None));
        Assert.Equal([9U], reader.SelectSeries([Regex("job", "[b-c]")], null, CancellationToken.None));
        Assert.Equal((3, 12, 615), (reader.SeriesCount, reader.SymbolCount, reader.Size));
        Assert.Equal(
            ["__name__ 2", "code 1", "instance 2", "job 2"],
            reader.LabelNames.Select(name => $"{Encoding.UTF8.GetString(name.Utf8.Span)} {name.ValueCount}"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_block_of_promtool_holds_what_promtool_was_given(bool mmap)
    {
        List<(byte[] Run, long[] Times)> given = ReadOpenMetrics(Repository.TestData("promtool-block/input.om"));
        using IndexReader reader = IndexReader.Open(new LocalFileSystem(), Repository.TestData(PromtoolBlock + "/index"), mmap);
        Assert.Equal((164, given.Count), (reader.SeriesCount, (int)reader.SeriesCount));
        using BlockSeries into = new();
        int chunks = 0;
        foreach ((uint id, (byte[] run, long[] times)) in reader.AllSeries(CancellationToken.None).Zip(given))
        {
            reader.ReadSeries(id, into);
            Assert.Equal(Labels.Print(run), Labels.Print(into.Labels));
            Assert.Equal((times[0], times[^1]), (into.Chunks[0].MinTimeMs, into.Chunks[^1].MaxTimeMs));
            Assert.All(into.Chunks.ToArray(), chunk => Assert.Contains(chunk.MinTimeMs, times));
            chunks += into.Chunks.Length;
        }

        Assert.Equal(167, chunks);

        // 20 instances, of each http_requests_total with that code, and up, which has none.
        Assert.Equal(40, Select(reader, null, Regex("instance", "host-0[0-9].*|host-2.*"), Regex("code", "404|")).Length);
        Assert.Single(Select(reader, null, Equal("place", "\uFFEE")));
        Assert.Single(Select(reader, null, Regex("place", "[\U0001F600-\U0001F601]")));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Each_kind_of_matcher_finds_its_series_among_many_values(bool mmap)
    {
        IndexedSeries[] series = Numbered(3000);
        MemoryFileSystem fs = new();
        Write(fs, series);
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap);
        using PostingsCache cache = new(new PostingsCacheBudget(1 << 20));
        Matcher[][] selectors =
        [
            [],
            [Equal("instance", "host-0000000")], [Equal("instance", "host-0002999")], [Equal("instance", "host-0001500")], [Equal("instance", "host-0003000")],
            [Equal("instance", "")], [Equal("instance", "a")], [Equal("instance", "z")], [Equal("nope", "x")], [Equal("nope", "")],
            [NotEqual("instance", "host-0000007")], [NotEqual("instance", "")], [NotEqual("job", "node")], [NotEqual("nope", "")], [NotEqual("nope", "x")],
            [Regex("instance", "host-0000007|host-0002000|zzz")], [Regex("instance", "host-0002.*")], [Regex("instance", ".*77")], [Regex("instance", "h.*1|z.*")],
            [Regex("instance", ".+")], [Regex("instance", ".*")], [Regex("nope", ".*")], [Regex("nope", ".+")], [Regex("instance", "a.*")], [Regex("instance", "z.*")],
            [NotRegex("instance", ".*9")], [NotRegex("instance", ".*")], [NotRegex("instance", "")], [NotRegex("instance", ".+")], [NotRegex("nope", "")],
            [Equal("job", "api"), Regex("instance", ".*3")], [Equal("job", "api"), NotRegex("instance", ".*(1|2)3")], [NotEqual("job", "api"), NotRegex("instance", ".*[0-8]")],
            [Equal("instance", "host-0000013"), Equal("job", "api")], [Equal("instance", "host-0000013"), NotEqual("job", "api")],
            [Equal("instance", "host-0000013"), Regex("instance", ".*3")], [Equal("instance", "host-0000013"), NotRegex("instance", ".*3")],
            [Equal("__name__", "up"), Equal("__name__", "down")], [Equal("__name__", "up"), NotEqual("job", "node"), Regex("instance", "host-00000.*")],
        ];
        uint[] all = reader.AllSeries(CancellationToken.None);
        foreach (Matcher[] matchers in selectors)
        {
            uint[] expected = ExpectedIds(series, all, matchers);
            Assert.Equal(expected, reader.SelectSeries(matchers, null, CancellationToken.None));
            Assert.Equal(expected, reader.SelectSeries(matchers, cache, CancellationToken.None));
            Assert.Equal(expected, reader.SelectSeries(matchers, cache, CancellationToken.None));
        }
    }

    [Fact]
    public void A_prefix_and_a_set_touch_few_values_and_a_regex_those_of_its_name_once()
    {
        MemoryFileSystem fs = new(canMap: false);
        Write(fs, Numbered(20_000));
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: true);
        Assert.False(reader.IsMapped);
        Assert.InRange(Reads(Equal("instance", "host-0007777")), 2, 24);
        Assert.InRange(Reads(Regex("instance", "host-0000007|host-0015000")), 4, 48);
        Assert.InRange(Reads(Regex("instance", "host-00077.*")), 5, 130);

        // About 28 bytes a value, read 4096 at a time, and one list.
        Assert.InRange(Reads(Regex("instance", ".*-0007777")), 130, 180);
        Assert.InRange(Reads(Equal("instance", "host-0007777"), Equal("job", "node")), 3, 60);

        int Reads(params Matcher[] matchers)
        {
            fs.Trace.Clear();
            Assert.NotEmpty(reader.SelectSeries(matchers, null, CancellationToken.None));
            return fs.Trace.Count;
        }
    }

    [Fact]
    public void An_index_beyond_2_GiB_is_read()
    {
        const long Hole = 60L << 30;
        IndexedSeries[] series = Numbered(300);
        NaiveIndex index = NaiveIndex.Of(series, Hole);
        MemoryFileSystem fs = With(index.Bytes, canMap: false);
        fs.PutHole(IndexModel.Path, index.SymbolsEnd + Hole, Hole);
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: false);
        uint[] ids = reader.AllSeries(CancellationToken.None);
        Assert.True(reader.Size > Hole && ids[0] > int.MaxValue);
        Assert.Equal(series.Select(one => one.Text), Read(reader, ids));
        foreach (Matcher[] matchers in (Matcher[][])[[Equal("instance", "host-0000123")], [Regex("instance", ".*7")], [NotEqual("job", "api")]])
            Assert.Equal(Expected(series, matchers), Select(reader, null, matchers));
    }

    [Fact]
    public void A_million_series_take_less_than_a_megabyte()
    {
        const int Series = 50_000;
        MemoryFileSystem fs = new();
        Write(fs, Numbered(Series));
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: true);
        double perMillion = reader.MemoryBytes * (1_000_000.0 / Series);

        // Each has a value of its own: 4 bytes every 8 symbols and every 32 pairs; the few names hardly count.
        Assert.InRange(perMillion, 620_000, 640_000);
    }

    [Fact]
    public void One_buffer_serves_several_indexes()
    {
        MemoryFileSystem one = new();
        MemoryFileSystem other = new();
        IndexedSeries[] ones = Numbered(40);
        IndexedSeries[] others = [.. Numbered(60).Skip(20).Select(series => series with { Labels = [.. series.Labels, ("a", "b")] })];
        Write(one, ones);
        Write(other, others);
        using IndexReader first = IndexReader.Open(one, IndexModel.Path, mmap: true);
        using IndexReader second = IndexReader.Open(other, IndexModel.Path, mmap: false);
        using BlockSeries into = new();
        uint[] ids = first.AllSeries(CancellationToken.None);
        uint[] otherIds = second.AllSeries(CancellationToken.None);
        for (int i = 0; i < 40; i++)
        {
            Assert.Equal(ones[i].Text, IndexModel.Read(first, ids[i], into));
            Assert.Equal(others[i].Text, IndexModel.Read(second, otherIds[i], into));
        }
    }

    [Fact]
    public void What_is_no_series_is_reported_and_leaves_the_buffer_empty()
    {
        MemoryFileSystem fs = new();
        IndexedSeries[] series = Numbered(10);
        Write(fs, series);
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: true);
        using BlockSeries into = new();
        uint[] ids = reader.AllSeries(CancellationToken.None);
        reader.ReadSeries(ids[3], into);
        foreach (uint id in (uint[])[0, 1, ids[3] + 1, ids[^1] + 10, 1 << 20, uint.MaxValue])
        {
            CorruptFileException none = Assert.Throws<CorruptFileException>(() => reader.ReadSeries(id, into));
            Assert.Equal(16L * id, none.Offset);
            Assert.True(into.Labels.IsEmpty && into.Chunks.IsEmpty);
        }

        Assert.Equal(series[4].Text, IndexModel.Read(reader, ids[4], into));
    }

    [Fact]
    public void A_cancelled_selection_ends()
    {
        MemoryFileSystem fs = new();
        Write(fs, Numbered(100));
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: true);
        CancellationToken cancelled = new(canceled: true);
        foreach (Matcher matcher in (Matcher[])[Equal("job", "node"), Regex("instance", ".*7"), NotEqual("job", "node")])
            Assert.Throws<OperationCanceledException>(() => reader.SelectSeries([matcher], null, cancelled));
        Assert.Throws<OperationCanceledException>(() => reader.AllSeries(cancelled));
    }

    [Fact]
    public void Many_threads_read_at_once()
    {
        IndexedSeries[] series = Numbered(2000);
        MemoryFileSystem fs = new();
        Write(fs, series);
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: true);
        using PostingsCache cache = new(new PostingsCacheBudget(20_000));
        Parallel.For(0, 100, i =>
        {
            Matcher[] matchers = [Regex("instance", $".*{i % 20:D2}")];
            Assert.Equal(Expected(series, matchers), Select(reader, cache, matchers));
        });
    }

    /// <summary>Series and sample times of the input, in label order; the few forms that it uses.</summary>
    private static List<(byte[] Run, long[] Times)> ReadOpenMetrics(string path)
    {
        var samples = new Dictionary<string, List<long>>();
        foreach (string line in File.ReadLines(path).Where(line => !line.StartsWith('#')))
        {
            int timeAt = line.LastIndexOf(' ');
            int valueAt = line.LastIndexOf(' ', timeAt - 1);
            long timeMs = long.Parse(line.AsSpan(timeAt + 1).ToString().Replace(".", "", StringComparison.Ordinal), System.Globalization.CultureInfo.InvariantCulture);
            if (!samples.TryGetValue(line[..valueAt], out List<long>? times)) samples.Add(line[..valueAt], times = []);
            times.Add(timeMs);
        }

        var series = new List<(byte[] Run, long[] Times)>();
        foreach ((string text, List<long> times) in samples) series.Add((RunOf(text), [.. times]));
        series.Sort(static (a, b) => Labels.Compare(a.Run, b.Run));
        return series;
    }

    private static byte[] RunOf(string series)
    {
        int brace = series.IndexOf('{', StringComparison.Ordinal);
        if (brace < 0) return Labels.Encode(("__name__", series));
        IEnumerable<(string, string)> labels = series[(brace + 1)..^1].Split(',').Select(label => label.Split('=')).Select(parts => (parts[0], parts[1].Trim('"')));
        return Labels.Encode([("__name__", series[..brace]), .. labels]);
    }
}
