using System.Text;
using CsCheck;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Format;

/// <summary>A series of a test, its labels in no particular order.</summary>
internal sealed record IndexedSeries((string Name, string Value)[] Labels, ChunkMeta[] Chunks)
{
    private string? _text;

    public byte[] Run { get; } = TsdbRemote.Blocks.Model.Labels.Encode(Labels);

    /// <summary>Labels and chunks as text, to be compared.</summary>
    public string Text => _text ??= IndexModel.TextOf(Run, Chunks);

    public byte[] ValueOf(ReadOnlySpan<byte> name) =>
        TsdbRemote.Blocks.Model.Labels.TryGet(Run, name, out ReadOnlySpan<byte> value) ? value.ToArray() : [];
}

/// <summary>Indexes of tests: made, written, and answered by walking over everything.</summary>
internal static class IndexModel
{
    public const string Path = "blocks/index";

    private static readonly string[] Names = ["__name__", "A", "Zone", "a", "instance", "job", "é", "\uFFEE", "\U0001F600", "le"];

    private static readonly string[] Values =
    [
        "", "a", "b", "c", "ab", "abc", "host-1", "host-10", "host-2", "\uFFEE", "\U0001F600", "\U0001F601x", "Ä", "0.5", "+Inf", "x y", "line\nfeed", "\0",
    ];

    private static readonly string[] Expressions =
    [
        "", ".*", ".+", "a|b|c", "|a", "host-.*", "host-1.*", "host-1|\U0001F600", "(?i)HOST-1", "h.+0", "[a-c]+", "\U0001F600.*|\uFFEE", "v1\\d*", "v.*7",
        "nothing.*", "x|y|z", "ab?c?",
    ];

    /// <summary>Series with distinct labels, in label order, with one to four chunks each.</summary>
    public static Gen<IndexedSeries[]> Series(int max) =>
        Gen.Select(
            Gen.Select(OneOf(Names), Value).Array[1, 6],
            Gen.Select(Gen.Long[0, 1L << 40], Gen.Long[0, 7_200_000], Gen.UInt[1, 5000]).Array[1, 4]).Array[0, max].Select(InOrder);

    public static Gen<Matcher[]> Matchers =>
        Gen.Select(Gen.Int[0, 3], OneOf([.. Names, "nope", ""]), Value, OneOf(Expressions))
            .Select((type, name, value, expression) => Matcher.Create((MatcherType)type, name, type < 2 ? value : expression))
            .Array[0, 3];

    private static Gen<string> OneOf(string[] texts) => Gen.Int[0, texts.Length - 1].Select(i => texts[i]);

    private static Gen<string> Value => Gen.Frequency((2, OneOf(Values)), (1, Gen.Int[0, 150].Select(static i => $"v{i}")));

    /// <summary>Series of one metric, numbered, that differ in <c>instance</c> alone.</summary>
    public static IndexedSeries[] Numbered(int count) =>
    [
        .. Enumerable.Range(0, count).Select(i => new IndexedSeries(
            [("__name__", "up"), ("instance", $"host-{i:D7}"), ("job", i % 10 == 3 ? "api" : "node")], [new ChunkMeta(i, i + 60_000, 8 + 100 * (ulong)i)])),
    ];

    public static IndexCounts Write(IFileSystem fs, IReadOnlyList<IndexedSeries> series, long? maxPostings = null)
    {
        using IndexWriter writer = maxPostings is { } most ? new IndexWriter(fs, Path, most) : new IndexWriter(fs, Path);
        foreach (IndexedSeries one in series.Reverse()) writer.Declare(one.Run);
        foreach (IndexedSeries one in series) writer.Add(one.Run, one.Chunks);
        return writer.Finish();
    }

    public static MemoryFileSystem With(byte[] index, bool canMap = true)
    {
        MemoryFileSystem fs = new(canMap);
        fs[Path] = index;
        return fs;
    }

    /// <summary>What the series that satisfy the matchers look like, by asking each series.</summary>
    public static string[] Expected(IEnumerable<IndexedSeries> series, params Matcher[] matchers) =>
        matchers.Length == 0 ? [] : [.. series.Where(one => matchers.All(matcher => matcher.Matches(one.ValueOf(matcher.NameUtf8.Span)))).Select(one => one.Text)];

    /// <summary>The same as ids: all ids of the index stand for the series, in their order.</summary>
    public static uint[] ExpectedIds(IndexedSeries[] series, uint[] all, Matcher[] matchers) =>
        matchers.Length == 0 ? [] : [.. all.Where((_, i) => matchers.All(matcher => matcher.Matches(series[i].ValueOf(matcher.NameUtf8.Span))))];

    /// <summary>The same by the reader.</summary>
    public static string[] Select(IndexReader reader, PostingsCache? cache, params Matcher[] matchers) =>
        Read(reader, reader.SelectSeries(matchers, cache, CancellationToken.None));

    public static string[] Read(IndexReader reader, uint[] ids)
    {
        using BlockSeries into = new();
        return [.. ids.Select(id => Read(reader, id, into))];
    }

    public static string Read(IndexReader reader, uint id, BlockSeries into)
    {
        reader.ReadSeries(id, into);
        Assert.Equal(id, into.Id);
        return TextOf(into.Labels, into.Chunks);
    }

    public static Matcher Equal(string name, string value) => Matcher.Create(MatcherType.Equal, name, value);

    public static Matcher NotEqual(string name, string value) => Matcher.Create(MatcherType.NotEqual, name, value);

    public static Matcher Regex(string name, string value) => Matcher.Create(MatcherType.Regex, name, value);

    public static Matcher NotRegex(string name, string value) => Matcher.Create(MatcherType.NotRegex, name, value);

    public static string TextOf(ReadOnlySpan<byte> run, ReadOnlySpan<ChunkMeta> chunks)
    {
        var text = new StringBuilder(Labels.Print(run)).Append(' ').Append(Convert.ToHexString(run));
        foreach (ChunkMeta chunk in chunks) text.Append($" {chunk.MinTimeMs}..{chunk.MaxTimeMs}@{chunk.Segment}:{chunk.Offset}");
        return text.ToString();
    }

    private static IndexedSeries[] InOrder(((string Name, string Value)[] Labels, (long Gap, long Length, uint Step)[] Chunks)[] drafts)
    {
        var series = new List<IndexedSeries>();
        foreach (((string Name, string Value)[] labels, (long Gap, long Length, uint Step)[] chunks) in drafts)
        {
            (string, string)[] unique = [.. labels.Where(label => label.Value.Length > 0).DistinctBy(label => label.Name)];
            if (unique.Length > 0) series.Add(new IndexedSeries(unique, Chunks(chunks)));
        }

        series.Sort((a, b) => Labels.Compare(a.Run, b.Run));
        IndexedSeries[] distinct = [.. series.DistinctBy(one => Convert.ToHexString(one.Run))];
        ulong reference = 0;
        foreach (ChunkMeta[] chunks in distinct.Select(one => one.Chunks))
        {
            for (int i = 0; i < chunks.Length; i++) chunks[i] = chunks[i] with { Reference = reference += chunks[i].Reference };
        }

        return distinct;
    }

    // Before the epoch and after it; references are steps, summed up once the order is known, and now and then go to the next segment.
    private static ChunkMeta[] Chunks((long Gap, long Length, uint Step)[] drafts)
    {
        long time = -(1L << 41);
        var chunks = new List<ChunkMeta>();
        foreach ((long gap, long length, uint step) in drafts)
        {
            chunks.Add(new ChunkMeta(time += gap + 1, time += length, step % 50 == 0 ? 1UL << 32 : step));
        }

        return [.. chunks];
    }
}
