using System.IO.Compression;
using System.Xml.Linq;

namespace TsdbRemote.Tests.Blocks;

/// <summary>The package of the block library, as the build that these tests belong to made it.</summary>
public sealed class PackageTests
{
    [Fact]
    public void The_build_packs_the_library_alone_with_its_documentation()
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        string directory = Path.Combine(Repository.Root, "src", "TsdbRemote.Blocks", "bin", configuration);
        string version = typeof(TsdbRemote.Blocks.BlockReader).Assembly.GetName().Version!.ToString(3);
        using ZipArchive package = ZipFile.OpenRead(Path.Combine(directory, $"TsdbRemote.Blocks.{version}.nupkg"));
        string[] files = [.. package.Entries.Select(static entry => entry.FullName)];
        Assert.Contains("README.md", files);
        Assert.Contains("lib/net10.0/TsdbRemote.Blocks.dll", files);
        Assert.Contains("lib/net10.0/TsdbRemote.Blocks.xml", files);
        XDocument specification = XDocument.Load(package.GetEntry("TsdbRemote.Blocks.nuspec")!.Open());
        IEnumerable<XElement> dependencies = specification.Descendants().Where(static element => element.Name.LocalName == "dependency");
        Assert.Equal(["System.IO.Hashing"], dependencies.Select(static element => element.Attribute("id")!.Value));
    }
}
