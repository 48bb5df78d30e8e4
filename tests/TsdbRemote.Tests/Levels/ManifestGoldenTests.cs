using TsdbRemote.Storage.Levels;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Levels;

public class ManifestGoldenTests
{
    private const string Name = "manifest-v1.txt";

    [Fact]
    public void A_manifest_of_version_1_is_still_read_and_written()
    {
        ManifestState state = ManifestSamples.State(1, 2, ulong.MaxValue);
        byte[] golden = GoldenFile.Read(Name, () => ManifestText.Write(state));
        MemoryFileSystem fs = new();
        fs["data/MANIFEST"] = golden;
        Assert.Equal(ManifestSamples.Text(state), ManifestSamples.Text(Manifest.TryLoad(fs, "data", out _)!));
        Assert.Equal(golden, ManifestText.Write(state));
    }

    /// <summary>Early builds wrote the same version without what later ones say of blocks; their directories are opened, and the next commit says all.</summary>
    [Theory]
    [InlineData("manifest-v1-without-adopted.txt", false)]
    [InlineData("manifest-v1-without-times.txt", false)]
    [InlineData("manifest-v1-without-applied-to.txt", true)]
    public void A_manifest_of_version_1_that_says_less_of_blocks_is_read(string name, bool saysTimes)
    {
        MemoryFileSystem fs = new();
        fs["data/MANIFEST"] = File.ReadAllBytes(Repository.TestData($"golden/{name}"));
        ManifestState state = ManifestSamples.State(1, 2, ulong.MaxValue);
        BlockEntry block = state.Blocks[0] with { AppliedTo = 0 };
        ManifestState expected = state with { Blocks = [saysTimes ? block : block with { MinTimeMs = null, MaxTimeMs = null }] };
        Assert.Equal(ManifestSamples.Text(expected), ManifestSamples.Text(Manifest.TryLoad(fs, "data", out _)!));
    }

    [Fact]
    public void A_block_of_rank_0_is_a_foreign_one_where_nothing_else_is_said()
    {
        byte[] text = ManifestText.Write(ManifestSamples.State(1, 0) with { Blocks = [new BlockEntry("01HV0000000000000000000000", 0)] });
        Assert.Null(ManifestText.TryOpen(text, out ReadOnlySpan<byte> json));
        string without = System.Text.Encoding.UTF8.GetString(json).Replace("\"adopted\": true,", "", StringComparison.Ordinal);
        Assert.True(Assert.Single(ManifestText.Parse(System.Text.Encoding.UTF8.GetBytes(without), "MANIFEST").Blocks).Adopted);
    }
}
