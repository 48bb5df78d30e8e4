namespace TsdbRemote.Blocks.Files;

/// <summary>Counts who still uses a shared resource. The resource starts with one reference, its owner's.</summary>
/// <remarks>A mutable struct: keep it in a non-readonly field and never copy it. Thread-safe.</remarks>
public struct ReferenceCount
{
    // Stored as count - 1, so that default(ReferenceCount) already holds the owner's reference.
    private int _extra;

    /// <summary>References now held; 0 once the resource is gone.</summary>
    public readonly int Value => _extra + 1;

    /// <summary>Takes a reference, unless the last one has already been let go.</summary>
    public bool TryAcquire()
    {
        int seen = Volatile.Read(ref _extra);
        while (seen >= 0)
        {
            int before = Interlocked.CompareExchange(ref _extra, seen + 1, seen);
            if (before == seen) return true;
            seen = before;
        }

        return false;
    }

    /// <summary>Lets a reference go.</summary>
    /// <returns>True for the last one: the caller frees the resource.</returns>
    /// <exception cref="InvalidOperationException">More releases than references: a bug that must not be hidden.</exception>
    public bool Release()
    {
        int now = Interlocked.Decrement(ref _extra);
        if (now < -1) throw new InvalidOperationException("released more often than acquired");
        return now == -1;
    }
}
