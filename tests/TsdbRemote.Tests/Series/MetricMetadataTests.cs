using System.Text;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Tests.Series;

public sealed class MetricMetadataTests
{
    [Fact]
    public void The_last_word_about_a_family_counts()
    {
        var metadata = new MetricMetadata();
        Assert.True(metadata.Set("http"u8, 1, "Requests."u8, "s"u8));
        Assert.True(metadata.Set("http"u8, 2, "Now a gauge."u8, default));
        Assert.True(metadata.TryGet("http", out MetricDescription? found));
        Assert.Equal(new MetricDescription(MetricType.Gauge, "Now a gauge.", ""), found);
        Assert.Equal(1, metadata.Count);
        Assert.False(metadata.TryGet("other", out _));
    }

    [Fact]
    public void Repeating_what_is_known_allocates_nothing()
    {
        var metadata = new MetricMetadata();
        for (int i = 0; i < 100; i++) metadata.Set("http"u8, 1, "Requests."u8, "s"u8);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++) metadata.Set("http"u8, 1, "Requests."u8, "s"u8);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void The_word_of_the_highest_order_counts_whatever_comes_first_and_whoever_repeats_it()
    {
        (ulong Order, int Type)[] words = [(1, 1), (2, 2), (3, 1), (4, 1), (5, 2), (6, 1)];
        for (int seed = 0; seed < 200; seed++)
        {
            (ulong Order, int Type)[] shuffled = [.. words, .. words];
            new Random(seed).Shuffle(shuffled);
            var metadata = new MetricMetadata();
            Parallel.ForEach(shuffled, word => Assert.True(metadata.Set("http"u8, word.Type, "Requests."u8, default, word.Order)));
            Assert.True(metadata.TryGet("http", out MetricDescription? found));
            Assert.Equal(MetricType.Counter, found.Type);
        }
    }

    [Fact]
    public void What_is_known_is_no_news_unless_it_came_before_what_can_be_trusted()
    {
        var metadata = new MetricMetadata(maxFamilies: 1);
        Assert.Equal(MetadataNovelty.News, metadata.Judge("http"u8, 1, "Requests."u8, default));
        metadata.Set("http"u8, 1, "Requests."u8, default, order: 7);
        Assert.Equal(MetadataNovelty.Known, metadata.Judge("http"u8, 1, "Requests."u8, default));
        Assert.Equal(MetadataNovelty.News, metadata.Judge("http"u8, 1, "Other."u8, default));
        Assert.Equal(MetadataNovelty.LeftOut, metadata.Judge("more"u8, 1, "Does not fit."u8, default));
        Assert.Equal(1, metadata.LeftOut);
        metadata.TrustFrom(8);
        Assert.Equal(MetadataNovelty.News, metadata.Judge("http"u8, 1, "Requests."u8, default));
        metadata.Set("http"u8, 1, "Requests."u8, default, order: 8);
        Assert.Equal(MetadataNovelty.Known, metadata.Judge("http"u8, 1, "Requests."u8, default));
    }

    [Fact]
    public void Families_beyond_the_count_are_left_out_and_known_ones_still_change()
    {
        var metadata = new MetricMetadata(maxFamilies: 2);
        Assert.True(metadata.Set("a"u8, 1, "1"u8, default));
        Assert.True(metadata.Set("b"u8, 1, "1"u8, default));
        Assert.False(metadata.Set("c"u8, 1, "1"u8, default));
        Assert.True(metadata.Set("a"u8, 1, "2"u8, default));
        Assert.Equal(["a", "b"], metadata.List().Select(family => family.Key));
        Assert.Equal(1, metadata.LeftOut);
    }

    [Fact]
    public void Bytes_are_bounded_and_given_back_when_a_text_shrinks()
    {
        var metadata = new MetricMetadata(maxBytes: 1000);
        Assert.True(metadata.Set("a"u8, 1, new byte[500], default));
        Assert.False(metadata.Set("b"u8, 1, new byte[200], default));
        Assert.False(metadata.Set("a"u8, 1, new byte[900], default));
        Assert.True(metadata.Set("a"u8, 1, new byte[10], default));
        Assert.True(metadata.Set("b"u8, 1, new byte[200], default));
        Assert.InRange(metadata.MemoryBytes, 212, 1000);
    }

    [Fact]
    public void Long_texts_are_cut_between_characters()
    {
        var metadata = new MetricMetadata();
        Assert.True(metadata.Set("a"u8, 1, Encoding.UTF8.GetBytes(new string('é', 3000)), "m"u8));
        Assert.True(metadata.TryGet("a", out MetricDescription? found));
        Assert.Equal(new string('é', 2047), found.Help);
        Assert.Equal("m", found.Unit);
    }

    [Fact]
    public void Unknown_types_and_impossible_names_do_no_harm()
    {
        var metadata = new MetricMetadata();
        Assert.True(metadata.Set("a"u8, 99, default, default));
        Assert.True(metadata.TryGet("a", out MetricDescription? found));
        Assert.Equal(MetricType.Unknown, found.Type);
        Assert.True(metadata.Set(default, 1, "x"u8, default));
        Assert.False(metadata.Set(new byte[2000], 1, "x"u8, default));
        Assert.Equal(1, metadata.Count);
    }

    [Fact]
    public void Many_threads_may_set_and_list()
    {
        var metadata = new MetricMetadata(maxFamilies: 500);
        Parallel.For(0, 4, thread =>
        {
            for (int i = 0; i < 2000; i++)
            {
                metadata.Set(Encoding.UTF8.GetBytes($"m{i % 700}"), thread, Encoding.UTF8.GetBytes($"{i}"), default);
                if (i % 500 == 0) Assert.InRange(metadata.List().Count, 0, 500);
            }
        });
        Assert.Equal(500, metadata.Count);
        Assert.Equal(500, metadata.List().Count);
    }
}
