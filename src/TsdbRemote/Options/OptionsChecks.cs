using TsdbRemote.Storage.Options;

namespace TsdbRemote.Options;

/// <summary>The options that were given do not hold; each problem names the path, what was given and what is allowed.</summary>
public sealed class OptionsException(IReadOnlyList<string> problems) : Exception("the options do not hold:\n  " + string.Join("\n  ", problems))
{
    /// <summary>The problems, all of them.</summary>
    public IReadOnlyList<string> Problems { get; } = problems;
}

/// <summary>Turns configuration into options, or into all problems at once.</summary>
/// <remarks>
/// The framework's binder stops at the first wrong value, and its check for unknown keys compares property names, so that it would refuse every
/// snake_case key. Hence our own walk over the records: the tree of records is the list of known keys.
/// </remarks>
internal static class OptionsChecks
{
    /// <summary>Keys that the framework reads.</summary>
    private static readonly string[] FrameworkKeys =
        ["logging", "urls", "http_ports", "https_ports", "config", "environment", "contentroot", "applicationname", "hostbuilder"];

    /// <summary>Reads the options.</summary>
    /// <exception cref="OptionsException">A key is unknown, a value is no value of its kind or out of range.</exception>
    public static TsdbRemoteOptions Read(IConfiguration configuration)
    {
        var problems = new List<string>();
        var known = new List<string>();
        CollectKeys(typeof(TsdbRemoteOptions), "", known);
        foreach (IConfigurationSection child in configuration.GetChildren()) CheckKeys(child, known, problems);
        var options = (TsdbRemoteOptions)Bind(typeof(TsdbRemoteOptions), configuration, "", problems);
        problems.AddRange(options.Problems(""));
        return problems.Count == 0 ? options : throw new OptionsException(problems);
    }

    /// <summary>Every option of the tree with its path and its value as text; how tests compare the example file with the code.</summary>
    public static IEnumerable<(string Path, string Value)> Print(IOptionsSection section, string path = "")
    {
        foreach (OptionProperty property in OptionProperty.Of(section.GetType()))
        {
            string at = Join(path, property.Key);
            object? value = property.Get(section);
            if (value is IOptionsSection nested)
            {
                foreach ((string Path, string Value) option in Print(nested, at)) yield return option;
            }
            else
            {
                yield return (at, property.Print(value));
            }
        }
    }

    private static object Bind(Type record, IConfiguration section, string path, List<string> problems)
    {
        object options = Activator.CreateInstance(record)!;
        foreach (OptionProperty property in OptionProperty.Of(record))
        {
            IConfigurationSection child = section.GetSection(property.Key);
            string at = Join(path, property.Key);
            if (property.IsSection)
            {
                property.Set(options, Bind(property.Type, child, at, problems));
                if (!string.IsNullOrEmpty(child.Value)) problems.Add($"{at}: \"{child.Value}\" given, a section with keys of its own allowed");
            }
            else if (child.Value is { } text)
            {
                if (property.TryConvert(text, out object? value)) property.Set(options, value);
                else problems.Add($"{at}: \"{text}\" given, {property.Allowed} allowed");
            }
        }

        return options;
    }

    private static void CollectKeys(Type record, string path, List<string> keys)
    {
        foreach (OptionProperty property in OptionProperty.Of(record))
        {
            string at = Join(path, property.Key);
            keys.Add(at);
            if (property.IsSection) CollectKeys(property.Type, at, keys);
        }
    }

    private static void CheckKeys(IConfigurationSection section, List<string> known, List<string> problems)
    {
        string path = section.Path.Replace(ConfigurationPath.KeyDelimiter, ".", StringComparison.Ordinal);
        if (FrameworkKeys.Contains(path, StringComparer.OrdinalIgnoreCase)) return;
        if (!known.Contains(path, StringComparer.OrdinalIgnoreCase))
        {
            // Never the value: it may be a secret that was meant for something else.
            problems.Add($"{path}: {(section.Value is null ? "a section" : "a value")} given, unknown; did you mean {Nearest(path, known)}?");
            return;
        }

        foreach (IConfigurationSection child in section.GetChildren()) CheckKeys(child, known, problems);
    }

    private static string Nearest(string path, List<string> known) => known.MinBy(key => Distance(path.ToLowerInvariant(), key))!;

    /// <summary>Edits between two texts: insertions, deletions, replacements (Levenshtein 1965).</summary>
    private static int Distance(string left, string right)
    {
        int[] row = [.. Enumerable.Range(0, right.Length + 1)];
        for (int i = 1; i <= left.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= right.Length; j++)
            {
                int replaced = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, 1 + Math.Min(row[j], row[j - 1]));
            }
        }

        return row[right.Length];
    }

    private static string Join(string path, string key) => path.Length == 0 ? key : $"{path}.{key}";
}
