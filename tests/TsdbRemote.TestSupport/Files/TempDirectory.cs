namespace TsdbRemote.TestSupport;

/// <summary>A fresh directory on the real disk, gone with all below it when disposed.</summary>
public sealed class TempDirectory : IDisposable
{
    /// <summary>Creates it under the system's temporary directory.</summary>
    public TempDirectory() => Path = Directory.CreateTempSubdirectory("tsdbremote-").FullName;

    /// <summary>Its absolute path.</summary>
    public string Path { get; }

    /// <summary>A path inside it.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Directory.Exists(Path)) Directory.Delete(Path, recursive: true);
    }
}
