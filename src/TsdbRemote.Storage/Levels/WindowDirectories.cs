using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Levels;

/// <summary>The directories of tables above level 0, one a window.</summary>
/// <remarks>
/// A directory is made by the first table of its window and outlives the last one: it cannot go with it, for a merge may be about to make another there.
/// So whoever holds the window against other jobs removes it, or the next open does.
/// </remarks>
public static class WindowDirectories
{
    /// <summary>Starts of the windows that have a directory, in ms, ascending.</summary>
    public static IEnumerable<long> All(IFileSystem files, DataLayout paths)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(paths);
        return files.List(paths.Tables).Where(static entry => entry.IsDirectory).Select(static entry => WindowOf(entry.Name)).OfType<long>().Order();
    }

    /// <summary>Removes the directory of a window if nothing is in it. The caller sees to it that nobody makes a table there meanwhile.</summary>
    /// <returns>True if it is gone.</returns>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static bool RemoveIfEmpty(IFileSystem files, DataLayout paths, long windowStartMs)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(paths);
        string directory = paths.TableDirectory(level: 1, windowStartMs);
        if (files.List(directory).Count > 0) return false;
        files.RemoveDir(directory);
        return true;
    }

    private static long? WindowOf(string name) =>
        long.TryParse(name, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long start)
        && start.ToString(CultureInfo.InvariantCulture) == name
            ? start
            : null;
}
