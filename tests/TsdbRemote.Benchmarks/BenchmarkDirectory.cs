namespace TsdbRemote.Benchmarks;

/// <summary>A fresh directory on the disk that is measured: below TMPDIR, or the system's temporary directory. Gone when disposed.</summary>
internal sealed class BenchmarkDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("tsdb-remote-benchmark-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        if (Directory.Exists(Path)) Directory.Delete(Path, recursive: true);
    }
}
