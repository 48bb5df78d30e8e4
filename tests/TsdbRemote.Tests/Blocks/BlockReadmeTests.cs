using System.Runtime.InteropServices;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

/// <summary>The example of the package's README: what it shows is what runs here.</summary>
public class BlockReadmeTests
{
    [Fact]
    public void The_example_writes_a_block_and_reads_it_back()
    {
        using TempDirectory temporary = new();
        LocalFileSystem files = new();
        string directory = temporary.Path;
        Ulid ulid = Ulid.Create(1700000100000);
        using NativeArena arena = new();
        List<SeriesChunk> found = [];
        List<Sample> samples = [];

        // The example begins.
        List<SeriesChunk> chunks = [];
        byte[] labels = Labels.Encode(("__name__", "up"), ("job", "node"));
        ChunkMerge.Encode([Sample.Of(1700000000000, 1), Sample.Of(1700000015000, 0)], windowMs: 7_200_000, rank: 0, arena, chunks);
        using (BlockWriter writer = new(files, directory, ulid))
        {
            writer.Declare(labels);                                  // every series first, in any order
            writer.Add(labels, CollectionsMarshal.AsSpan(chunks));   // then in label order, with its chunks
            writer.FinishData();
            writer.Commit(writer.NewMeta());                         // from here on the block is there, whole and durable
        }

        using BlockReader block = BlockReader.Open(files, BlockDirectory.PathOf(directory, ulid), mmap: true);
        using BlockSeriesCursor series = block.Select([Matcher.Create(MatcherType.Regex, "job", "no.+")], TimeRange.All, CancellationToken.None);
        while (series.MoveNext()) series.AddChunks(TimeRange.All, rank: 0, arena, found);
        ChunkMerge.Decode(found[0], samples);
        // The example ends.

        Assert.Single(found);
        Assert.Equal([Sample.Of(1700000000000, 1), Sample.Of(1700000015000, 0)], samples);
    }

    [Fact]
    public void The_README_shows_these_lines()
    {
        string source = File.ReadAllText(Path.Combine(Repository.Root, "tests/TsdbRemote.Tests/Blocks/BlockReadmeTests.cs"));
        string readme = File.ReadAllText(Path.Combine(Repository.Root, "src/TsdbRemote.Blocks/README.md"));
        Assert.Equal(Between(source, "// The example begins.\n", "// The example ends."), Between(readme, "```csharp\n", "```"));
    }

    private static IEnumerable<string> Between(string text, string begin, string end)
    {
        int from = text.IndexOf(begin, StringComparison.Ordinal) + begin.Length;
        int to = text.IndexOf(end, from, StringComparison.Ordinal);
        return text[from..to].Split('\n').Select(static line => line.Trim()).SkipLast(1);
    }
}
