using System.Globalization;

namespace TsdbRemote.Benchmarks;

/// <summary>Arguments of a verb: pairs of <c>--name value</c> and flags, in any order. One that was not asked for is an error, when all are read.</summary>
internal sealed class VerbArguments(string[] arguments)
{
    private readonly HashSet<string> _known = [];
    private readonly HashSet<string> _flags = [];

    /// <summary>A whole number.</summary>
    public int Number(string name, int fallback) =>
        int.Parse(Text(name, fallback.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);

    /// <summary>A text.</summary>
    public string Text(string name, string fallback)
    {
        _known.Add(name);
        int at = Array.IndexOf(arguments, name);
        return at >= 0 && at + 1 < arguments.Length ? arguments[at + 1] : fallback;
    }

    /// <summary>Whether a name stands there that has no value.</summary>
    public bool Flag(string name)
    {
        _flags.Add(name);
        return arguments.Contains(name);
    }

    /// <summary>Path of the server's assembly: that of a release build of this repository, unless <c>--assembly</c> names another.</summary>
    public string ServerAssembly()
    {
        string assembly = Text("--assembly", "");
        assembly = Path.GetFullPath(assembly.Length > 0 ? assembly : Path.Combine(Repository(), "src/TsdbRemote/bin/Release/net10.0/TsdbRemote.dll"));
        return File.Exists(assembly) ? assembly : throw new FileNotFoundException($"{assembly}: build the server first (dotnet build -c Release)");
    }

    /// <summary>Ends with an error if there is something that nobody has asked for.</summary>
    /// <exception cref="ArgumentException">There is.</exception>
    public void RefuseOthers()
    {
        for (int i = 0; i < arguments.Length; i += _flags.Contains(arguments[i]) ? 1 : 2)
        {
            if (!_known.Contains(arguments[i]) && !_flags.Contains(arguments[i])) throw new ArgumentException($"unknown argument {arguments[i]}; known are {string.Join(", ", _known.Concat(_flags))}");
        }
    }

    private static string Repository()
    {
        string root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "TsdbRemote.sln"))) root = Path.GetDirectoryName(root) ?? throw new FileNotFoundException("run from the repository, or give --assembly");
        return root;
    }
}
