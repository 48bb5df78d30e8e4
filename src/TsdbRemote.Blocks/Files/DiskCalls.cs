using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>The system calls whose rare answers (short writes, interruptions, "not supported") a test must be able to force.</summary>
/// <remarks>Stateless. One interface call a batch, none a sample.</remarks>
internal unsafe interface IDiskCalls
{
    /// <summary><c>pwritev</c>.</summary>
    /// <returns>Bytes written, perhaps fewer than given, or the negative errno.</returns>
    long Gather(FileHandle file, Libc.IoVector* vectors, int count, long offset);

    /// <summary><c>posix_fallocate</c> from the file's start.</summary>
    /// <returns>0 or the errno.</returns>
    int Allocate(FileHandle file, long length);

    /// <summary><c>fdatasync</c>.</summary>
    /// <returns>0 or the errno.</returns>
    int SyncData(FileHandle file);

    /// <summary><c>fsync</c>, of a file or a directory.</summary>
    /// <returns>0 or the errno.</returns>
    int SyncAll(FileHandle file);
}

/// <summary>The kernel's own answers.</summary>
internal sealed unsafe class DiskCalls : IDiskCalls
{
    /// <summary>The only instance needed.</summary>
    public static readonly DiskCalls Real = new();

    /// <inheritdoc/>
    public long Gather(FileHandle file, Libc.IoVector* vectors, int count, long offset)
    {
        nint written = Libc.WriteVectorAt(file, vectors, count, offset);
        return written >= 0 ? written : -Marshal.GetLastPInvokeError();
    }

    /// <inheritdoc/>
    public int Allocate(FileHandle file, long length) => Libc.Allocate(file, 0, length);

    /// <inheritdoc/>
    public int SyncData(FileHandle file) => Libc.SyncData(file) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <inheritdoc/>
    public int SyncAll(FileHandle file) => Libc.SyncAll(file) == 0 ? 0 : Marshal.GetLastPInvokeError();
}
