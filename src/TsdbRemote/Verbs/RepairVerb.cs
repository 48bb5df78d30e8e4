using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Verbs;

/// <summary>Makes a new manifest for a data directory whose own is damaged or gone, of what is there.</summary>
internal static class RepairVerb
{
    private const int Repaired = 0;
    private const int CannotRepair = 1;
    private const int WrongCall = 2;
    private const string BlockDuration = "--block-duration=";

    /// <summary>Runs it.</summary>
    /// <returns>0 if the manifest was rebuilt, 1 if it cannot be, and nothing was changed, 2 if the call was wrong.</returns>
    public static int Run(string[] args) => Run(args, Console.Out, Console.Error);

    /// <summary>The same with its streams, for tests.</summary>
    internal static int Run(string[] args, TextWriter output, TextWriter errors)
    {
        string[] words = [.. args.Where(static arg => !arg.StartsWith(BlockDuration, StringComparison.Ordinal))];
        Duration window = new StorageOptions().BlockDuration;
        bool isRight = words is [{ Length: > 0 } given] && !given.StartsWith('-')
            && Array.TrueForAll(args, arg => !arg.StartsWith(BlockDuration, StringComparison.Ordinal) || Duration.TryParse(arg[BlockDuration.Length..], out window));
        if (!isRight || window.Milliseconds < 1)
        {
            errors.WriteLine($"repair takes one directory, and {BlockDuration}2h where it was not written with the default: TsdbRemote repair DIR");
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
            RebuiltManifest rebuilt = ManifestRebuild.Run(new LocalFileSystem(mmap: false), directory, window.Milliseconds);
            foreach (string told in rebuilt.Told) output.WriteLine(told);
            output.WriteLine(FormattableString.Invariant(
                $"MANIFEST is rebuilt: {rebuilt.Manifest.Tables.Length} tables, {rebuilt.Manifest.Blocks.Length} blocks, {rebuilt.Manifest.Segments.Length} log segments. Verify it before a server starts: TsdbRemote verify {directory}"));
            return Repaired;
        }
        catch (Exception refused) when (refused is CannotRebuildException or DirectoryLockedException or DiskException)
        {
            errors.WriteLine(refused.Message);
            return CannotRepair;
        }
    }
}
