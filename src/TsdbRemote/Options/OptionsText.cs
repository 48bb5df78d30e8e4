using System.Text;
using System.Text.Json;

namespace TsdbRemote.Options;

/// <summary>Options as they hold, for people: each with its path, or as a file that would set them. None of them is secret.</summary>
internal static class OptionsText
{
    /// <summary>Path and value of every option.</summary>
    public static IReadOnlyDictionary<string, string> Flags(TsdbRemoteOptions options)
    {
        var flags = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach ((string path, OptionProperty property, object? value) in Walk(options, "")) flags[path] = property.Print(value);
        return flags;
    }

    /// <summary>A configuration file that sets every option to what it is.</summary>
    public static string Yaml(TsdbRemoteOptions options)
    {
        var text = new StringBuilder();
        string[] open = [];
        foreach ((string path, OptionProperty property, object? value) in Walk(options, ""))
        {
            string[] sections = path.Split('.')[..^1];
            int common = open.Zip(sections).TakeWhile(static pair => pair.First == pair.Second).Count();
            for (int depth = common; depth < sections.Length; depth++) AppendIndent(text, depth).Append(sections[depth]).Append(":\n");
            open = sections;
            string printed = property.Print(value);
            AppendIndent(text, sections.Length).Append(property.Key).Append(": ").Append(value is string ? JsonSerializer.Serialize(printed) : printed).Append('\n');
        }

        return text.ToString();
    }

    private static StringBuilder AppendIndent(StringBuilder text, int depth) => text.Append(' ', 2 * depth);

    /// <summary>The options of a record, those that are no sections first.</summary>
    private static IEnumerable<(string Path, OptionProperty Property, object? Value)> Walk(object record, string prefix)
    {
        foreach (OptionProperty property in OptionProperty.Of(record.GetType()).OrderBy(static property => property.IsSection))
        {
            object? value = property.Get(record);
            if (!property.IsSection)
            {
                yield return (prefix + property.Key, property, value);
                continue;
            }

            foreach ((string, OptionProperty, object?) option in Walk(value!, $"{prefix}{property.Key}.")) yield return option;
        }
    }
}
