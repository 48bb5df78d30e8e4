namespace TsdbRemote.TestSupport;

/// <summary>Finds files of the repository from wherever the tests run.</summary>
public static class Repository
{
    /// <summary>Where the solution is.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>A file or folder of the unit tests' data.</summary>
    public static string TestData(string path) => Path.Combine(Root, "tests", "TsdbRemote.Tests", "Data", path);

    private static string FindRoot()
    {
        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "TsdbRemote.sln"))) directory = Path.GetDirectoryName(directory);
        return directory ?? throw new InvalidOperationException($"no TsdbRemote.sln above {AppContext.BaseDirectory}");
    }
}
