using System.Runtime.InteropServices;

namespace TsdbRemote.Verbs;

/// <summary>Prints what this build is.</summary>
internal static class VersionVerb
{
    /// <summary>Prints one line.</summary>
    public static int Run()
    {
        string revision = ProgramVersion.Revision.Length == 0 ? "" : $" ({ProgramVersion.Revision})";
        Console.WriteLine($"TsdbRemote {ProgramVersion.Number}{revision} on {RuntimeInformation.FrameworkDescription}");
        return 0;
    }
}
