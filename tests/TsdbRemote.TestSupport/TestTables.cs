using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>The files of tables in a test's data directory, named or not.</summary>
public static class TestTables
{
    /// <summary>Where they are.</summary>
    public const string Directory = "/disk/data/tables";

    /// <summary>Every file there and in the directories of windows.</summary>
    public static IEnumerable<string> Files(IFileSystem files) => Below(files, Directory);

    /// <summary>Starts of the windows that have a directory, ascending.</summary>
    public static IEnumerable<long> Directories(IFileSystem files) =>
        files.List(Directory).Where(static entry => entry.IsDirectory).Select(static entry => long.Parse(entry.Name, CultureInfo.InvariantCulture)).Order();

    private static IEnumerable<string> Below(IFileSystem files, string directory)
    {
        foreach (DirectoryEntry entry in files.List(directory))
        {
            string path = $"{directory}/{entry.Name}";
            if (!entry.IsDirectory)
            {
                yield return path;
                continue;
            }

            foreach (string below in Below(files, path)) yield return below;
        }
    }
}
