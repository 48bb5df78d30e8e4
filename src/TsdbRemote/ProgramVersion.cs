using System.Reflection;

namespace TsdbRemote;

/// <summary>What this build calls itself.</summary>
internal static class ProgramVersion
{
    private static readonly string[] Parts = (typeof(ProgramVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()
        ?.InformationalVersion ?? "0.0.0").Split('+', 2);

    /// <summary>The version, such as <c>0.1.0</c>.</summary>
    public static string Number => Parts[0];

    /// <summary>The commit it was built from; empty where the build knew none.</summary>
    public static string Revision => Parts.Length > 1 ? Parts[1] : "";
}
