using System.Globalization;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

/// <summary>The reader and the writer against a block that promtool made (Data/promtool-block).</summary>
public partial class PromtoolBlockTests
{
    private static readonly string Source = BlockDirectory.PathOf(
        Repository.TestData("promtool-block"), Assert.Single(BlockDirectory.List(new LocalFileSystem(), Repository.TestData("promtool-block"))));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void All_samples_of_the_input_are_read(bool mmap)
    {
        BlockModelSeries[] series =
        [
            .. File.ReadLines(Repository.TestData("promtool-block/input.om"))
                .Select(static line => SampleLine().Match(line))
                .Where(static match => match.Success)
                .GroupBy(static match => match.Groups["series"].Value)
                .Select(static group => new BlockModelSeries(LabelsOf(group.First()), [[.. group.Select(SampleOf)]])),
        ];
        Assert.True(series.Length > 3);
        Assert.Equal(BlockModel.Expected(series, TimeRange.All), BlockModel.ReadAll(new LocalFileSystem(), Source, mmap));
    }

    [Fact]
    public void The_same_chunks_are_written_to_identical_files()
    {
        using TempDirectory temporary = new();
        LocalFileSystem files = new();
        using BlockReader block = BlockReader.Open(files, Source, mmap: true);
        using (BlockWriter writer = new(files, temporary.Path, block.Ulid))
        {
            Copy(block, (labels, _) => writer.Declare(labels));
            Copy(block, (labels, chunks) => writer.Add(labels, chunks));
            writer.FinishData();
            writer.Commit(writer.NewMeta());
        }

        // promtool 3.5.3 does not count floats and histograms apart yet; its index has sections that nobody reads any more.
        string copy = BlockDirectory.PathOf(temporary.Path, block.Ulid);
        string meta = Regex.Replace(File.ReadAllText(copy + "/meta.json"), "\t\t\"numFloatSamples\": [0-9]+,\n", "");
        Assert.Equal(File.ReadAllText(Source + "/meta.json"), meta);
        Assert.Equal(files.ReadAll(Source + "/chunks/000001"), files.ReadAll(copy + "/chunks/000001"));
        Assert.Equal(files.ReadAll(Source + "/tombstones"), files.ReadAll(copy + "/tombstones"));
        Assert.Equal(BlockModel.ReadAll(files, Source), BlockModel.ReadAll(files, copy, mmap: true));
    }

    private static void Copy(BlockReader block, Action<byte[], SeriesChunk[]> take)
    {
        using NativeArena arena = new();
        using BlockSeriesCursor cursor = block.SelectAll(TimeRange.All, CancellationToken.None);
        while (cursor.MoveNext())
        {
            List<SeriesChunk> chunks = [];
            cursor.AddChunks(TimeRange.All, 0, arena, chunks);
            take(cursor.Labels.ToArray(), [.. chunks]);
        }
    }

    private static byte[] LabelsOf(Match line) => Labels.Encode(
    [
        ("__name__", line.Groups["name"].Value),
        .. from pair in LabelPair().Matches(line.Groups["labels"].Value)
           select (pair.Groups["name"].Value, Regex.Unescape(pair.Groups["value"].Value)),
    ]);

    private static Sample SampleOf(Match line)
    {
        long timeMs = long.Parse(line.Groups["seconds"].Value + line.Groups["ms"].Value, CultureInfo.InvariantCulture);
        string value = line.Groups["value"].Value;
        return value switch
        {
            "NaN" => new Sample(timeMs, StaleMarker.NormalNaN),
            "+Inf" => Sample.Of(timeMs, double.PositiveInfinity),
            "-Inf" => Sample.Of(timeMs, double.NegativeInfinity),
            _ => Sample.Of(timeMs, double.Parse(value, CultureInfo.InvariantCulture)),
        };
    }

    [GeneratedRegex("""^(?<series>(?<name>\w+)(\{(?<labels>.*)\})?) (?<value>\S+) (?<seconds>\d+)\.(?<ms>\d{3})$""")]
    private static partial Regex SampleLine();

    [GeneratedRegex("""(?<name>\w+)="(?<value>(\\.|[^"\\])*)["]""")]
    private static partial Regex LabelPair();
}
