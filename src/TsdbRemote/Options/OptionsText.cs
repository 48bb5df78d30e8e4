using System.Text;
using System.Text.Json;

namespace TsdbRemote.Options;

/// <summary>Options as they hold, for people: each with its path, or as a file that would set them. None of them is secret.</summary>
internal static class OptionsText
{
    /// <summary>Path and value of every option, ascending by path.</summary>
    public static IReadOnlyDictionary<string, string> Flags(TsdbRemoteOptions options) =>
        new SortedDictionary<string, string>(OptionsChecks.Print(options).ToDictionary(static option => option.Path, static option => option.Value), StringComparer.Ordinal);

    /// <summary>A configuration file that sets every option to what it is.</summary>
    public static string Yaml(TsdbRemoteOptions options)
    {
        var text = new StringBuilder();
        string[] open = [];
        foreach ((string path, string value) in OptionsChecks.Print(options))
        {
            string[] keys = path.Split('.');
            int common = open.Zip(keys[..^1]).TakeWhile(static pair => pair.First == pair.Second).Count();
            for (int depth = common; depth < keys.Length - 1; depth++) AppendIndent(text, depth).Append(keys[depth]).Append(":\n");
            AppendIndent(text, keys.Length - 1).Append(keys[^1]).Append(": ").Append(Scalar(value)).Append('\n');
            open = keys[..^1];
        }

        return text.ToString();
    }

    private static StringBuilder AppendIndent(StringBuilder text, int depth) => text.Append(' ', 2 * depth);

    // A JSON string is a YAML string.
    private static string Scalar(string value)
    {
        bool isPlain = value.Length > 0 && value.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '/');
        return isPlain ? value : JsonSerializer.Serialize(value);
    }
}
