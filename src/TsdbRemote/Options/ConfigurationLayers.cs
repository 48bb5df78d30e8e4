namespace TsdbRemote.Options;

/// <summary>Where options come from; a later layer wins over an earlier one.</summary>
/// <remarks>
/// 1. <c>appsettings.json</c> beside the program, then in the working directory. 2. the YAML file of <c>--config</c>. 3. environment variables
/// that start with <c>TSDB_REMOTE__</c>, such as <c>TSDB_REMOTE__STORAGE__DATA_DIR</c>; <c>ASPNETCORE_URLS</c> too. 4. the command line, such as
/// <c>--storage:data_dir=/srv/tsdb</c>. Nothing is reloaded while the program runs.
/// </remarks>
internal static class ConfigurationLayers
{
    /// <summary>Where the server listens unless it is told otherwise.</summary>
    public const string DefaultUrls = "http://localhost:9201";

    /// <summary>Short names on the command line.</summary>
    private static readonly Dictionary<string, string> Switches = new() { ["--web-config"] = "http:web_config" };

    private const string EnvironmentPrefix = "TSDB_REMOTE__";

    /// <summary>Replaces all sources of a configuration by ours.</summary>
    /// <exception cref="OptionsException">The command line is malformed.</exception>
    /// <exception cref="InvalidDataException">A file cannot be parsed.</exception>
    /// <exception cref="FileNotFoundException">There is no file of the name that <c>--config</c> gives.</exception>
    public static void Apply(IConfigurationBuilder configuration, string[] args)
    {
        CheckCommandLine(args);
        string? config = new ConfigurationBuilder().AddEnvironmentVariables(EnvironmentPrefix).AddCommandLine(args).Build()["config"];
        configuration.Sources.Clear();
        configuration.AddInMemoryCollection([new KeyValuePair<string, string?>("urls", DefaultUrls)]);
        configuration.AddJsonFile(Path.Combine(AppContext.BaseDirectory, "appsettings.json"), optional: true, reloadOnChange: false);
        configuration.AddJsonFile(Path.GetFullPath("appsettings.json"), optional: true, reloadOnChange: false);
        if (config is not null)
        {
            var yaml = new YamlSource { Path = Path.GetFullPath(config), Optional = false };
            yaml.ResolveFileProvider();
            configuration.Add(yaml);
        }

        // Of the framework's own variables only the addresses: the rest of that prefix is none of our keys.
        if (Environment.GetEnvironmentVariable("ASPNETCORE_URLS") is { Length: > 0 } urls)
            configuration.AddInMemoryCollection([new KeyValuePair<string, string?>("urls", urls)]);

        configuration.AddEnvironmentVariables(EnvironmentPrefix);
        configuration.AddCommandLine(args, Switches);
    }

    /// <summary>The framework ignores what it cannot pair; a start with half of its options would be worse than none.</summary>
    private static void CheckCommandLine(string[] args)
    {
        var problems = new List<string>();
        for (int i = 0; i < args.Length; i++)
        {
            string arg = args[i];
            if (!arg.StartsWith("--", StringComparison.Ordinal)) problems.Add($"\"{arg}\" given on the command line, --key=value allowed");
            else if (arg.AsSpan(0, KeyLength(arg)).Contains('.')) problems.Add($"{arg}: keys are joined with ':' on the command line, as in --storage:data_dir=DIR");
            else if (!arg.Contains('=', StringComparison.Ordinal) && !HasValue(args, ++i)) problems.Add($"{arg}: no value given; write {arg}=value");
        }

        if (problems.Count > 0) throw new OptionsException(problems);
    }

    private static int KeyLength(string arg) => arg.IndexOf('=', StringComparison.Ordinal) is >= 0 and int at ? at : arg.Length;

    private static bool HasValue(string[] args, int at) => at < args.Length && !args[at].StartsWith("--", StringComparison.Ordinal);
}
