namespace TsdbRemote.Blocks.Files;

/// <summary>How the C library's allocator, which all native memory comes from, gives back what is freed.</summary>
/// <remarks>
/// glibc serves a large block by a map of its own, which goes back to the system when it is freed. But each one freed raises the size from which it does so, up to
/// 32 MiB; what is smaller comes from heaps that only shrink from their end. A server that once held a million series would go on holding their memory: 0.8 GiB
/// more than it used was measured. musl needs none of this, and has neither call.
/// </remarks>
public static class NativeHeap
{
    // At the default arena's block size and above; so few maps that the kernel's limit of 65,530 is that of 16 GiB of the smallest.
    private const int LargeBlockBytes = 256 << 10;

    /// <summary>Fixes the size from which a block is a map of its own, for the whole process. Call once, before there is anything large.</summary>
    public static void GiveBackLargeBlocks() => Try(static () => _ = Libc.SetAllocatorOption(Libc.LargeBlockOption, LargeBlockBytes));

    /// <summary>Gives back what is free in the heaps, which takes milliseconds and holds up who allocates meanwhile: after something very large was freed in small pieces.</summary>
    public static void GiveBackFree() => Try(static () => _ = Libc.TrimAllocator(0));

    private static void Try(Action call)
    {
        try
        {
            call();
        }
        catch (EntryPointNotFoundException)
        {
            // Another C library: it has its own ways.
        }
    }
}
