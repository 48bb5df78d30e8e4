using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>Bytes of a segment that found no room in quarantine. Until they do, the segment is the only copy of them, and must stay.</summary>
/// <param name="From">First byte.</param>
/// <param name="End">Behind the last byte.</param>
/// <param name="Name">Of the copy to be made.</param>
public readonly record struct OwedCopy(long From, long End, string Name);

/// <summary>Copies doubtful bytes of a segment away, durably, before anything is decided about them (reliability.md P7).</summary>
/// <remarks>
/// A copy is made under a temporary name and renamed when it is durable, so a crash leaves no half copy under a real name. A start that
/// finds the copy of an earlier one keeps that. Nothing here is ever deleted, but for temporary copies. A full disk is no reason not to go on
/// reading: the copy is owed then, and <see cref="Settle"/> makes it before the segment is given up. Not thread-safe.
/// </remarks>
/// <param name="fs">The disk.</param>
/// <param name="directory">Where copies go; null: none are made.</param>
/// <param name="segment">Number of the segment.</param>
internal sealed class LogQuarantine(IFileSystem fs, string? directory, long segment)
{
    private const int SettleBytes = 1 << 20;

    private readonly List<string> _copies = [];
    private readonly List<OwedCopy> _owed = [];

    /// <summary>Paths of the copies.</summary>
    public IReadOnlyList<string> Copies => _copies;

    /// <summary>Copies for which there was no room.</summary>
    public IReadOnlyList<OwedCopy> Owed => _owed;

    /// <summary>The copy of a whole segment.</summary>
    public static OwedCopy WholeOf(long segment, long end) => new(0, end, $"wal-{WalFormat.FileName(segment)}");

    /// <summary>Makes copies that were owed.</summary>
    /// <exception cref="DiskException">There is still no room, or the disk refused: those not made are owed as before.</exception>
    /// <exception cref="LogRefusedException">The segment could not be read.</exception>
    /// <exception cref="CorruptFileException">It is shorter than it was.</exception>
    public static void Settle(IFileSystem fs, string directory, string path, long segment, IReadOnlyList<OwedCopy> owed)
    {
        using IFile file = fs.OpenRead(path);
        using var source = new LogWindow(file, file.Length, SettleBytes);
        var quarantine = new LogQuarantine(fs, directory, segment);
        foreach (OwedCopy copy in owed)
        {
            if (copy.End > source.Limit) throw new CorruptFileException(path, source.Limit, "the file has become shorter since it was replayed");
            quarantine.Make(directory, source, copy);
        }
    }

    /// <summary>Writes a file under its name only once it is whole: what it was made from is deleted later, and then it is the only copy.</summary>
    /// <exception cref="DiskException">The disk refused. If it was full, nothing is left of the attempt.</exception>
    public static void Keep(IFileSystem fs, string path, Action<IFile> write)
    {
        string temporary = path + ".tmp";
        if (fs.FileSize(temporary) is not null) fs.Unlink(temporary);
        try
        {
            using (IFile file = fs.CreateNew(temporary))
            {
                write(file);
                file.SyncAll();
            }

            fs.Rename(temporary, path);
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            RemoveRest(fs, temporary);
            throw;
        }

        fs.SyncDir(path[..path.LastIndexOf('/')]);
    }

    /// <summary>Copies the whole segment.</summary>
    public void CopySegment(LogWindow source, long end) => Copy(source, WholeOf(segment, end));

    /// <summary>Copies the bytes behind the last good frame.</summary>
    public void CopyTail(LogWindow source, long from, long end) => Copy(source, new OwedCopy(from, end, TailName(from)));

    /// <summary>Copies one record.</summary>
    public void CopyRecord(LogWindow source, long from, long end) => Copy(source, new OwedCopy(from, end, TailName(from) + ".record"));

    private string TailName(long from) => string.Create(CultureInfo.InvariantCulture, $"wal-{segment:D8}-{from}");

    private void Copy(LogWindow source, OwedCopy copy)
    {
        if (directory is null) return;
        try
        {
            Make(directory, source, copy);
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            _owed.Add(copy);
        }
    }

    private void Make(string target, LogWindow source, OwedCopy copy)
    {
        string path = $"{target}/{copy.Name}";
        for (int number = 2; fs.FileSize(path) is { } size; number++)
        {
            if (size == copy.End - copy.From)
            {
                fs.SyncDir(target); // made by an earlier start from the same bytes, which may have ended before this
                _copies.Add(path);
                return;
            }

            path = string.Create(CultureInfo.InvariantCulture, $"{target}/{copy.Name}.{number}");
        }

        MakeDirectory(target);
        Keep(fs, path, file => Write(file, source, copy));
        _copies.Add(path);
    }

    private static void Write(IFile file, LogWindow source, OwedCopy copy)
    {
        for (long offset = copy.From; offset < copy.End;)
        {
            ReadOnlySpan<byte> piece = source.At(offset, 1);
            if (piece.Length > copy.End - offset) piece = piece[..(int)(copy.End - offset)];
            file.Write(offset - copy.From, piece);
            offset += piece.Length;
        }
    }

    /// <summary>Half a copy helps nobody, and has what little room there is.</summary>
    private static void RemoveRest(IFileSystem fs, string temporary)
    {
        try
        {
            if (fs.FileSize(temporary) is not null) fs.Unlink(temporary);
        }
        catch (DiskException)
        {
            // And therefore it stays until the copy is made: that begins with removing it.
        }
    }

    private void MakeDirectory(string target)
    {
        fs.MakeDir(target);
        int parent = target.LastIndexOf('/');
        if (parent > 0) fs.SyncDir(target[..parent]);
    }
}
