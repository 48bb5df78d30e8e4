using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace TsdbRemote.Blocks.Files;

/// <summary>A file descriptor that remembers what <c>close</c> said.</summary>
/// <remarks>
/// The framework's <see cref="SafeFileHandle"/> drops the error of <c>close</c>, which can be the only news of a failed write.
/// Counted like any safe handle: a close while another thread is in a call takes effect when that call returns.
/// </remarks>
internal sealed class FileHandle : SafeHandleMinusOneIsInvalid
{
    /// <summary>Takes over an open descriptor.</summary>
    public FileHandle(int descriptor)
        : base(ownsHandle: true) => SetHandle(descriptor);

    /// <summary>The errno of <c>close</c>; 0 if it succeeded or has not happened yet.</summary>
    public int CloseErrno { get; private set; }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        // Never repeated: on Linux the descriptor is gone even when close is interrupted, and may already be someone else's.
        int errno = Libc.Close(handle) == 0 ? 0 : Marshal.GetLastPInvokeError();
        CloseErrno = errno == Errno.Interrupted ? 0 : errno;
        return true;
    }
}
