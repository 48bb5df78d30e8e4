namespace TsdbRemote;

/// <summary>The program's entry point: picks the verb; nothing else.</summary>
public static class Program
{
    /// <summary>Runs the verb named by the first argument.</summary>
    public static int Main(string[] args) => args.Length;
}
