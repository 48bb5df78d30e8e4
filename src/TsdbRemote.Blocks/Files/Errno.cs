using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Files;

/// <summary>Linux error numbers that the code tells apart, the same on x64 and arm64, and their texts.</summary>
public static class Errno
{
    /// <summary>EPERM.</summary>
    public const int NotPermitted = 1;

    /// <summary>ENOENT: no such file or directory.</summary>
    public const int NoEntry = 2;

    /// <summary>EINTR: a signal came first; the call is repeated.</summary>
    public const int Interrupted = 4;

    /// <summary>EIO: the device could not read or write.</summary>
    public const int InputOutput = 5;

    /// <summary>EBADF: the handle does not allow this.</summary>
    public const int BadHandle = 9;

    /// <summary>EAGAIN, which is also EWOULDBLOCK.</summary>
    public const int WouldBlock = 11;

    /// <summary>EACCES: permission denied.</summary>
    public const int Access = 13;

    /// <summary>EEXIST: the name is taken.</summary>
    public const int Exists = 17;

    /// <summary>EXDEV: the two names lie on different file systems.</summary>
    public const int CrossDevice = 18;

    /// <summary>ENOTDIR.</summary>
    public const int NotDirectory = 20;

    /// <summary>EISDIR.</summary>
    public const int IsDirectory = 21;

    /// <summary>EINVAL.</summary>
    public const int Invalid = 22;

    /// <summary>ENFILE: too many open files of all processes.</summary>
    public const int TooManyFilesOfAll = 23;

    /// <summary>EMFILE: too many open files.</summary>
    public const int TooManyFiles = 24;

    /// <summary>ENOSPC: the disk is full.</summary>
    public const int NoSpace = 28;

    /// <summary>EROFS: the file system is read-only.</summary>
    public const int ReadOnly = 30;

    /// <summary>ENOSYS: the kernel does not know the call.</summary>
    public const int NoSystemCall = 38;

    /// <summary>ENOTEMPTY.</summary>
    public const int NotEmpty = 39;

    /// <summary>EOPNOTSUPP, which is also ENOTSUP.</summary>
    public const int NotSupported = 95;

    /// <summary>EDQUOT: the user's quota is used up.</summary>
    public const int Quota = 122;

    /// <summary>What an error number means, in the C library's words.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);
}
