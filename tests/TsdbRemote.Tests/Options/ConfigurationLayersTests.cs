using Microsoft.Extensions.Configuration;
using TsdbRemote.Options;

namespace TsdbRemote.Tests.Options;

/// <summary>Environment variables belong to the process: these tests run while no other does.</summary>
[CollectionDefinition(nameof(ProcessEnvironment), DisableParallelization = true)]
public sealed class ProcessEnvironment;

[Collection(nameof(ProcessEnvironment))]
public sealed class ConfigurationLayersTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("tsdb-options-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void The_example_file_names_every_option_with_its_default()
    {
        ConfigurationManager configuration = Apply("--config", ExampleFile());
        Assert.Equal(new TsdbRemoteOptions(), OptionsChecks.Read(configuration));
        Assert.All(
            OptionsChecks.Print(new TsdbRemoteOptions()),
            option => Assert.True(configuration[option.Path.Replace('.', ':')] is not null, $"{option.Path} is not in the file"));
        Assert.Equal(ConfigurationLayers.DefaultUrls, configuration["urls"]);
    }

    [Fact]
    public void The_command_line_wins_over_the_environment_and_that_over_the_file()
    {
        string yaml = Yaml("storage: { data_dir: a, wal: { sync_interval: 2s }, lsm: { stripes: 2 } }");
        using var environment = new Variables(("TSDB_REMOTE__STORAGE__DATA_DIR", "b"), ("TSDB_REMOTE__STORAGE__WAL__SYNC_INTERVAL", "3s"));
        TsdbRemoteOptions options = OptionsChecks.Read(Apply("--config", yaml, "--storage:data_dir=c"));
        Assert.Equal(("c", 3_000L, 2), (options.Storage.DataDir, options.Storage.Wal.SyncInterval.Milliseconds, options.Storage.Lsm.Stripes));
    }

    [Fact]
    public void The_file_can_be_named_in_the_environment()
    {
        using var environment = new Variables(("TSDB_REMOTE__CONFIG", Yaml("storage: { data_dir: named }")));
        Assert.Equal("named", OptionsChecks.Read(Apply()).Storage.DataDir);
    }

    [Fact]
    public void An_empty_section_or_value_of_the_file_means_the_default() =>
        Assert.Equal(new TsdbRemoteOptions(), OptionsChecks.Read(Apply("--config", Yaml("storage:\n  data_dir:\n  lsm: ~\nadmin: {}\n"))));

    [Theory]
    [InlineData("storage: [1, 2]", "storage.0: a value given, unknown")]
    [InlineData("storage: { data_dir: [x] }", "storage.data_dir.0: a value given, unknown")]
    public void A_list_where_keys_belong_stops_the_start(string yaml, string problem) =>
        Assert.Contains(problem, Assert.Throws<OptionsException>(() => OptionsChecks.Read(Apply("--config", Yaml(yaml)))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("storage: {", "line ")]
    [InlineData("a: 1\na: 2", "line 2")]
    [InlineData("just a text", "keys with values allowed")]
    [InlineData("? [a]\n: b\n", "options.yaml, line 1: a section or a list given as a key, a name allowed")]
    [InlineData("logging: &x { a: 1, b: *x }\n", "an alias inside what it stands for")]
    [InlineData("a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n", "more than 2000 keys and values, those of aliases included")]
    [InlineData("a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", "nested too deeply, 16 levels allowed")]
    public void A_file_that_is_no_YAML_mapping_is_refused_with_the_place(string yaml, string where)
    {
        InvalidDataException refused = Assert.Throws<InvalidDataException>(() => Apply("--config", Yaml(yaml)));
        Assert.Contains(where, refused.InnerException!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_not_there_is_refused_by_name() =>
        Assert.Contains("nowhere.yaml", Assert.Throws<FileNotFoundException>(() => Apply("--config", Path.Combine(_directory, "nowhere.yaml"))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("--storage:data_dir")]
    [InlineData("data")]
    [InlineData("-storage:data_dir=x")]
    public void A_malformed_command_line_is_refused_rather_than_ignored(string arg) =>
        Assert.Contains(arg, Assert.Throws<OptionsException>(() => Apply(arg, "--urls", "http://localhost:1")).Message, StringComparison.Ordinal);

    private static ConfigurationManager Apply(params string[] args)
    {
        var configuration = new ConfigurationManager();
        ConfigurationLayers.Apply(configuration, args);
        return configuration;
    }

    private static string ExampleFile()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "TsdbRemote.sln"))) directory = directory.Parent;
        return Path.Combine(directory!.FullName, "config", "tsdb-remote.yaml");
    }

    private string Yaml(string text)
    {
        string path = Path.Combine(_directory, "options.yaml");
        File.WriteAllText(path, text);
        return path;
    }

    /// <summary>Environment variables for the length of a test.</summary>
    private sealed class Variables : IDisposable
    {
        private readonly (string Name, string Value)[] _variables;

        public Variables(params (string Name, string Value)[] variables)
        {
            _variables = variables;
            foreach ((string name, string value) in variables) Environment.SetEnvironmentVariable(name, value);
        }

        public void Dispose()
        {
            foreach ((string name, string _) in _variables) Environment.SetEnvironmentVariable(name, null);
        }
    }
}
