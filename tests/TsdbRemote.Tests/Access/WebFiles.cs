using System.Security.Cryptography;
using System.Text;
using TsdbRemote.Access;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Access;

/// <summary>A web-config file with what it names, in a directory of its own.</summary>
internal sealed class WebFiles : IDisposable
{
    // The cheapest cost there is: these tests are not about how long it takes.
    private const int Cost = 4;

    private readonly TempDirectory _directory = new();

    public WebFiles(string yaml = "") => Write("web.yml", yaml);

    public string Path => _directory["web.yml"];

    public (string Key, string Value) Option => ("http:web_config", Path);

    public string this[string name] => _directory[name];

    public static string Hash(string password) => BCrypt.Net.BCrypt.HashPassword(password, Cost);

    public static string Digest(string token) => "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(token)));

    public static (string, string) Basic(string user, string password) => ("Authorization", "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")));

    public static (string, string) Bearer(string token) => ("Authorization", "Bearer " + token);

    /// <summary>Replaces a file as an orchestrator does: whole, by a rename.</summary>
    public void Write(string name, string text)
    {
        File.WriteAllText(_directory[name + ".new"], text);
        File.Move(_directory[name + ".new"], _directory[name], overwrite: true);
    }

    public void Write((string Certificate, string Key) pair, string name = "server")
    {
        Write(name + ".key", pair.Key);
        Write(name + ".crt", pair.Certificate);
    }

    public WebAccess Load() => WebAccess.Load(Path, new LocalFileSystem());

    public void Dispose() => _directory.Dispose();
}
