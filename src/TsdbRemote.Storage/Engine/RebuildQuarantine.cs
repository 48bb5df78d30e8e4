using System.Globalization;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Puts files aside for a rebuild: they get a second name in <c>quarantine/</c> before the commit, and lose their first behind it.</summary>
/// <remarks>So a rebuild that is cut off finds all that it was made of when it is done again. Nothing there is ever overwritten; a file that is there already, byte for byte, is not linked twice.</remarks>
internal sealed class RebuildQuarantine(IFileSystem files, DataLayout paths)
{
    private const int PieceBytes = 1 << 20;

    private readonly List<string> _first = [];
    private HashSet<string>? _taken;

    /// <summary>Names of files, and whether they lose the first.</summary>
    /// <param name="path">The file.</param>
    /// <param name="name">Its name in quarantine, as far as that is free.</param>
    /// <param name="keepsFirst">The file also stays where it is.</param>
    /// <returns>Where it is kept.</returns>
    public string Keep(string path, string name, bool keepsFirst = false)
    {
        if (!keepsFirst) _first.Add(path);
        string kept = DataLayout.Join(paths.Quarantine, name);
        for (int copy = 2; Taken.Contains(kept[(paths.Quarantine.Length + 1)..]); copy++)
        {
            if (IsSame(path, kept)) return kept;
            kept = DataLayout.Join(paths.Quarantine, Numbered(name, copy));
        }

        files.Link(path, kept);
        Taken.Add(kept[(paths.Quarantine.Length + 1)..]);
        return kept;
    }

    /// <summary>Makes the second names durable: before the commit.</summary>
    public void Sync() => files.SyncDir(paths.Quarantine);

    /// <summary>Takes the first names: behind the commit. What the disk refuses to remove, the next start removes, for nothing names it.</summary>
    /// <returns>What it refused, for people.</returns>
    public IEnumerable<string> Release()
    {
        foreach (string path in _first)
        {
            string? refused = null;
            try
            {
                files.Unlink(path);
            }
            catch (DiskException failure)
            {
                refused = $"{failure.Message}; {path} is kept in quarantine/ too, and the next start removes it here";
            }

            if (refused is not null) yield return refused;
        }
    }

    private HashSet<string> Taken => _taken ??= [.. files.List(paths.Quarantine).Select(static entry => entry.Name)];

    private static string Numbered(string name, int copy)
    {
        int dot = name.LastIndexOf('.');
        return dot <= 0
            ? string.Create(CultureInfo.InvariantCulture, $"{name}-{copy}")
            : string.Create(CultureInfo.InvariantCulture, $"{name[..dot]}-{copy}{name[dot..]}");
    }

    private bool IsSame(string one, string other)
    {
        if (files.FileSize(one) != files.FileSize(other)) return false;
        using IFile left = files.OpenRead(one);
        using IFile right = files.OpenRead(other);
        using PooledBuffer first = PooledBuffer.Rent(PieceBytes, PieceBytes);
        using PooledBuffer second = PooledBuffer.Rent(PieceBytes, PieceBytes);
        for (long at = 0; at < left.Length; at += PieceBytes)
        {
            int length = (int)Math.Min(PieceBytes, left.Length - at);
            first.SetLength(length);
            second.SetLength(length);
            if (left.Read(at, first.Span) != length || right.Read(at, second.Span) != length || !first.Span.SequenceEqual(second.Span)) return false;
        }

        return true;
    }
}
