using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace TsdbRemote.Blocks.Files;

/// <summary>Asks the processor to bring a cache line near before it is needed. A hint: it never faults and changes nothing that can be read.</summary>
/// <remarks>Does nothing on processors that .NET gives no such instruction for; there the hardware's own prefetching has to do.</remarks>
public static unsafe class Prefetch
{
    /// <summary>The line of this address, into the nearest cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Near(void* address)
    {
        if (Sse.IsSupported) Sse.Prefetch0(address);
    }

    /// <summary>The line of this field or element, into the nearest cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Near<T>(ref readonly T field)
    {
        if (Sse.IsSupported) Sse.Prefetch0(Unsafe.AsPointer(ref Unsafe.AsRef(in field)));
    }
}
