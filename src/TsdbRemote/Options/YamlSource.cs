using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace TsdbRemote.Options;

/// <summary>A YAML file as a layer of the configuration.</summary>
public sealed class YamlSource : FileConfigurationSource
{
    /// <inheritdoc/>
    public override IConfigurationProvider Build(IConfigurationBuilder builder)
    {
        EnsureDefaults(builder);
        return new YamlProvider(this);
    }
}

/// <summary>Flattens a YAML document into configuration keys: <c>storage: {lsm: {stripes: 8}}</c> gives <c>storage:lsm:stripes</c>.</summary>
internal sealed class YamlProvider(YamlSource source) : FileConfigurationProvider(source)
{
    /// <inheritdoc/>
    /// <exception cref="FormatException">Not YAML, or not one document that is a mapping; the message says where.</exception>
    public override void Load(Stream stream)
    {
        var yaml = new YamlStream();
        try
        {
            using var reader = new StreamReader(stream);
            yaml.Load(reader);
        }
        catch (YamlException broken)
        {
            throw new FormatException($"{Source.Path}, line {broken.Start.Line}, column {broken.Start.Column}: {broken.Message}", broken);
        }

        Data = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach (YamlDocument document in yaml.Documents) Flatten(document.RootNode, "");
    }

    private void Flatten(YamlNode node, string path)
    {
        switch (node)
        {
            case YamlMappingNode mapping:
                foreach ((YamlNode key, YamlNode value) in mapping.Children) Flatten(value, Join(path, ((YamlScalarNode)key).Value ?? ""));
                break;
            case YamlSequenceNode sequence:
                for (int i = 0; i < sequence.Children.Count; i++) Flatten(sequence.Children[i], Join(path, i.ToString(CultureInfo.InvariantCulture)));
                break;
            case YamlScalarNode scalar when path.Length > 0:
                Data[path] = IsNull(scalar) ? null : scalar.Value;
                break;
            case YamlScalarNode scalar when !IsNull(scalar):
                throw new FormatException($"{Source.Path}, line {node.Start.Line}: \"{scalar.Value}\" given, keys with values allowed");
        }
    }

    private static bool IsNull(YamlScalarNode scalar) =>
        scalar.Style == ScalarStyle.Plain && scalar.Value is null or "" or "~" or "null";

    private static string Join(string path, string key) => path.Length == 0 ? key : ConfigurationPath.Combine(path, key);
}
