using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>What a failed sync leaves behind (Rebello et al., USENIX ATC 2020).</summary>
public enum LostPages
{
    /// <summary>Nothing is lost: the pages stay dirty and a later sync would write them.</summary>
    None,

    /// <summary>The pages are marked clean; reads still show the new bytes, the disk never gets them (ext4, XFS).</summary>
    CacheKeepsNew,

    /// <summary>The pages are marked clean and reads show the old bytes again (Btrfs).</summary>
    CacheRevertsToOld,

    /// <summary>As <see cref="CacheKeepsNew"/>, but this sync says it succeeded and the next one fails (ext4, data=journal).</summary>
    ErrorOneSyncLate,
}

/// <summary>What an injected fault does to the operation that it hits.</summary>
public abstract record Fault
{
    private Fault()
    {
    }

    /// <summary>The operation is not done and fails with <paramref name="Errno"/>.</summary>
    public sealed record Error(int Errno) : Fault;

    /// <summary>The first <paramref name="Bytes"/> bytes of a write reach the file, then it fails with <paramref name="Errno"/>.</summary>
    public sealed record ShortWrite(int Bytes, int Errno = DiskException.NoSpace) : Fault;

    /// <summary>A read ends after at most <paramref name="Bytes"/> bytes, as at the end of a shorter file.</summary>
    public sealed record ShortRead(int Bytes) : Fault;

    /// <summary>Bit <paramref name="Bit"/> of what was read is flipped (counted from the first byte's lowest, modulo the length).</summary>
    public sealed record FlippedBit(long Bit) : Fault;

    /// <summary>A read is served from <paramref name="Distance"/> bytes further on.</summary>
    public sealed record Misdirected(long Distance) : Fault;

    /// <summary>A change or sync says that it succeeded and does nothing.</summary>
    public sealed record Lost : Fault;

    /// <summary>The operation waits until the test opens the gate, then goes on unharmed.</summary>
    public sealed record Held(ManualResetEventSlim Gate) : Fault;

    /// <summary>A sync fails with <paramref name="Errno"/> and loses pages; on a file system that cannot lose them it only fails.</summary>
    public sealed record FailedSync(LostPages Pages, int Errno = DiskException.InputOutput) : Fault;
}

/// <summary>When a fault strikes. A rule counts the calls that match it and how often it struck.</summary>
/// <remarks>
/// Configure before use; counts may be read at any time. A call is hit by the first armed rule that matches it, in the order in which
/// the rules were added; every matching rule counts it.
/// </remarks>
public sealed class FaultRule
{
    private readonly HashSet<FileOperationKind> _kinds;
    private long _calls;
    private long _injections;

    /// <summary>A rule for the first call that matches.</summary>
    /// <param name="fault">What happens.</param>
    /// <param name="kinds">To which operations; none given = to all.</param>
    public FaultRule(Fault fault, params FileOperationKind[] kinds)
    {
        Fault = fault;
        _kinds = [.. kinds];
    }

    /// <summary>What happens.</summary>
    public Fault Fault { get; }

    /// <summary>Ends of paths with '*' and '?': <c>wal/*.log</c>, <c>MANIFEST</c>. Of a rename or link either name may match.</summary>
    public string Path { get; init; } = "*";

    /// <summary>The matching call that is hit first, from 1.</summary>
    public long OnCall { get; init; } = 1;

    /// <summary>True: every matching call from <see cref="OnCall"/> on is hit, until the rule is removed; false: only that one.</summary>
    public bool Sticky { get; init; }

    /// <summary>If given, replaces <see cref="OnCall"/> and <see cref="Sticky"/>: each matching call is hit this likely.</summary>
    public double? Probability { get; init; }

    /// <summary>Matching calls seen.</summary>
    public long Calls => Interlocked.Read(ref _calls);

    /// <summary>Calls hit. A test asserts that each of them surfaced somewhere: an error that nobody saw is a bug.</summary>
    public long Injections => Interlocked.Read(ref _injections);

    internal bool Matches(in FileOperation operation) =>
        (_kinds.Count == 0 || _kinds.Contains(operation.Kind))
        && (EndsAs(operation.Path) || (operation.Target is { } target && EndsAs(target)));

    /// <summary>Counts a matching call and says whether it would be hit. Under the injector's lock.</summary>
    internal bool CountCall(Random random)
    {
        long call = Interlocked.Increment(ref _calls);
        if (Probability is { } probability) return random.NextDouble() < probability;
        return Sticky ? call >= OnCall : call == OnCall;
    }

    internal void CountInjection() => Interlocked.Increment(ref _injections);

    private bool EndsAs(string path) => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression("*" + Path, path, ignoreCase: false);
}
