using System.Text;

namespace TsdbRemote.Tests;

/// <summary>One command of a script.</summary>
/// <param name="Name">First word of its first line.</param>
/// <param name="Words">Words behind it without an equals sign.</param>
/// <param name="Options">Words behind it of the form key=value.</param>
/// <param name="Input">Lines between the first one and the dashes.</param>
internal sealed record ScriptCommand(string Name, string[] Words, IReadOnlyDictionary<string, string> Options, string[] Input);

/// <summary>Tests that are text: command, input, <c>----</c>, expected output, an empty line; lines that begin with # are for people.</summary>
/// <remarks>With <c>TSDB_REMOTE_REWRITE_GOLDEN=1</c> the outputs are written anew: a change of behaviour is then a diff to read.</remarks>
internal static class DataDriven
{
    private const string Dashes = "----";

    /// <summary>Runs a script of <c>Data/</c> from its first command to its last, and compares each output with what stands there.</summary>
    public static void Run(string name, Func<ScriptCommand, string> execute)
    {
        string path = Repository.TestData(name);
        string[] lines = File.ReadAllText(path).ReplaceLineEndings("\n").TrimEnd('\n').Split('\n');
        var actual = new StringBuilder();
        int at = 0;
        while (at < lines.Length)
        {
            if (lines[at].Length == 0 || lines[at][0] == '#')
            {
                actual.Append(lines[at++]).Append('\n');
                continue;
            }

            int dashes = Array.IndexOf(lines, Dashes, at);
            Assert.True(dashes > at, $"{path}:{at + 1}: no {Dashes} behind the command");
            string[] command = lines[at..dashes];
            foreach (string line in command.Append(Dashes)) actual.Append(line).Append('\n');
            string output = execute(Parse(command)).TrimEnd('\n');
            if (output.Length > 0) actual.Append(output).Append('\n');
            int end = Array.IndexOf(lines, string.Empty, dashes);
            at = end < 0 ? lines.Length : end;
        }

        if (Environment.GetEnvironmentVariable("TSDB_REMOTE_REWRITE_GOLDEN") == "1") File.WriteAllText(path, actual.ToString());
        Assert.Equal(string.Join('\n', lines) + "\n", actual.ToString());
    }

    private static ScriptCommand Parse(string[] command)
    {
        string[] words = command[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        ILookup<bool, string> split = words[1..].ToLookup(static word => word.Contains('=', StringComparison.Ordinal));
        return new ScriptCommand(
            words[0], [.. split[false]], split[true].Select(static word => word.Split('=', 2)).ToDictionary(static pair => pair[0], static pair => pair[1]), command[1..]);
    }
}
