using TsdbRemote.Verbs;

namespace TsdbRemote;

/// <summary>The program's entry point: picks the verb; nothing else.</summary>
public sealed class Program
{
    private Program()
    {
    }

    /// <summary>Runs the verb named by the first argument; <c>serve</c> if it names none.</summary>
    /// <returns>The process' exit code: 0 success, 1 failure, 2 the call was wrong.</returns>
    public static int Main(string[] args) => args switch
    {
        ["serve", .. string[] rest] => ServeVerb.Run(rest),
        ["healthcheck", .. string[] rest] => HealthcheckVerb.Run(rest),
        ["verify", .. string[] rest] => VerifyVerb.Run(rest),
        ["torture", .. string[] rest] => TortureVerb.Run(rest),
        ["version" or "--version"] => VersionVerb.Run(),
        ["help" or "--help" or "-h"] => HelpVerb.Run(),
        _ => ServeVerb.Run(args),
    };
}
