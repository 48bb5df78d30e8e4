using CsCheck;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>One step of a random history. Which fields count depends on <see cref="Kind"/>.</summary>
internal sealed record FileStep(FileOperationKind Kind, string Path, string Target, int Slot, int Offset, int Length);

/// <summary>Plays random histories on a file system; a slot keeps a file open over steps, also when its name goes.</summary>
internal sealed class FileScript(IFileSystem files, string root) : IDisposable
{
    private static readonly Gen<string> Paths =
        Gen.OneOf("/a", "/b", "/c", "/d", "/d/a", "/d/b", "/e", "/e/a", "/e/d", "/e/d/a", "/a/x");

    private static readonly FileOperationKind[] NameKinds =
    [
        FileOperationKind.CreateNew, FileOperationKind.CreateNew, FileOperationKind.OpenAppendable, FileOperationKind.OpenRead,
        FileOperationKind.Rename, FileOperationKind.Rename, FileOperationKind.Link, FileOperationKind.Unlink, FileOperationKind.MakeDir,
        FileOperationKind.MakeDir, FileOperationKind.RemoveDir, FileOperationKind.List, FileOperationKind.FileSize,
    ];

    private static readonly FileOperationKind[] DataKinds =
    [
        FileOperationKind.Write, FileOperationKind.Write, FileOperationKind.WriteGather, FileOperationKind.Read, FileOperationKind.Length,
        FileOperationKind.Preallocate, FileOperationKind.SetLength, FileOperationKind.Close,
    ];

    private static readonly FileOperationKind[] SyncKinds =
        [FileOperationKind.SyncData, FileOperationKind.SyncAll, FileOperationKind.SyncDir, FileOperationKind.SyncDir];

    private readonly IFile?[] _slots = new IFile?[3];

    /// <summary>Histories without a sync.</summary>
    public static Gen<FileStep[]> Unsynced { get; } = Steps([.. NameKinds, .. NameKinds, .. DataKinds, .. DataKinds]);

    /// <summary>Histories with syncs, about one in eight steps.</summary>
    public static Gen<FileStep[]> Synced { get; } =
        Steps([.. NameKinds, .. NameKinds, .. DataKinds, .. DataKinds, .. SyncKinds, .. SyncKinds]);

    /// <summary>Does one step.</summary>
    /// <returns>What could be seen of it: an answer, or the errno.</returns>
    public string Do(FileStep step)
    {
        try
        {
            return DoUnguarded(step);
        }
        catch (DiskException error)
        {
            return $"errno {error.Errno}";
        }
    }

    public void Dispose()
    {
        foreach (IFile? file in _slots) file?.Dispose();
    }

    /// <summary>All names with their contents, hashed.</summary>
    public static SortedDictionary<string, string> Tree(IFileSystem files, string root)
    {
        SortedDictionary<string, string> tree = new(StringComparer.Ordinal);
        Visit("");
        return tree;

        void Visit(string path)
        {
            foreach (DirectoryEntry entry in files.List(root + path + "/"))
            {
                string child = $"{path}/{entry.Name}";
                tree[child] = entry.IsDirectory ? "directory" : Describe(files.ReadAll(root + child));
                if (entry.IsDirectory) Visit(child);
            }
        }
    }

    private static Gen<FileStep[]> Steps(FileOperationKind[] kinds) =>
        Gen.Select(Gen.OneOf(kinds), Paths, Paths, Gen.Int[0, 2], Gen.Int[0, 9000], Gen.Int[0, 9000])
            .Select(static (kind, path, target, slot, offset, length) => new FileStep(kind, path, target, slot, offset, length))
            .Array[0, 60];

    private static string Describe(ReadOnlySpan<byte> bytes) =>
        $"{bytes.Length}:{Convert.ToHexString(System.IO.Hashing.XxHash3.Hash(bytes))}";

    private string DoUnguarded(FileStep step)
    {
        string path = root + step.Path;
        switch (step.Kind)
        {
            case FileOperationKind.CreateNew: return Hold(step, files.CreateNew(path));
            case FileOperationKind.OpenAppendable: return Hold(step, files.OpenAppendable(path));
            case FileOperationKind.OpenRead: return Hold(step, files.OpenRead(path));
            case FileOperationKind.Rename: files.Rename(path, root + step.Target); return "";
            case FileOperationKind.Link: files.Link(path, root + step.Target); return "";
            case FileOperationKind.Unlink: files.Unlink(path); return "";
            case FileOperationKind.MakeDir: files.MakeDir(path); return "";
            case FileOperationKind.RemoveDir: files.RemoveDir(path); return "";
            case FileOperationKind.List: return string.Join(' ', files.List(path));
            case FileOperationKind.FileSize: return $"{files.FileSize(path)}";
            case FileOperationKind.SyncDir: files.SyncDir(path); return "";
            default: return _slots[step.Slot] is { } file ? DoOn(file, step) : "no file";
        }
    }

    private string Hold(FileStep step, IFile file)
    {
        _slots[step.Slot]?.Dispose();
        _slots[step.Slot] = file;
        return "open";
    }

    private string DoOn(IFile file, FileStep step)
    {
        byte[] bytes = new byte[step.Length];
        new Random(step.Offset).NextBytes(bytes);
        switch (step.Kind)
        {
            case FileOperationKind.Write: file.Write(step.Offset, bytes); return "";
            case FileOperationKind.WriteGather: file.WriteGather(step.Offset, Pieces(bytes)); return "";
            case FileOperationKind.Read: return $"{file.Read(step.Offset, bytes)} {Describe(bytes)}";
            case FileOperationKind.Length: return $"{file.Length}";
            case FileOperationKind.Preallocate: file.Preallocate(step.Offset); return "";
            case FileOperationKind.SetLength: file.SetLength(step.Offset); return "";
            case FileOperationKind.SyncData: file.SyncData(); return "";
            case FileOperationKind.SyncAll: file.SyncAll(); return "";
            default:
                file.Dispose();
                _slots[step.Slot] = null;
                return "";
        }
    }

    private static List<ReadOnlyMemory<byte>> Pieces(byte[] bytes)
    {
        int third = bytes.Length / 3;
        return [bytes.AsMemory(0, third), default, bytes.AsMemory(third, third), bytes.AsMemory(2 * third)];
    }
}
