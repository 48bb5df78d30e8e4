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
}
