using System.Security.Cryptography;
using System.Text;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Access;

/// <summary>The files of one attempt to load a web config: which were asked for, and a fingerprint of what they said. Links are followed.</summary>
/// <remarks>An orchestrator swaps links under files, which no watcher of a directory sees; so change is told by content.</remarks>
internal sealed class WebConfigFiles(IFileSystem files)
{
    private const int MaxBytes = 1 << 20;

    private readonly List<string> _paths = [];
    private readonly List<byte[]> _digests = [];

    /// <summary>Contents of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="why">What is wrong with it; null if nothing.</param>
    public string Read(string path, out string? why)
    {
        _paths.Add(path);
        byte[] bytes = [];
        try
        {
            using IFile file = files.OpenRead(LocalFileSystem.TargetOf(path));
            long length = file.Length;
            why = length > MaxBytes ? $"{path} has {length} bytes, {MaxBytes} allowed" : null;
            if (why is null)
            {
                bytes = new byte[length];
                Array.Resize(ref bytes, file.Read(0, bytes));
            }
        }
        catch (IOException failure)
        {
            why = $"{path} given, a file that can be read allowed ({(failure as DiskException)?.Errno switch { 2 => "there is none", 13 => "no right to it", _ => failure.Message }})";
        }

        _digests.Add(SHA256.HashData(bytes));
        return Encoding.UTF8.GetString(bytes);
    }

    /// <summary>True if the files say now what they said then.</summary>
    public bool IsUnchanged() => SaysTheSame(Again());

    /// <summary>The same files, read now.</summary>
    public WebConfigFiles Again()
    {
        var now = new WebConfigFiles(files);
        foreach (string path in _paths) now.Read(path, out _);
        return now;
    }

    /// <summary>True if the other attempt at the same files read the same.</summary>
    public bool SaysTheSame(WebConfigFiles other) => other._digests.Zip(_digests).All(static pair => pair.First.AsSpan().SequenceEqual(pair.Second));
}
