namespace TsdbRemote.Blocks.Files;

/// <summary>A disk operation that the operating system refused: what was done, to which file, and the errno.</summary>
/// <remarks>Never retried on the same file by the engine: what the kernel kept after a failed sync is unknowable.</remarks>
public sealed class DiskException : IOException
{
    /// <summary>Linux errno of a full disk.</summary>
    public const int NoSpace = 28;

    /// <summary>Linux errno of a low-level read or write error.</summary>
    public const int InputOutput = 5;

    /// <summary>Describes a refused operation.</summary>
    /// <param name="operation">The system call or step, such as <c>fdatasync</c>.</param>
    /// <param name="path">The file or directory.</param>
    /// <param name="errno">The Linux error number; 0 if there is none.</param>
    /// <param name="detail">What the error number means, in words.</param>
    public DiskException(string operation, string path, int errno, string detail)
        : base($"{operation} of {path} failed: {detail} (errno {errno})")
    {
        Operation = operation;
        Path = path;
        Errno = errno;
    }

    /// <summary>The system call or step that failed.</summary>
    public string Operation { get; }

    /// <summary>True for a failed sync: what the kernel kept is unknowable, and the same file must not be synced again.</summary>
    public bool IsSync => Operation is "fsync" or "fdatasync";

    /// <summary>The file or directory it was applied to.</summary>
    public string Path { get; }

    /// <summary>The Linux error number; 0 if there is none.</summary>
    public int Errno { get; }
}
