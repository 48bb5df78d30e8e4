using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Tests.SSTables;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Blocks;

/// <summary>Every byte of a small block is changed, and every file cut everywhere: equal answers or a report, never anything else.</summary>
public class BlockDamageTests
{
    private static readonly string[] Files = ["meta.json", "index", "tombstones", "chunks/000001", "chunks/000002"];
    private static readonly List<string> Whole = BlockModel.Expected(BlockModel.Small, TimeRange.All);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void No_flipped_bit_gives_a_wrong_answer(bool mmap)
    {
        MemoryFileSystem files = WriteSmall();
        foreach (string name in Files)
        {
            string path = $"{BlockModel.Path}/{name}";
            byte[] good = files[path];
            for (int i = 0; i < good.Length; i++)
            {
                for (int bit = 0; bit < 8; bit++)
                {
                    byte[] flipped = (byte[])good.Clone();
                    flipped[i] ^= (byte)(1 << bit);
                    files[path] = flipped;
                    AssertEqualOrReported(files, mmap, $"{name}, byte {i}, bit {bit}");
                }

                files.Trace.Clear();
            }

            files[path] = good;
        }

        Assert.Equal(0, files.OpenFiles);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_file_cut_or_continued_anywhere_is_reported(bool mmap)
    {
        MemoryFileSystem files = WriteSmall();
        foreach (string name in Files)
        {
            string path = $"{BlockModel.Path}/{name}";
            byte[] good = files[path];
            for (int length = 0; length < good.Length; length++)
            {
                files[path] = good[..length];
                Assert.True(AssertEqualOrReported(files, mmap, $"{name}, cut at {length}"), $"{name}, cut at {length}");
                files.Trace.Clear();
            }

            files[path] = [.. good, 0];
            AssertEqualOrReported(files, mmap, $"{name}, one byte more");
            files[path] = good;
        }

        Assert.Equal(0, files.OpenFiles);
    }

    [Theory]
    [InlineData("meta.json", true)]
    [InlineData("index", true)]
    [InlineData("chunks/000001", true)]
    [InlineData("chunks/000002", true)]
    [InlineData("tombstones", false)] // a reader takes it for none
    public void A_missing_file_is_reported_by_name(string name, bool isDamage)
    {
        MemoryFileSystem files = WriteSmall();
        files.Unlink($"{BlockModel.Path}/{name}");
        if (!isDamage)
        {
            Assert.Equal(Whole, BlockModel.ReadAll(files, BlockModel.Path));
            return;
        }

        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => BlockModel.ReadAll(files, BlockModel.Path));
        Assert.StartsWith($"{BlockModel.Path}/{name[..^1]}", damage.Path, StringComparison.Ordinal);
        Assert.Equal(0, files.OpenFiles);
    }

    [Fact]
    public void A_block_under_another_blocks_name_is_reported()
    {
        MemoryFileSystem files = WriteSmall();
        string other = $"{BlockModel.Blocks}/01M87K85AJTSJCZBCX46AVGB99";
        foreach (string name in Files) files[$"{other}/{name}"] = files[$"{BlockModel.Path}/{name}"];
        CorruptFileException damage = Assert.Throws<CorruptFileException>(() => BlockModel.ReadAll(files, other));
        Assert.Equal($"ulid: is {BlockModel.Ulid}, the directory is 01M87K85AJTSJCZBCX46AVGB99", damage.What);
    }

    /// <returns>Whether damage was reported.</returns>
    private static bool AssertEqualOrReported(MemoryFileSystem files, bool mmap, string where)
    {
        try
        {
            List<string> answer = BlockModel.ReadAll(files, BlockModel.Path, mmap);
            Assert.True(Whole.SequenceEqual(answer), where);
            return false;
        }
        catch (CorruptFileException damage)
        {
            Assert.StartsWith(BlockModel.Path, damage.Path, StringComparison.Ordinal);
            return true;
        }
        catch (Exception other) when (other is not Xunit.Sdk.XunitException)
        {
            throw new InvalidOperationException(where, other);
        }
    }

    private static MemoryFileSystem WriteSmall()
    {
        CrashFileSystem written = new(BlockModel.Blocks);
        BlockModel.Write(written, BlockModel.Small, maxSegmentBytes: 250);
        MemoryFileSystem files = new();
        foreach (string name in Files) files[$"{BlockModel.Path}/{name}"] = written.ReadAll($"{BlockModel.Path}/{name}");
        Assert.Equal(2, written.List($"{BlockModel.Path}/{SegmentFormat.DirectoryName}").Count);
        return files;
    }
}
