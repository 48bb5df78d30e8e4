using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Verbs;

/// <summary>Makes a new manifest for a data directory whose own is damaged or gone, of what is there.</summary>
internal static class RepairVerb
{
    private const int Repaired = 0;
    private const int CannotRepair = 1;
    private const int WrongCall = 2;
    private const string Rebuild = "--rebuild-manifest";
    private const string BlockDuration = "--block-duration=";

    /// <summary>Runs it.</summary>
    /// <returns>0 if the manifest was rebuilt, 1 if it cannot be, and nothing is lost, 2 if the call was wrong.</returns>
    public static int Run(string[] args) => Run(args, Console.Out, Console.Error);

    /// <summary>The same with its streams, for tests.</summary>
    internal static int Run(string[] args, TextWriter output, TextWriter errors)
    {
        string[] durations = [.. args.Where(static arg => arg.StartsWith(BlockDuration, StringComparison.Ordinal))];
        string[] words = [.. args.Where(arg => arg != Rebuild && !durations.Contains(arg))];
        Duration window = default;
        bool isRight = args.Contains(Rebuild) && words is [{ Length: > 0 } given] && !given.StartsWith('-')
            && durations.Length <= 1 && (durations.Length == 0 || (Duration.TryParse(durations[0][BlockDuration.Length..], out window) && window.Milliseconds > 0));
        if (!isRight)
        {
            errors.WriteLine($"repair takes {Rebuild}, one directory, and {BlockDuration}2h where nothing that is there says how long a window is: TsdbRemote repair {Rebuild} DIR");
            return WrongCall;
        }

        string directory = Path.TrimEndingDirectorySeparator(words[0]);
        if (!Directory.Exists(directory))
        {
            errors.WriteLine($"{directory} is no directory");
            return WrongCall;
        }

        try
        {
            Tell(ManifestRebuild.Run(new LocalFileSystem(mmap: false), directory, durations.Length == 0 ? null : window.Milliseconds), output);
            output.WriteLine($"MANIFEST is rebuilt. Verify it before a server starts: TsdbRemote verify {directory}");
            return Repaired;
        }
        catch (CannotRebuildException refused)
        {
            errors.WriteLine($"{refused.Message}. Nothing was changed");
            return CannotRepair;
        }
        catch (DirectoryLockedException held)
        {
            errors.WriteLine($"{held.Message}. Nothing was changed");
            return CannotRepair;
        }
        catch (ManifestUncertainException uncertain)
        {
            errors.WriteLine($"{uncertain.Message}. Nothing is lost; call it again: it says so if the manifest is whole");
            return CannotRepair;
        }
        catch (DiskException refused)
        {
            errors.WriteLine($"{refused.Message}. The manifest is not rebuilt, and nothing is lost: what was put aside by then is in quarantine/. Call it again once the disk does");
            return CannotRepair;
        }
    }

    private static void Tell(RebuiltManifest rebuilt, TextWriter output)
    {
        foreach (string from in rebuilt.From) output.WriteLine(from);
        if (rebuilt.Aside.Count > 0) output.WriteLine("Put aside, and never deleted by itself:");
        foreach (string aside in rebuilt.Aside) output.WriteLine($"  {aside}");
        output.WriteLine(rebuilt.Doubts.Count > 0 ? "What may be lost, or come back (each start tells it from now on):" : "Nothing is lost as far as can be known.");
        foreach (string doubt in rebuilt.Doubts) output.WriteLine($"  {doubt}");
    }
}
