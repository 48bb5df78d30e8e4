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

    /// <summary>Paths of all options and sections, in the order in which the records declare them.</summary>
    private static readonly string[] Known = [.. Paths(typeof(TsdbRemoteOptions), "")];

    private static readonly HashSet<string> KnownSet = new(Known, StringComparer.OrdinalIgnoreCase);

    /// <summary>Reads the options.</summary>
    /// <exception cref="OptionsException">A key is unknown, a value is no value of its kind or out of range.</exception>
    public static TsdbRemoteOptions Read(IConfiguration configuration)
    {
        var problems = new List<string>();
        foreach (IConfigurationSection child in configuration.GetChildren()) CheckKeys(child, problems);
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

    private static IEnumerable<string> Paths(Type record, string path)
    {
        foreach (OptionProperty property in OptionProperty.Of(record))
        {
            string at = Join(path, property.Key);
            yield return at;
            if (!property.IsSection) continue;
            foreach (string below in Paths(property.Type, at)) yield return below;
        }
    }

    private static void CheckKeys(IConfigurationSection section, List<string> problems)
    {
        string path = section.Path.Replace(ConfigurationPath.KeyDelimiter, ".", StringComparison.Ordinal);
        if (FrameworkKeys.Contains(path, StringComparer.OrdinalIgnoreCase)) return;
        if (!KnownSet.Contains(path))
        {
            // Never the value: it may be a secret that was meant for something else.
            problems.Add($"{path}: {(section.Value is null ? "a section" : "a value")} given, unknown; did you mean {Nearest(path)}?");
            return;
        }

        foreach (IConfigurationSection child in section.GetChildren()) CheckKeys(child, problems);
    }

    /// <summary>The known path that the fewest edits lead to; of several, the first.</summary>
    private static string Nearest(string path)
    {
        string given = path.ToLowerInvariant();
        var row = new int[Known.Max(static key => key.Length) + 1];
        string nearest = Known[0];
        int fewest = int.MaxValue;
        foreach (string key in Known)
        {
            int edits = Distance(given, key, row, fewest);
            if (edits < fewest) (nearest, fewest) = (key, edits);
        }

        return nearest;
    }

    /// <summary>Edits between two texts: insertions, deletions, replacements (Levenshtein 1965).</summary>
    /// <param name="left">One text.</param>
    /// <param name="right">The other.</param>
    /// <param name="row">Space for one more number than <paramref name="right"/> has characters.</param>
    /// <param name="enough">Where there are that many or more, their number does not matter: most keys are told to be far off by their first characters.</param>
    private static int Distance(string left, string right, Span<int> row, int enough)
    {
        // Each character that one has more than the other is an edit.
        if (Math.Abs(left.Length - right.Length) >= enough) return enough;
        for (int j = 0; j <= right.Length; j++) row[j] = j;
        for (int i = 1; i <= left.Length; i++)
        {
            int diagonal = row[0];
            int fewestOfRow = row[0] = i;
            for (int j = 1; j <= right.Length; j++)
            {
                int replaced = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, 1 + Math.Min(row[j], row[j - 1]));
                fewestOfRow = Math.Min(fewestOfRow, row[j]);
            }

            // No number of a later row is less than all of this one.
            if (fewestOfRow >= enough) return enough;
        }

        return row[right.Length];
    }

    private static string Join(string path, string key) => path.Length == 0 ? key : $"{path}.{key}";
}
