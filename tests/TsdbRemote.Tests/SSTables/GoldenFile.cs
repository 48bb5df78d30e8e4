namespace TsdbRemote.Tests.SSTables;

/// <summary>Files of each format version ever written, which every later build must open (<c>Data/golden</c>).</summary>
/// <remarks>With <c>TSDB_REMOTE_REWRITE_GOLDEN=1</c> a test writes its file anew; a version that was released is never rewritten.</remarks>
internal static class GoldenFile
{
    public static byte[] Read(string name, Func<byte[]> write)
    {
        string path = Repository.TestData($"golden/{name}");
        if (Environment.GetEnvironmentVariable("TSDB_REMOTE_REWRITE_GOLDEN") == "1") File.WriteAllBytes(path, write());
        return File.ReadAllBytes(path);
    }
}
