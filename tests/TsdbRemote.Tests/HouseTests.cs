using System.Text.RegularExpressions;

namespace TsdbRemote.Tests;

/// <summary>
/// Draws the floors of the house from the sources: who may use whom, and what may be done where. When it fails, ask whether the picture or
/// the line is wrong.
/// </summary>
public partial class HouseTests
{
    private const string Root = "";

    /// <summary>Per project, from the top: each floor uses only floors below it. Folders on one floor do not know each other.</summary>
    private static readonly Dictionary<string, string[][]> Floors = new()
    {
        ["TsdbRemote"] = [[Root], ["Verbs"], ["Torture"], ["Endpoints", "StoreApi", "Shipping"], ["Otlp", "Access"], ["Telemetry"], ["Options"]],
        ["TsdbRemote.Storage"] =
        [
            ["Engine"], ["Verification"], ["Compaction"], ["Reading"], ["Deletes"], ["BlockStorage"], ["Levels"], ["SSTables", "MemTables", "Exemplars"], ["Series", "Wal"], ["Framing", "Wire"],
            ["Options"], [Root],
        ],
        ["TsdbRemote.Blocks"] = [[Root], ["Verification"], ["Format"], ["Chunks"], ["Model"], ["Encoding"], ["Files"]],
    };

    /// <summary>Projects from the top: each uses only those behind it.</summary>
    private static readonly string[] Projects = ["TsdbRemote", "TsdbRemote.Storage", "TsdbRemote.Blocks"];

    /// <summary>
    /// What is done in a few places only: pattern, places where it is allowed, what to do elsewhere. Comments do not count.
    /// </summary>
    private static readonly (Regex Pattern, string[] Allowed, string Instead)[] Reserved =
    [
        (Threads(), ["TsdbRemote/", "TsdbRemote.Storage/Engine/"], "only the engine and the host start threads and tasks"),
        (Clocks(), ["TsdbRemote/", "TsdbRemote.Storage/Engine/"], "time comes in as a number or a TimeProvider"),
        (NativeCalls(), ["TsdbRemote.Blocks/Files/"], "system calls live in Files"),
        (AsyncVoid(), [], "nobody can await it or see it fail"),
        (Regions(), [], "a region wants to be a type of its own"),
    ];

    [Fact]
    public void Each_floor_uses_only_floors_below_it()
    {
        List<string> problems = [.. Sources().SelectMany(static source => FloorProblems(source.Path, source.Text))];
        Assert.True(problems.Count == 0, string.Join('\n', problems));
    }

    [Fact]
    public void Things_with_one_place_are_done_there_only()
    {
        List<string> problems = [.. Sources().SelectMany(static source => PlaceProblems(source.Path, source.Text))];
        Assert.True(problems.Count == 0, string.Join('\n', problems));
    }

    [Fact]
    public void The_sources_are_found() => Assert.Contains(Sources(), static source => source.Path == "TsdbRemote.Blocks/Chunks/XorChunk.cs");

    [Theory]
    [InlineData("TsdbRemote.Blocks/Model/X.cs", "using TsdbRemote.Blocks.Chunks;")]
    [InlineData("TsdbRemote.Blocks/Model/X.cs", "using TsdbRemote.Storage.Wire;")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "using TsdbRemote.Storage.Series;")]
    [InlineData("TsdbRemote.Storage/Wire/X.cs", "using TsdbRemote.Storage.MemTables;")]
    [InlineData("TsdbRemote.Storage/Wire/X.cs", "using static TsdbRemote.Storage.MemTables.MemTable;")]
    [InlineData("TsdbRemote.Storage/Wire/X.cs", "using M = TsdbRemote.Storage.MemTables.MemTable;")]
    [InlineData("TsdbRemote.Storage/Wire/X.cs", "class C { TsdbRemote.Storage.Engine.LsmEngine? engine; }")]
    [InlineData("TsdbRemote.Storage/Engine/X.cs", "using TsdbRemote.Endpoints;")]
    [InlineData("TsdbRemote/Options/X.cs", "using TsdbRemote.Telemetry;")]
    [InlineData("TsdbRemote.Storage/Attic/X.cs", "class C;")]
    public void A_line_that_climbs_is_found(string path, string text) => Assert.NotEmpty(FloorProblems(path, text));

    [Theory]
    [InlineData("TsdbRemote.Storage/Engine/X.cs", "using TsdbRemote.Storage.Wal;")]
    [InlineData("TsdbRemote.Storage/SSTables/X.cs", "using TsdbRemote.Blocks.Chunks;")]
    [InlineData("TsdbRemote.Storage/SSTables/X.cs", "using TsdbRemote.Protos.Tables;")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "using TsdbRemote.Storage;")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "/// <see cref=\"TsdbRemote.Storage.Engine.LsmEngine\"/>")]
    [InlineData("TsdbRemote/Endpoints/X.cs", "using TsdbRemote.Storage.Engine;")]
    [InlineData("TsdbRemote/Program.cs", "using TsdbRemote.Verbs;")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "char quote = '\"'; string name = \"TsdbRemote.Storage.Engine\";")]
    public void A_line_that_descends_is_fine(string path, string text) => Assert.Empty(FloorProblems(path, text));

    [Theory]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "Task.Run(Drain);")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "var thread = new Thread(Run);")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "Task.Factory.StartNew(Run);")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "ThreadPool.QueueUserWorkItem(Run);")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "long now = Stopwatch.GetTimestamp();")]
    [InlineData("TsdbRemote.Storage/Engine/X.cs", "[LibraryImport(\"libc\")]")]
    [InlineData("TsdbRemote/Endpoints/X.cs", "async void Handle() { }")]
    [InlineData("TsdbRemote/Endpoints/X.cs", "#region private")]
    [InlineData("TsdbRemote/Endpoints/X.cs", "// TODO: later")]
    public void A_thing_out_of_place_is_found(string path, string text) => Assert.NotEmpty(PlaceProblems(path, text));

    [Theory]
    [InlineData("TsdbRemote.Storage/Engine/X.cs", "var thread = new Thread(Run);")]
    [InlineData("TsdbRemote.Blocks/Files/X.cs", "[LibraryImport(\"libc\")]")]
    [InlineData("TsdbRemote.Storage/Wal/X.cs", "// no Task.Run here")]
    public void A_thing_in_its_place_is_fine(string path, string text) => Assert.Empty(PlaceProblems(path, text));

    private static IEnumerable<string> FloorProblems(string path, string text)
    {
        (string project, string folder) = Locate(path);
        int own = FloorOf(project, folder);
        if (own < 0) yield return $"{path}: the folder {folder} is on no floor of {project}; draw it in HouseTests and in the style page";
        foreach (Match match in Uses().Matches(CodeOnly(text)))
        {
            (string usedProject, string usedFolder) = Resolve(match.Groups["name"].Value);
            int projectStep = Array.IndexOf(Projects, usedProject) - Array.IndexOf(Projects, project);
            if (projectStep < 0) yield return $"{path} uses {match.Value}: {usedProject} stands above {project}";
            if (projectStep != 0 || usedFolder == folder) continue;
            if (FloorOf(usedProject, usedFolder) <= own) yield return $"{path} uses {match.Value}: {usedFolder} does not stand below {folder}";
        }
    }

    private static IEnumerable<string> PlaceProblems(string path, string text)
    {
        string code = CodeOnly(text);
        foreach ((Regex pattern, string[] allowed, string instead) in Reserved)
        {
            if (Array.Exists(allowed, place => path.StartsWith(place, StringComparison.Ordinal))) continue;
            Match match = pattern.Match(code);
            if (match.Success) yield return $"{path}: {match.Value}: {instead}";
        }

        Match reminder = Reminders().Match(text);
        if (reminder.Success) yield return $"{path}: {reminder.Value}: do it, or file an issue";
    }

    private static (string Project, string Folder) Locate(string path)
    {
        string[] parts = path.Split('/');
        return (parts[0], parts.Length > 2 ? parts[1] : Root);
    }

    /// <summary>
    /// A namespace or a type's full name → project and folder; of generated messages, the project that compiles them, root floor.
    /// </summary>
    private static (string Project, string Folder) Resolve(string name)
    {
        string[] parts = name.Split('.');
        string second = parts.Length > 1 ? parts[1] : Root;
        if (second == "Protos") return ("TsdbRemote.Storage", Root);
        if (second is not ("Storage" or "Blocks")) return ("TsdbRemote", FloorOf("TsdbRemote", second) < 0 ? Root : second);
        string project = $"TsdbRemote.{second}";
        string third = parts.Length > 2 ? parts[2] : Root;
        return (project, FloorOf(project, third) < 0 ? Root : third);
    }

    private static int FloorOf(string project, string folder) => Array.FindIndex(Floors[project], floor => floor.Contains(folder));

    private static string CodeOnly(string text) => CommentsAndStrings().Replace(text, "");

    private static IEnumerable<(string Path, string Text)> Sources()
    {
        string src = Path.Combine(Repository.Root, "src");
        return Directory.EnumerateFiles(src, "*.cs", SearchOption.AllDirectories)
            .Select(file => (Path: Path.GetRelativePath(src, file).Replace('\\', '/'), File: file))
            .Where(static source => !source.Path.Contains("/obj/", StringComparison.Ordinal) && !source.Path.Contains("/bin/", StringComparison.Ordinal))
            .Select(static source => (source.Path, File.ReadAllText(source.File)));
    }

    [GeneratedRegex(@"(?<![\w.])(?:global::)?(?<name>TsdbRemote(\.\w+)+)(?<!^\s*namespace\s.*)", RegexOptions.Multiline)]
    private static partial Regex Uses();

    [GeneratedRegex(@"'(?:\\.|[^'\\\n])'|""(?:\\.|[^""\\\n])*""|//.*$", RegexOptions.Multiline)]
    private static partial Regex CommentsAndStrings();

    [GeneratedRegex(@"\bTask\.Run\b|\bnew Thread\b|\bTask\.Factory\b|\bThreadPool\.(Unsafe)?Queue\w+")]
    private static partial Regex Threads();

    [GeneratedRegex(@"\bStopwatch\b|\bEnvironment\.TickCount(64)?\b|\bDateTime(Offset)?\.(Utc)?Now\b")]
    private static partial Regex Clocks();

    [GeneratedRegex(@"\[(LibraryImport|DllImport)\b")]
    private static partial Regex NativeCalls();

    [GeneratedRegex(@"\basync void\b")]
    private static partial Regex AsyncVoid();

    [GeneratedRegex(@"^\s*#region.*$", RegexOptions.Multiline)]
    private static partial Regex Regions();

    [GeneratedRegex(@"\b(TODO|FIXME|HACK)\b.*$", RegexOptions.Multiline)]
    private static partial Regex Reminders();
}
