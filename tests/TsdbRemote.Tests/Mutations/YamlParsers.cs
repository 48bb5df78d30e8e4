using System.Text.Json;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.Primitives;
using TsdbRemote.Access;
using TsdbRemote.Options;

namespace TsdbRemote.Tests.Mutations;

/// <summary>A web-config file, which may name others; here there are none.</summary>
internal sealed class WebConfigParser : FuzzParser
{
    private readonly FuzzFiles _files = new("/fuzz/web.yml");

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        _files.Put(input);
        try
        {
            return WebConfigReader.Read(_files.Path, new WebConfigFiles(_files)) is not null;
        }
        catch (OptionsException)
        {
            return false;
        }
    }
}

/// <summary>YAML as a layer of the configuration; the same keys and values, written flat, are read again.</summary>
internal sealed class YamlKeysParser : FuzzParser
{
    private YamlProvider? _keys;

    public override bool Parse(ReadOnlySpan<byte> input)
    {
        try
        {
            _keys = Load(input.ToArray());
            return _keys.GetChildKeys([], null).Any();
        }
        catch (FormatException)
        {
            return false;
        }
    }

    /// <summary>Of one in eight: to write and to read again costs several times what reading did.</summary>
    public override void Check(ReadOnlySpan<byte> input)
    {
        if (!XorChunkParser.IsChosen(input)) return;
        SortedDictionary<string, string?> keys = Read(_keys!);

        // A JSON string is a YAML string.
        string flat = string.Join('\n', keys.Select(static pair => $"{JsonSerializer.Serialize(pair.Key)}: {(pair.Value is null ? "~" : JsonSerializer.Serialize(pair.Value))}"));
        Assert.Equal(keys, Read(Load(System.Text.Encoding.UTF8.GetBytes(flat))));
    }

    private static YamlProvider Load(byte[] yaml)
    {
        var provider = new YamlProvider(new YamlSource { Path = "options.yaml" });
        provider.Load(new MemoryStream(yaml, writable: false));
        return provider;
    }

    private static SortedDictionary<string, string?> Read(YamlProvider provider)
    {
        var keys = new SortedDictionary<string, string?>(StringComparer.Ordinal);
        void Note(string? path)
        {
            foreach (string key in provider.GetChildKeys([], path).Distinct(StringComparer.OrdinalIgnoreCase))
            {
                string at = path is null ? key : ConfigurationPath.Combine(path, key);
                if (provider.TryGet(at, out string? value)) keys.Add(at, value);
                Note(at);
            }
        }

        Note(null);
        return keys;
    }
}

/// <summary>The file of options, from its bytes to the options that hold; what holds is printed and read again.</summary>
internal sealed class OptionsFileParser : FuzzParser, IFileProvider, IFileInfo
{
    private byte[] _bytes = [];
    private TsdbRemoteOptions? _options;

    public bool Exists => true;

    public long Length => _bytes.Length;

    public string? PhysicalPath => null;

    public string Name => "options.yaml";

    public DateTimeOffset LastModified => default;

    public bool IsDirectory => false;

    public override bool Parse(ReadOnlySpan<byte> input) => (_options = Read(input.ToArray())) is not null;

    public override void Check(ReadOnlySpan<byte> input)
    {
        string text = OptionsText.Yaml(_options!);
        Assert.Equal(text, OptionsText.Yaml(Read(System.Text.Encoding.UTF8.GetBytes(text))!));
    }

    public Stream CreateReadStream() => new MemoryStream(_bytes, writable: false);

    public IFileInfo GetFileInfo(string subpath) => this;

    public IDirectoryContents GetDirectoryContents(string subpath) => NotFoundDirectoryContents.Singleton;

    public IChangeToken Watch(string filter) => NullChangeToken.Singleton;

    private TsdbRemoteOptions? Read(byte[] yaml)
    {
        _bytes = yaml;
        try
        {
            using var configuration = (ConfigurationRoot)new ConfigurationBuilder().Add(new YamlSource { FileProvider = this, Path = Name, Optional = false }).Build();
            return OptionsChecks.Read(configuration);
        }
        catch (Exception declared) when (declared is OptionsException or InvalidDataException { InnerException: FormatException })
        {
            return null;
        }
    }
}
