using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Format;

public class IndexWriterTests
{
    private const string Golden = "block-index-v2";
    private const long T = 1_700_000_000_000;

    private static readonly IndexedSeries[] Series =
    [
        new([("Zone", "z"), ("__name__", "up")], [new ChunkMeta(T, T + 119_000, 187), new ChunkMeta(T + 120_000, T + 169_000, 360)]),
        new([("__name__", "up"), ("instance", "\uFFEE")], [new ChunkMeta(-5, -5, 400)]),
        new([("__name__", "up"), ("instance", "\U0001F600"), ("job", "a")], [new ChunkMeta(long.MinValue, long.MaxValue, (1UL << 32) | 8)]),
    ];

    [Fact]
    public void The_bytes_of_version_2_are_still_written()
    {
        byte[] written = Write();
        Assert.Equal(Convert.ToHexString(GoldenFile.Read(Golden, Write)), Convert.ToHexString(written));
        using IndexReader reader = IndexReader.Open(IndexModel.With(written), IndexModel.Path, mmap: true);
        Assert.Equal(Series.Select(series => series.Text), IndexModel.Read(reader, reader.AllSeries(CancellationToken.None)));
    }

    [Fact]
    public void A_series_of_two_chunks_takes_the_bytes_of_the_reference()
    {
        // The body that the description quotes: 02 labels, 02 chunks, zigzag time, reference 187, then steps of 1000 ms and 173 bytes.
        byte[] expected = Convert.FromHexString("020507000A0280A0ABFEF962D8A107BB01E807E8FE02DA02");
        using TsdbRemote.Blocks.Encoding.PooledBuffer entry = TsdbRemote.Blocks.Encoding.PooledBuffer.Rent(16);
        SeriesEntry.Write(entry, [new LabelRef(5, 7), new LabelRef(0, 10)], Series[0].Chunks);
        Assert.Equal(Convert.ToHexString(expected), Convert.ToHexString(entry.Span[1..^4]));
        Assert.Equal(expected.Length, entry.Span[0]);
    }

    [Fact]
    public void An_index_without_series_can_be_read()
    {
        MemoryFileSystem fs = new();
        IndexCounts counts = IndexModel.Write(fs, []);
        Assert.Equal((0, 0, 0, 0, 0), (counts.Series, counts.Chunks, counts.Symbols, counts.Postings, counts.Lists));
        using IndexReader reader = IndexReader.Open(fs, IndexModel.Path, mmap: true);
        Assert.Empty(reader.AllSeries(CancellationToken.None));
        Assert.Empty(reader.LabelNames);
        Assert.Empty(reader.SelectSeries([IndexModel.Equal("a", "")], null, CancellationToken.None));
    }

    [Fact]
    public void Finishing_syncs_after_the_last_write_and_closes()
    {
        MemoryFileSystem fs = new();
        IndexModel.Write(fs, Series);
        Assert.Equal(fs.Trace.FindLastIndex(call => call.StartsWith("sync ", StringComparison.Ordinal)), fs.Trace.Count - 1);
        Assert.Equal(0, fs.OpenFiles);
    }

    [Fact]
    public void What_would_break_the_order_is_refused()
    {
        ChunkMeta chunk = new(0, 10, 8);
        Refused(static (writer, chunk) => writer.Add(Run(("a", "b")), []));
        Refused(static (writer, chunk) => writer.Add(Run(), [chunk]));
        Refused(static (writer, chunk) => writer.Add(Run(("a", "undeclared")), [chunk]));
        Refused(static (writer, chunk) => writer.Add([1, 2, 3], [chunk]));
        Refused(static (writer, chunk) => writer.Add([.. Run(("b", "a")), .. Run(("a", "b"))], [chunk]));
        Refused(static (writer, chunk) => writer.Add([.. Run(("a", "b")), .. Run(("a", "b"))], [chunk]));
        Refused(static (writer, chunk) => writer.Add([0x0A, 3, 0x0A, 1, (byte)'a'], [chunk]));
        Refused(static (writer, chunk) => writer.Add(Run(("a", "b")), [chunk, new ChunkMeta(10, 20, 9)]));
        Refused(static (writer, chunk) => writer.Add(Run(("a", "b")), [chunk, new ChunkMeta(11, 10, 9)]));
        Refused(static (writer, chunk) => writer.Add(Run(("a", "b")), [chunk, new ChunkMeta(11, 20, 8)]));
        Refused(static (writer, chunk) => writer.Add(Run(("a", "b")), [new ChunkMeta(0, 1, 1UL << 63)]));
        Refused(static (writer, chunk) =>
        {
            writer.Add(Run(("a", "b")), [chunk]);
            writer.Add(Run(("a", "b")), [new ChunkMeta(0, 1, 9)]);
        });
        Refused(static (writer, chunk) =>
        {
            writer.Add(Run(("b", "a")), [chunk]);
            writer.Add(Run(("a", "b")), [new ChunkMeta(0, 1, 9)]);
        });
        Refused(static (writer, chunk) =>
        {
            writer.Add(Run(("a", "b")), [chunk]);
            writer.Add(Run(("b", "a")), [chunk]);
        });

        void Refused(Action<IndexWriter, ChunkMeta> use)
        {
            MemoryFileSystem fs = new();
            using IndexWriter writer = new(fs, IndexModel.Path);
            writer.Declare(Run(("a", "b")));
            writer.Declare(Run(("b", "a")));
            Assert.Throws<ArgumentException>(() => use(writer, chunk));
        }
    }

    [Fact]
    public void A_declared_symbol_that_no_series_has_is_an_error()
    {
        MemoryFileSystem fs = new();
        using IndexWriter writer = new(fs, IndexModel.Path);
        writer.Declare(Run(("a", "b")));
        writer.Declare(Run(("a", "unused")));
        writer.Add(Run(("a", "b")), [new ChunkMeta(0, 0, 8)]);
        InvalidOperationException problem = Assert.Throws<InvalidOperationException>(() => writer.Finish());
        Assert.Contains("1 declared symbols are in no series, such as unused", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Steps_out_of_turn_are_refused()
    {
        MemoryFileSystem fs = new();
        using IndexWriter writer = new(fs, IndexModel.Path);
        Assert.Throws<ArgumentException>(() => writer.Declare([1, 2, 3]));
        writer.Declare(Run(("a", "b")));
        writer.Add(Run(("a", "b")), [new ChunkMeta(0, 0, 8)]);
        Assert.Throws<InvalidOperationException>(() => writer.Declare(Run(("a", "b"))));
        writer.Finish();
        Assert.Throws<InvalidOperationException>(() => writer.Finish());
        Assert.Throws<InvalidOperationException>(() => writer.Add(Run(("b", "c")), [new ChunkMeta(0, 0, 9)]));
        Assert.Throws<DiskException>(() => new IndexWriter(fs, IndexModel.Path));
        Assert.Equal(0, fs.OpenFiles);
    }

    [Fact]
    public void A_writer_that_is_given_up_closes_its_file()
    {
        MemoryFileSystem fs = new();
        using (IndexWriter writer = new(fs, IndexModel.Path)) writer.Declare(Run(("a", "b")));
        Assert.Equal(0, fs.OpenFiles);
        Assert.Empty(fs[IndexModel.Path]);
    }

    [Fact]
    public void A_series_that_the_disk_changed_is_found_before_the_index_is_finished()
    {
        MemoryFileSystem fs = new();
        using IndexWriter writer = new(fs, IndexModel.Path);
        IndexedSeries[] series = IndexModel.Numbered(30_000);
        foreach (IndexedSeries one in series) writer.Declare(one.Run);
        foreach (IndexedSeries one in series) writer.Add(one.Run, one.Chunks);

        // A part of the series is on the disk already.
        fs[IndexModel.Path][^100] ^= 1;
        Assert.Throws<CorruptFileException>(() => writer.Finish());
    }

    private static byte[] Run(params ReadOnlySpan<(string, string)> labels) => Labels.Encode(labels);

    private static byte[] Write()
    {
        MemoryFileSystem fs = new();
        IndexModel.Write(fs, Series);
        return fs[IndexModel.Path];
    }
}
