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
