namespace TsdbRemote.EndToEnd.Support;

/// <summary>A fresh directory for one test, gone with it.</summary>
public sealed class WorkDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("tsdb-remote-e2e-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
