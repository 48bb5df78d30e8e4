namespace TsdbRemote.EndToEnd.Support;

/// <summary>A test against real programs; skipped, saying what to run, where they are not on PATH.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class PeerFactAttribute : FactAttribute
{
    public PeerFactAttribute(params string[] programs)
    {
        string[] missing = [.. programs.Where(static program => Programs.Find(program) is null)];
        if (missing.Length > 0) Skip = $"not on PATH: {string.Join(", ", missing)}; the README says how to get the peers";
    }
}

/// <summary>Finds programs on PATH.</summary>
public static class Programs
{
    public static string? Find(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists);

    public static string Get(string name) => Find(name) ?? throw new FileNotFoundException($"{name} is not on PATH");
}
