using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Tries inputs on one thread and holds each to the target's bounds.</summary>
internal sealed partial class FuzzTrial(FuzzTarget target) : IDisposable
{
    // Linux' CLOCK_THREAD_CPUTIME_ID.
    private const int ThreadTime = 3;

    private static readonly TimeSpan MostTime = TimeSpan.FromSeconds(1);

    private static readonly string TooSlow = $"it takes more than {MostTime}";

    private readonly FuzzParser _parser = target.NewParser();

    /// <summary>Tries an input.</summary>
    /// <returns>True if it was taken.</returns>
    /// <exception cref="FuzzFindingException">It did what no input may do.</exception>
    public bool Run(ReadOnlySpan<byte> input)
    {
        try
        {
            bool taken = Measure(input, out string? excess);

            // What is made once, such as a pool's array, is there the second time; and whoever waited for a processor has not used it.
            if (excess is not null) taken = MeasureAgain(input, out excess);
            if (excess is not null) throw new InvalidOperationException(excess);
            if (taken) _parser.Check(input);
            return taken;
        }
        catch (Exception failure)
        {
            throw new FuzzFindingException(target.Name, input, failure);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _parser.Dispose();

    private bool MeasureAgain(ReadOnlySpan<byte> input, out string? excess)
    {
        _ = ReadClock(ThreadTime, out TimeSpec before);
        bool taken = Measure(input, out excess);
        _ = ReadClock(ThreadTime, out TimeSpec after);
        TimeSpan used = TimeSpan.FromSeconds(after.Seconds - before.Seconds) + TimeSpan.FromMicroseconds((after.Nanoseconds - before.Nanoseconds) / 1000);
        if (excess == TooSlow && used <= MostTime) excess = null;
        return taken;
    }

    private bool Measure(ReadOnlySpan<byte> input, out string? excess)
    {
        long most = target.FixedBytes + target.BytesPerByte * input.Length;
        long before = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        bool taken = _parser.Parse(input);
        TimeSpan time = Stopwatch.GetElapsedTime(start);
        long bytes = GC.GetAllocatedBytesForCurrentThread() - before;
        excess = bytes > most ? string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes are allocated for {input.Length}, {most} allowed")
            : time > MostTime ? TooSlow
            : null;
        return taken;
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int ReadClock(int clock, out TimeSpec time);

    private readonly record struct TimeSpec(long Seconds, long Nanoseconds);
}

/// <summary>An input that did what no input may do.</summary>
internal sealed class FuzzFindingException(string target, ReadOnlySpan<byte> input, Exception cause)
    : Exception($"{target}: {cause.GetType().Name}: {cause.Message}; the input in base 64: {Convert.ToBase64String(input)}", cause);
