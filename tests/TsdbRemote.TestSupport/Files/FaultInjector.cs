using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>Any file system, with errors by rule.</summary>
/// <remarks>
/// The SQLite loop: for n = 1, 2, … add a rule with <c>OnCall = n</c>, run the scenario, and stop when the rule's
/// <c>Injections</c> stay 0. Below <c>IFile</c> a short write is resumed by the file itself; here it ends in an error. Thread-safe.
/// </remarks>
public sealed class FaultInjector : IFileSystem
{
    private readonly IFileSystem _inner;
    private readonly Random _random;
    private readonly Lock _gate = new();
    private readonly List<FaultRule> _rules = [];
    private readonly List<string> _injected = [];
    private readonly Dictionary<string, long> _asked = [];
    private int _openFiles;

    /// <summary>Wraps a file system.</summary>
    /// <param name="inner">Does what is not hit.</param>
    /// <param name="seed">For rules with a probability.</param>
    public FaultInjector(IFileSystem inner, int seed = 0)
    {
        _inner = inner;
        _random = new Random(seed);
    }

    /// <summary>Every hit so far, as text, in order.</summary>
    public IReadOnlyList<string> Injected
    {
        get
        {
            lock (_gate) return [.. _injected];
        }
    }

    /// <summary>Bytes that reads of some files have asked for.</summary>
    /// <param name="pathPart">Part of their paths.</param>
    public long AskedOf(string pathPart)
    {
        lock (_gate) return _asked.Where(file => file.Key.Contains(pathPart, StringComparison.Ordinal)).Sum(static file => file.Value);
    }

    /// <summary>Files opened through it and not closed again.</summary>
    public int OpenFiles => Volatile.Read(ref _openFiles);

    /// <summary>Arms a rule.</summary>
    /// <returns>The rule, for its counts.</returns>
    public FaultRule Add(FaultRule rule)
    {
        lock (_gate) _rules.Add(rule);
        return rule;
    }

    /// <summary>Disarms a rule: the disk has healed.</summary>
    public void Remove(FaultRule rule)
    {
        lock (_gate) _rules.Remove(rule);
    }

    /// <inheritdoc/>
    public IFile OpenRead(string path) => Open(FileOperationKind.OpenRead, path, _inner.OpenRead);

    /// <inheritdoc/>
    public IFile CreateNew(string path) => Open(FileOperationKind.CreateNew, path, _inner.CreateNew);

    /// <inheritdoc/>
    public IFile OpenAppendable(string path) => Open(FileOperationKind.OpenAppendable, path, _inner.OpenAppendable);

    /// <inheritdoc/>
    public void Rename(string from, string to)
    {
        if (!Loses(new FileOperation(FileOperationKind.Rename, from, to))) _inner.Rename(from, to);
    }

    /// <inheritdoc/>
    public void Link(string existing, string link)
    {
        if (!Loses(new FileOperation(FileOperationKind.Link, existing, link))) _inner.Link(existing, link);
    }

    /// <inheritdoc/>
    public void Unlink(string path)
    {
        if (!Loses(new FileOperation(FileOperationKind.Unlink, path))) _inner.Unlink(path);
    }

    /// <inheritdoc/>
    public void MakeDir(string path)
    {
        if (!Loses(new FileOperation(FileOperationKind.MakeDir, path))) _inner.MakeDir(path);
    }

    /// <inheritdoc/>
    public void RemoveDir(string path)
    {
        if (!Loses(new FileOperation(FileOperationKind.RemoveDir, path))) _inner.RemoveDir(path);
    }

    /// <inheritdoc/>
    public IReadOnlyList<DirectoryEntry> List(string path)
    {
        Pass(new FileOperation(FileOperationKind.List, path));
        return _inner.List(path);
    }

    /// <inheritdoc/>
    public long? FileSize(string path)
    {
        Pass(new FileOperation(FileOperationKind.FileSize, path));
        return _inner.FileSize(path);
    }

    /// <inheritdoc/>
    public void SyncDir(string path)
    {
        if (!Loses(new FileOperation(FileOperationKind.SyncDir, path))) _inner.SyncDir(path);
    }

    /// <inheritdoc/>
    public long FreeSpace(string path)
    {
        Pass(new FileOperation(FileOperationKind.FreeSpace, path));
        return _inner.FreeSpace(path);
    }

    /// <inheritdoc/>
    public string? UnreliableKind(string path) => _inner.UnreliableKind(path);

    /// <inheritdoc/>
    public string BootId => _inner.BootId;

    /// <inheritdoc/>
    public IDisposable Lock(string path, string holder)
    {
        Pass(new FileOperation(FileOperationKind.Lock, path));
        return _inner.Lock(path, holder);
    }

    /// <inheritdoc/>
    public IDisposable? LockUnchanged(string path) => _inner.LockUnchanged(path);

    /// <summary>The fault that strikes this call, if any; a gate has been waited for and an error thrown already.</summary>
    internal Fault? Hit(in FileOperation operation)
    {
        Fault? fault = Next(operation);
        switch (fault)
        {
            case Fault.Error error:
                throw Failure(operation, error.Errno);
            case Fault.FailedSync failed when operation.Kind is not (FileOperationKind.SyncData or FileOperationKind.SyncAll):
                throw Failure(operation, failed.Errno);
            case Fault.Held held:
                held.Gate.Wait();
                return null;
            default:
                return fault;
        }
    }

    /// <summary>A file was closed.</summary>
    internal void Closed() => Interlocked.Decrement(ref _openFiles);

    /// <summary>For operations that can only fail or wait.</summary>
    internal void Pass(in FileOperation operation)
    {
        if (Hit(operation) is { } fault) throw Unfit(operation, fault);
    }

    /// <summary>For operations that can also be lost.</summary>
    /// <returns>True if the call must do nothing and report success.</returns>
    internal bool Loses(in FileOperation operation) => Hit(operation) switch
    {
        null => false,
        Fault.Lost => true,
        { } fault => throw Unfit(operation, fault),
    };

    /// <summary>The error as the real file system words it, by the system call that failed.</summary>
    internal static DiskException Failure(in FileOperation operation, int errno) =>
        new(SystemCallOf(operation.Kind), operation.Path, errno, $"injected: {Errno.Describe(errno)}");

    internal static InvalidOperationException Unfit(in FileOperation operation, Fault fault) =>
        new($"the rule is wrong: {fault} cannot happen to {operation}");

    private static string SystemCallOf(FileOperationKind kind) => kind switch
    {
        FileOperationKind.OpenRead or FileOperationKind.CreateNew or FileOperationKind.OpenAppendable => "open",
        FileOperationKind.MakeDir => "mkdir",
        FileOperationKind.RemoveDir => "rmdir",
        FileOperationKind.List => "opendir",
        FileOperationKind.FileSize => "stat",
        FileOperationKind.FreeSpace => "statvfs",
        FileOperationKind.Lock => "flock",
        FileOperationKind.Length => "fstat",
        FileOperationKind.Read => "pread",
        FileOperationKind.Write or FileOperationKind.WriteGather => "pwritev",
        FileOperationKind.Preallocate => "posix_fallocate",
        FileOperationKind.SetLength => "ftruncate",
        FileOperationKind.SyncData => "fdatasync",
        FileOperationKind.SyncAll or FileOperationKind.SyncDir => "fsync",
        FileOperationKind.Map => "mmap",
        _ => kind.ToString().ToLowerInvariant(), // rename, link, unlink, close
    };

    private Fault? Next(in FileOperation operation)
    {
        lock (_gate)
        {
            if (operation.Kind == FileOperationKind.Read) _asked[operation.Path] = _asked.GetValueOrDefault(operation.Path) + operation.Length;
            FaultRule? hit = null;
            foreach (FaultRule rule in _rules)
            {
                if (rule.Matches(operation) && rule.CountCall(_random)) hit ??= rule;
            }

            if (hit is null) return null;
            hit.CountInjection();
            _injected.Add($"{operation}: {hit.Fault}");
            return hit.Fault;
        }
    }

    private FaultyFile Open(FileOperationKind kind, string path, Func<string, IFile> open)
    {
        Pass(new FileOperation(kind, path));
        IFile file = open(path);
        Interlocked.Increment(ref _openFiles);
        return new FaultyFile(this, file, writable: kind != FileOperationKind.OpenRead);
    }
}
