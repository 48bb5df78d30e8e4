using System.Diagnostics;
using System.Globalization;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Tries inputs on one thread and holds each to the target's bounds.</summary>
internal sealed class FuzzTrial(FuzzTarget target) : IDisposable
{
    private static readonly TimeSpan MostTime = TimeSpan.FromSeconds(1);

    private readonly FuzzParser _parser = target.NewParser();

    /// <summary>Tries an input.</summary>
    /// <returns>True if it was taken.</returns>
    /// <exception cref="FuzzFindingException">It did what no input may do.</exception>
    public bool Run(ReadOnlySpan<byte> input)
    {
        try
        {
            bool taken = Measure(input, out string? excess);

            // What is made once, such as a pool's array, is there the second time; and who waited for a processor does not wait twice.
            if (excess is not null) taken = Measure(input, out excess);
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

    private bool Measure(ReadOnlySpan<byte> input, out string? excess)
    {
        long most = target.FixedBytes + target.BytesPerByte * input.Length;
        long before = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        bool taken = _parser.Parse(input);
        TimeSpan time = Stopwatch.GetElapsedTime(start);
        long bytes = GC.GetAllocatedBytesForCurrentThread() - before;
        excess = bytes > most ? string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes are allocated for {input.Length}, {most} allowed")
            : time > MostTime ? $"it takes {time}, {MostTime} allowed"
            : null;
        return taken;
    }
}

/// <summary>An input that did what no input may do.</summary>
internal sealed class FuzzFindingException(string target, ReadOnlySpan<byte> input, Exception cause)
    : Exception($"{target}: {cause.GetType().Name}: {cause.Message}; the input in base 64: {Convert.ToBase64String(input)}", cause);
