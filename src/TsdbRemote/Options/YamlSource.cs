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
    // Far above what all options take; aliases of aliases would be flattened to any number, and one to a section that it stands in would never end.
    private const int MaxNodes = 2000;

    private int _nodes;

    /// <inheritdoc/>
    /// <exception cref="FormatException">Not YAML, or not one document that is a mapping; the message says where.</exception>
    public override void Load(Stream stream)
    {
        using var reader = new StreamReader(stream);
        Data = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        _nodes = 0;
        try
        {
            foreach (YamlDocument document in YamlText.Load(reader.ReadToEnd())) Flatten(document.RootNode, "", depth: 0);
        }
        catch (BrokenYamlException broken)
        {
            throw new FormatException($"{Source.Path}, line {broken.Line}, column {broken.Column}: {broken.Message}", broken);
        }
    }

    private void Flatten(YamlNode node, string path, int depth)
    {
        if (depth > YamlText.MaxDepth) throw new FormatException($"{Source.Path}, line {node.Start.Line}: nested more than {YamlText.MaxDepth} deep, or an alias inside what it stands for");
        if (++_nodes > MaxNodes) throw new FormatException($"{Source.Path}, line {node.Start.Line}: more than {MaxNodes} keys and values, those of aliases included");
        switch (node)
        {
            case YamlMappingNode mapping:
                foreach ((YamlNode key, YamlNode value) in mapping.Children) Flatten(value, Join(path, NameOf(key)), depth + 1);
                break;
            case YamlSequenceNode sequence:
                for (int i = 0; i < sequence.Children.Count; i++) Flatten(sequence.Children[i], Join(path, i.ToString(CultureInfo.InvariantCulture)), depth + 1);
                break;
            case YamlScalarNode scalar when path.Length > 0:
                Data[path] = IsNull(scalar) ? null : scalar.Value;
                break;
            case YamlScalarNode scalar when !IsNull(scalar):
                throw new FormatException($"{Source.Path}, line {node.Start.Line}: \"{scalar.Value}\" given, keys with values allowed");
        }
    }

    private string NameOf(YamlNode key) =>
        key is YamlScalarNode scalar ? scalar.Value ?? "" : throw new FormatException($"{Source.Path}, line {key.Start.Line}: a section or a list given as a key, a name allowed");

    private static bool IsNull(YamlScalarNode scalar) =>
        scalar.Style == ScalarStyle.Plain && scalar.Value is null or "" or "~" or "null";

    private static string Join(string path, string key) => path.Length == 0 ? key : ConfigurationPath.Combine(path, key);
}
