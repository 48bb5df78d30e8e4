namespace TsdbRemote.TestSupport;

/// <summary>The operations of <c>IFileSystem</c> and <c>IFile</c>, for hooks and fault rules.</summary>
public enum FileOperationKind
{
    OpenRead,
    CreateNew,
    OpenAppendable,
    Rename,
    Link,
    Unlink,
    MakeDir,
    RemoveDir,
    List,
    FileSize,
    SyncDir,
    FreeSpace,
    Lock,
    Length,
    Read,
    Write,
    WriteGather,
    Preallocate,
    SetLength,
    SyncData,
    SyncAll,
    Map,
    Close,
}

/// <summary>One operation about to be done.</summary>
/// <param name="Kind">Which.</param>
/// <param name="Path">The file or directory.</param>
/// <param name="Target">The new name of a rename or link.</param>
/// <param name="Offset">Where a read or write begins; the new length of <c>Preallocate</c> and <c>SetLength</c>.</param>
/// <param name="Length">Bytes of a read or write.</param>
public readonly record struct FileOperation(
    FileOperationKind Kind, string Path, string? Target = null, long Offset = 0, long Length = 0)
{
    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        FileOperationKind.Rename or FileOperationKind.Link => $"{Kind} {Path} -> {Target}",
        FileOperationKind.Read or FileOperationKind.Write or FileOperationKind.WriteGather => $"{Kind} {Path} [{Offset}, +{Length})",
        FileOperationKind.Preallocate or FileOperationKind.SetLength => $"{Kind} {Path} {Offset}",
        _ => $"{Kind} {Path}",
    };
}
