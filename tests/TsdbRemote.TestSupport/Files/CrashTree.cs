using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>Paths of <see cref="CrashFileSystem"/>: '/'-joined, with or without a leading '/', no "..".</summary>
internal static class CrashTree
{
    /// <summary>The names of a path; none for the root.</summary>
    public static string[] Split(string path)
    {
        string[] names = [.. path.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(static name => name != ".")];
        return names.Contains("..") ? throw new ArgumentException($"'..' in {path} is not simulated", nameof(path)) : names;
    }

    /// <summary>What a path names, or null; a file in the middle of it is an error, as in the kernel.</summary>
    public static CrashNode? Find(CrashDirectory root, string operation, string path)
    {
        CrashNode? node = root;
        foreach (string name in Split(path))
        {
            if (node is null) return null;
            if (node is not CrashDirectory directory) throw Error(operation, path, Errno.NotDirectory);
            node = directory.Current.GetValueOrDefault(name);
        }

        return node;
    }

    /// <summary>The directory that holds the last name of a path.</summary>
    public static (CrashDirectory Directory, string Name) Parent(CrashDirectory root, string operation, string path)
    {
        string[] names = Split(path);
        if (names.Length == 0) throw Error(operation, path, Errno.Invalid);
        CrashNode? parent = Find(root, operation, string.Join('/', names[..^1]));
        return parent switch
        {
            CrashDirectory directory => (directory, names[^1]),
            null => throw Error(operation, path, Errno.NoEntry),
            _ => throw Error(operation, path, Errno.NotDirectory),
        };
    }

    /// <summary>Whether a directory is another one or lies above it.</summary>
    public static bool Holds(CrashNode node, CrashDirectory sought) =>
        node is CrashDirectory directory && (directory == sought || directory.Current.Values.Any(child => Holds(child, sought)));

    public static DiskException Error(string operation, string path, int errno) => new(operation, path, errno, Errno.Describe(errno));

    [DoesNotReturn]
    public static void Throw(string operation, string path, int errno) => throw Error(operation, path, errno);

    /// <summary>The tree as text: '+' a name not yet on disk, '-' one still on disk, lengths now and on disk.</summary>
    public static string Dump(CrashDirectory root)
    {
        var text = new StringBuilder();
        Dump(root, "", text);
        return text.ToString();
    }

    private static void Dump(CrashDirectory directory, string indent, StringBuilder text)
    {
        foreach (string name in directory.Current.Keys.Union(directory.Durable.Keys).Order(StringComparer.Ordinal))
        {
            CrashNode? now = directory.Current.GetValueOrDefault(name);
            CrashNode? disk = directory.Durable.GetValueOrDefault(name);
            char mark = now == disk ? ' ' : now is null ? '-' : disk is null ? '+' : '~';
            text.Append(indent).Append(mark).Append(name);
            if ((now ?? disk) is CrashInode file)
            {
                text.Append(CultureInfo.InvariantCulture, $"  {file.Current.Length} B now, {file.Durable.Length} B on disk");
                text.AppendLine(CultureInfo.InvariantCulture, $", {file.Pending.Count} changes pending");
                continue;
            }

            text.AppendLine("/");
            Dump((CrashDirectory)(now ?? disk)!, indent + "  ", text);
        }
    }
}
