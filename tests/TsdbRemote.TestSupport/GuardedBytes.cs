using System.Runtime.InteropServices;

namespace TsdbRemote.TestSupport;

/// <summary>Bytes that end where a page that may not be touched begins: whoever reads or writes one too many ends the process.</summary>
public sealed unsafe partial class GuardedBytes : IDisposable
{
    private const int ReadWrite = 3;
    private const int PrivateAnonymous = 0x22;

    private static readonly int PageBytes = Environment.SystemPageSize;

    private readonly byte* _pages;
    private readonly nuint _mapped;
    private readonly nuint _usable;

    /// <summary>Maps the room.</summary>
    /// <param name="capacity">Most bytes of a span, 1 or more.</param>
    public GuardedBytes(int capacity)
    {
        _usable = (nuint)((capacity + PageBytes - 1) / PageBytes * PageBytes);
        _mapped = _usable + (nuint)PageBytes;
        _pages = (byte*)Map(0, _mapped, ReadWrite, PrivateAnonymous, -1, 0);
        if ((nint)_pages == -1) throw new InvalidOperationException("no pages can be mapped");
        if (Protect(_pages + _usable, (nuint)PageBytes, 0) != 0) throw new InvalidOperationException("no page can be guarded");
    }

    /// <summary>The last bytes before the guard.</summary>
    /// <param name="length">At most the capacity.</param>
    public Span<byte> Last(int length) => new(_pages + _usable - length, length);

    /// <inheritdoc/>
    public void Dispose() => _ = Unmap(_pages, _mapped);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Protect(byte* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Unmap(byte* address, nuint length);
}
