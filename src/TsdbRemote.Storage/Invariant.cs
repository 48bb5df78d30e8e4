using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace TsdbRemote.Storage;

/// <summary>Checks of our own promises where durability hangs on them; on in release builds too.</summary>
public static class Invariant
{
    /// <summary>Stops the operation if a promise of this code base does not hold.</summary>
    /// <exception cref="InvariantViolatedException">The promise does not hold: a bug, never the caller's data.</exception>
    public static void Check([DoesNotReturnIf(false)] bool holds, [CallerArgumentExpression(nameof(holds))] string promise = "")
    {
        if (!holds) Violated(promise);
    }

    [DoesNotReturn]
    private static void Violated(string promise) => throw new InvariantViolatedException(promise);
}

/// <summary>A promise of this code base did not hold.</summary>
public sealed class InvariantViolatedException(string promise) : Exception($"broken invariant: {promise}");
