using System.Globalization;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Wal;

/// <summary>Copies doubtful bytes of a segment away, durably, before anything is decided about them (reliability.md P7).</summary>
/// <remarks>
/// A copy is made under a temporary name and renamed when it is durable, so a crash leaves no half copy under a real name. A start that
/// finds the copy of an earlier one keeps that. Nothing here is ever deleted, but for temporary copies. Not thread-safe.
/// </remarks>
internal sealed class LogQuarantine(IFileSystem fs, string directory, long segment)
{
    private readonly List<string> _copies = [];

    /// <summary>Paths of the copies.</summary>
    public IReadOnlyList<string> Copies => _copies;

    /// <summary>Copies the whole segment.</summary>
    public void CopySegment(LogWindow source, long end) => Copy(source, 0, end, $"wal-{WalFormat.FileName(segment)}");

    /// <summary>Copies the bytes behind the last good frame.</summary>
    public void CopyTail(LogWindow source, long from, long end) => Copy(source, from, end, TailName(from));

    /// <summary>Copies one record.</summary>
    public void CopyRecord(LogWindow source, long from, long end) => Copy(source, from, end, TailName(from) + ".record");

    private string TailName(long from) => string.Create(CultureInfo.InvariantCulture, $"wal-{segment:D8}-{from}");

    private void Copy(LogWindow source, long from, long end, string name)
    {
        string path = $"{directory}/{name}";
        for (int copy = 2; fs.FileSize(path) is { } size; copy++)
        {
            if (size == end - from)
            {
                _copies.Add(path); // made by an earlier start from the same bytes
                return;
            }

            path = string.Create(CultureInfo.InvariantCulture, $"{directory}/{name}.{copy}");
        }

        MakeDirectory();
        string temporary = path + ".tmp";
        if (fs.FileSize(temporary) is not null) fs.Unlink(temporary);
        using (IFile file = fs.CreateNew(temporary))
        {
            for (long offset = from; offset < end;)
            {
                ReadOnlySpan<byte> piece = source.At(offset, 1);
                if (piece.Length > end - offset) piece = piece[..(int)(end - offset)];
                file.Write(offset - from, piece);
                offset += piece.Length;
            }

            file.SyncAll();
        }

        fs.Rename(temporary, path);
        fs.SyncDir(directory);
        _copies.Add(path);
    }

    private void MakeDirectory()
    {
        fs.MakeDir(directory);
        int parent = directory.LastIndexOf('/');
        if (parent > 0) fs.SyncDir(directory[..parent]);
    }
}
