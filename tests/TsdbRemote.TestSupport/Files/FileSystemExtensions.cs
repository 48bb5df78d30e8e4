using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>Whole files in one call, for tests.</summary>
public static class FileSystemExtensions
{
    /// <summary>A file's contents.</summary>
    public static byte[] ReadAll(this IFileSystem files, string path)
    {
        using IFile file = files.OpenRead(path);
        byte[] bytes = new byte[file.Length];
        int read = file.Read(0, bytes);
        return bytes[..read];
    }

    /// <summary>Creates a file that does not exist yet. Syncs nothing unless told.</summary>
    public static void WriteNew(this IFileSystem files, string path, ReadOnlySpan<byte> bytes, bool sync = false)
    {
        using IFile file = files.CreateNew(path);
        file.Write(0, bytes);
        if (sync) file.SyncAll();
    }
}
