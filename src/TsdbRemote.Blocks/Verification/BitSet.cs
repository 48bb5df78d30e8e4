using System.Runtime.InteropServices;

namespace TsdbRemote.Blocks.Verification;

/// <summary>One bit for each number below a bound, outside the garbage-collected heap. Not thread-safe.</summary>
internal sealed unsafe class BitSet : IDisposable
{
    private readonly ulong _count;
    private ulong* _words;

    /// <summary>An empty set of numbers below <paramref name="count"/>; the system hands out its memory as it is written to.</summary>
    public BitSet(long count)
    {
        _count = (ulong)count;
        _words = (ulong*)NativeMemory.AllocZeroed((nuint)(count / 64 + 1), sizeof(ulong));
    }

    /// <summary>Frees what was not disposed.</summary>
    ~BitSet() => Free();

    /// <summary>Adds a number below the bound.</summary>
    public void Set(long number)
    {
        if ((ulong)number < _count) _words[number / 64] |= 1UL << (int)(number % 64);
    }

    /// <summary>Whether a number was added; any number may be asked for.</summary>
    public bool Has(long number) => (ulong)number < _count && (_words[number / 64] & (1UL << (int)(number % 64))) != 0;

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.Free(_words);
        _words = null;
    }
}
