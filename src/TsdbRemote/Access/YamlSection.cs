using TsdbRemote.Options;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace TsdbRemote.Access;

/// <summary>A mapping of a file that may hold secrets: what is wrong with it is told by path and kind, never by value.</summary>
/// <remarks>Problems go to a list, so that all of them are told at once. Not thread-safe.</remarks>
internal sealed class YamlSection
{
    private readonly string _path;
    private readonly YamlMappingNode _node;
    private readonly List<string> _problems;

    private YamlSection(string path, YamlMappingNode node, List<string> problems)
    {
        _path = path;
        _node = node;
        _problems = problems;
    }

    /// <summary>The keys with their values as text, in the order of the file. What is no text is a problem.</summary>
    public IEnumerable<(string Key, string Text)> Texts()
    {
        foreach ((YamlNode key, YamlNode value) in _node.Children)
        {
            if (value is YamlScalarNode scalar) yield return (NameOf(key), TextOf(scalar) ?? "");
            else Refuse(NameOf(key), $"{KindOf(value)} given, a text allowed");
        }
    }

    /// <summary>The keys with their values as lists.</summary>
    public IEnumerable<(string Key, IReadOnlyList<string> Texts)> Lists() => _node.Children.Keys.Select(NameOf).Select(key => (key, List(key)));

    /// <summary>Parses a document.</summary>
    /// <returns>Its mapping, which may be empty; null if it is broken, which is then a problem.</returns>
    public static YamlSection? Parse(string text, List<string> problems)
    {
        try
        {
            IList<YamlDocument> documents = YamlText.Load(text);
            if (documents.Count == 0) return new YamlSection("", [], problems);
            if (documents.Count == 1 && documents[0].RootNode is YamlMappingNode root) return new YamlSection("", root, problems);
            problems.Add("not one YAML document of keys with values");
        }
        catch (BrokenYamlException broken)
        {
            // Its own words may repeat what stands there.
            problems.Add(broken.IsTooDeep ? $"line {broken.Line}: {broken.Message}" : $"line {broken.Line}, column {broken.Column}: no YAML, or a key given twice");
        }

        return null;
    }

    /// <summary>Says what is wrong with a key.</summary>
    public void Refuse(string key, string what) => _problems.Add($"{Join(key)}: {what}");

    /// <summary>Says what is wrong with keys that are not among the known ones.</summary>
    public void RefuseOthers(params string[] known)
    {
        foreach ((YamlNode node, YamlNode value) in _node.Children)
        {
            string key = NameOf(node);
            if (!known.Contains(key, StringComparer.Ordinal)) Refuse(key, $"{KindOf(value)} given, unknown; allowed: {string.Join(", ", known)}");
        }
    }

    /// <summary>True if the key is there with any value.</summary>
    public bool Has(string key) => Find(key) is not null;

    /// <summary>True if the key is there with nothing behind it.</summary>
    public bool IsEmpty(string key) => !Has(key) && _node.Children.Keys.Any(name => NameOf(name) == key);

    /// <summary>The mapping under a key; null if there is none.</summary>
    public YamlSection? Section(string key)
    {
        switch (Find(key))
        {
            case null: return null;
            case YamlMappingNode mapping: return new YamlSection(Join(key), mapping, _problems);
            case { } other:
                Refuse(key, $"{KindOf(other)} given, a section with keys of its own allowed");
                return null;
        }
    }

    /// <summary>The text under a key; null if there is none, or an empty one.</summary>
    public string? Text(string key)
    {
        YamlNode? found = Find(key);
        if (found is null or YamlScalarNode) return found is YamlScalarNode { Value.Length: > 0 } scalar ? scalar.Value : null;
        Refuse(key, $"{KindOf(found)} given, a text allowed");
        return null;
    }

    /// <summary>The truth under a key.</summary>
    public bool Flag(string key, bool otherwise)
    {
        string? text = Text(key);
        if (text is null or "true" or "false") return text is null ? otherwise : text == "true";
        Refuse(key, "a value given, true or false allowed");
        return otherwise;
    }

    /// <summary>The texts of the list under a key; empty if there is none.</summary>
    public IReadOnlyList<string> List(string key)
    {
        YamlNode? found = Find(key);
        if (found is null) return [];
        if (found is YamlSequenceNode list && list.Children.All(static child => child is YamlScalarNode { Value.Length: > 0 }))
            return [.. list.Children.Select(static child => ((YamlScalarNode)child).Value!)];
        Refuse(key, $"{KindOf(found)} given, a list of texts allowed");
        return [];
    }

    private static string? TextOf(YamlScalarNode scalar) => scalar.Style == ScalarStyle.Plain && scalar.Value is null or "" or "~" or "null" ? null : scalar.Value;

    private static string NameOf(YamlNode key) => key is YamlScalarNode { Value: { } name } ? name : "(a key that is no text)";

    private static string KindOf(YamlNode node) => node switch
    {
        YamlMappingNode => "a section",
        YamlSequenceNode => "a list",
        _ => "a value",
    };

    private YamlNode? Find(string key)
    {
        foreach ((YamlNode name, YamlNode value) in _node.Children)
        {
            if (NameOf(name) == key) return value is YamlScalarNode scalar && TextOf(scalar) is null ? null : value;
        }

        return null;
    }

    private string Join(string key) => _path.Length == 0 ? key : $"{_path}.{key}";
}
