using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Levels;

/// <summary>Names in <c>quarantine/</c>. None is given twice: what is there may be the only copy of something.</summary>
internal static class QuarantineNames
{
    /// <summary>A free path for a file or block that is moved there.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="path">Where it is now.</param>
    public static string Free(IFileSystem files, DataLayout paths, string path)
    {
        HashSet<string> taken = [.. files.List(paths.Quarantine).Select(static entry => entry.Name)];
        return DataLayout.Join(paths.Quarantine, All(Path.GetFileName(path)).First(name => !taken.Contains(name)));
    }

    /// <summary>The names that a file or block may have there, in the order in which they are taken: <c>table-5.sst</c>, <c>table-5-2.sst</c> and so on.</summary>
    /// <param name="name">Its name where it belongs: of a table, a segment, a dictionary file, a block.</param>
    public static IEnumerable<string> All(string name)
    {
        string suffix = Path.GetExtension(name);
        string kind = suffix switch
        {
            DataLayout.TableSuffix => "table",
            DataLayout.SegmentSuffix => "wal",
            DataLayout.DictionarySuffix => "series",
            _ => "block",
        };
        string which = DataLayout.NumberOf(name, suffix)?.ToString(CultureInfo.InvariantCulture) ?? Path.GetFileNameWithoutExtension(name);
        yield return $"{kind}-{which}{suffix}";
        for (int copy = 2; ; copy++) yield return $"{kind}-{which}-{copy}{suffix}";
    }
}
