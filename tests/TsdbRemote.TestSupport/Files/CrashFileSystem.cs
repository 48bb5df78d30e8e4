using TsdbRemote.Blocks.Files;

namespace TsdbRemote.TestSupport;

/// <summary>A file system in memory that knows what a crash would lose.</summary>
/// <remarks>
/// Use:       run the engine on it; take <see cref="CrashClone"/>s at any time, also from <see cref="BeforeOperation"/>, and open the
///            engine on them. The original goes on unharmed; clones share nothing with it and start unlocked.
/// Model:     contents become durable by a sync of the file, names only by <see cref="SyncDir"/> of their directory: a synced file
///            in an unsynced directory is gone under <see cref="CrashKind.OnlySynced"/>, and so is all below a directory whose own
///            name was not synced. Closing syncs nothing. <c>SyncData</c> makes a length durable only as far as written data needs it.
/// Errors:    the kernel's errno for what a process can do wrong; errors of the disk come from <see cref="FaultInjector"/>.
/// Names:     '/'-joined, relative and absolute are the same, the root is "/" and always there.
/// Not here:  permissions, symbolic links, time.
/// Thread-safe: one lock; the hook is called outside it, on the caller's thread.
/// </remarks>
public sealed class CrashFileSystem : IFileSystem
{
    private readonly CrashDirectory _root;
    private readonly Dictionary<string, string> _holders = new(StringComparer.Ordinal);
    private long _operations;
    private long _sequence;

    /// <summary>An empty disk with some directories that are already durable.</summary>
    public CrashFileSystem(params string[] directories)
        : this(new CrashDirectory(), 0)
    {
        foreach (string path in directories) MakeDurable(path);
    }

    private CrashFileSystem(CrashDirectory root, long sequence)
    {
        _root = root;
        _sequence = sequence;
    }

    /// <summary>Mutating operations begun so far, syncs included.</summary>
    public long OperationCount => Interlocked.Read(ref _operations);

    /// <summary>
    /// Called before each mutating operation with its number (from 1), on its thread; what it throws, the operation throws, undone.
    /// A <see cref="CrashClone"/> taken in it is the disk before that operation.
    /// </summary>
    public Action<long, FileOperation>? BeforeOperation { get; set; }

    /// <summary>What <see cref="FreeSpace"/> answers. Bytes.</summary>
    public long FreeBytes { get; set; } = 1L << 40;

    /// <inheritdoc/>
    public string BootId { get; private init; } = "first";

    /// <summary>What <c>UnreliableKind</c> answers.</summary>
    public string? Kind { get; set; }

    /// <summary>True: <c>TryMap</c> gives a copy of the file; false (the default): null, so that the reader reads.</summary>
    public bool Mappable { get; set; }

    /// <summary>Guards every node and handle. Nothing is called outward while it is held.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>A disk as it could be found after a crash now.</summary>
    /// <param name="policy">What survives.</param>
    /// <param name="seed">Decides where the policy leaves a choice; the same seed gives the same disk.</param>
    public CrashFileSystem CrashClone(CrashPolicy policy, int seed)
    {
        lock (Gate)
        {
            // Only the process died where nothing is lost.
            string boot = policy.Kind == CrashKind.All ? BootId : $"{BootId}.";
            return new CrashFileSystem(CrashImage.Of(_root, policy, seed), _sequence) { FreeBytes = FreeBytes, Mappable = Mappable, BootId = boot };
        }
    }

    /// <summary>The tree as text for a failure message: names, lengths, and what is not yet on disk.</summary>
    public string Dump()
    {
        lock (Gate) return CrashTree.Dump(_root);
    }

    /// <inheritdoc/>
    public IFile OpenRead(string path) => Open(path, writable: false);

    /// <inheritdoc/>
    public IFile OpenAppendable(string path) => Open(path, writable: true);

    /// <inheritdoc/>
    public IFile CreateNew(string path)
    {
        Announce(new FileOperation(FileOperationKind.CreateNew, path));
        lock (Gate)
        {
            (CrashDirectory directory, string name) = CrashTree.Parent(_root, "open", path);
            if (directory.Current.ContainsKey(name)) CrashTree.Throw("open", path, Errno.Exists);
            var inode = new CrashInode();
            directory.Do(new EntryChange(NextSequence(), null, name, inode));
            return new CrashFile(this, inode, path, writable: true);
        }
    }

    /// <inheritdoc/>
    public void Rename(string from, string to)
    {
        Announce(new FileOperation(FileOperationKind.Rename, from, to));
        lock (Gate)
        {
            (CrashDirectory source, string oldName) = CrashTree.Parent(_root, "rename", from);
            (CrashDirectory target, string newName) = CrashTree.Parent(_root, "rename", to);
            if (!source.Current.TryGetValue(oldName, out CrashNode? moved)) throw CrashTree.Error("rename", from, Errno.NoEntry);
            CrashNode? replaced = target.Current.GetValueOrDefault(newName);
            if (moved == replaced) return;
            int refusal = RefusalOfRename(moved, source, target, replaced);
            if (refusal != 0) CrashTree.Throw("rename", from, refusal);
            long sequence = NextSequence();
            if (source == target)
            {
                source.Do(new EntryChange(sequence, oldName, newName, moved, IsRename: true));
                return;
            }

            source.Do(new EntryChange(sequence, oldName, null, null, IsRename: true, target));
            target.Do(new EntryChange(sequence, null, newName, moved, IsRename: true, source));
        }
    }

    /// <inheritdoc/>
    public void Link(string existing, string link)
    {
        Announce(new FileOperation(FileOperationKind.Link, existing, link));
        lock (Gate)
        {
            CrashNode node = CrashTree.Find(_root, "link", existing) ?? throw CrashTree.Error("link", existing, Errno.NoEntry);
            (CrashDirectory directory, string name) = CrashTree.Parent(_root, "link", link);
            if (directory.Current.ContainsKey(name)) CrashTree.Throw("link", existing, Errno.Exists);
            if (node is CrashDirectory) CrashTree.Throw("link", existing, Errno.NotPermitted);
            directory.Do(new EntryChange(NextSequence(), null, name, node));
        }
    }

    /// <inheritdoc/>
    public void Unlink(string path)
    {
        Announce(new FileOperation(FileOperationKind.Unlink, path));
        lock (Gate)
        {
            (CrashDirectory directory, string name) = CrashTree.Parent(_root, "unlink", path);
            if (!directory.Current.TryGetValue(name, out CrashNode? node)) CrashTree.Throw("unlink", path, Errno.NoEntry);
            if (node is CrashDirectory) CrashTree.Throw("unlink", path, Errno.IsDirectory);
            directory.Do(new EntryChange(NextSequence(), name, null, null));
        }
    }

    /// <inheritdoc/>
    public void MakeDir(string path)
    {
        Announce(new FileOperation(FileOperationKind.MakeDir, path));
        lock (Gate)
        {
            if (CrashTree.Split(path).Length == 0) return;
            (CrashDirectory directory, string name) = CrashTree.Parent(_root, "mkdir", path);
            CrashNode? there = directory.Current.GetValueOrDefault(name);
            if (there is CrashInode) CrashTree.Throw("mkdir", path, Errno.Exists);
            if (there is null) directory.Do(new EntryChange(NextSequence(), null, name, new CrashDirectory()));
        }
    }

    /// <inheritdoc/>
    public void RemoveDir(string path)
    {
        Announce(new FileOperation(FileOperationKind.RemoveDir, path));
        lock (Gate)
        {
            (CrashDirectory directory, string name) = CrashTree.Parent(_root, "rmdir", path);
            if (!directory.Current.TryGetValue(name, out CrashNode? node)) CrashTree.Throw("rmdir", path, Errno.NoEntry);
            if (node is not CrashDirectory removed) throw CrashTree.Error("rmdir", path, Errno.NotDirectory);
            if (removed.Current.Count > 0) CrashTree.Throw("rmdir", path, Errno.NotEmpty);
            directory.Do(new EntryChange(NextSequence(), name, null, null));
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<DirectoryEntry> List(string path)
    {
        lock (Gate)
        {
            CrashNode? node = CrashTree.Find(_root, "opendir", path);
            if (node is CrashInode) CrashTree.Throw("opendir", path, Errno.NotDirectory);
            if (node is not CrashDirectory directory) return [];
            return [.. directory.Current.Select(static pair => pair.Value is CrashInode file
                ? new DirectoryEntry(pair.Key, IsDirectory: false, file.Current.Length)
                : new DirectoryEntry(pair.Key, IsDirectory: true, 0))];
        }
    }

    /// <inheritdoc/>
    public long? FileSize(string path)
    {
        lock (Gate)
        {
            CrashNode? node = _root;
            foreach (string name in CrashTree.Split(path)) node = (node as CrashDirectory)?.Current.GetValueOrDefault(name);
            return (node as CrashInode)?.Current.Length;
        }
    }

    /// <inheritdoc/>
    public void SyncDir(string path)
    {
        Announce(new FileOperation(FileOperationKind.SyncDir, path));
        lock (Gate)
        {
            CrashNode node = CrashTree.Find(_root, "open", path) ?? throw CrashTree.Error("open", path, Errno.NoEntry);
            if (node is not CrashDirectory directory) throw CrashTree.Error("open", path, Errno.NotDirectory);
            directory.Sync();
        }
    }

    /// <inheritdoc/>
    public long FreeSpace(string path) => FreeBytes;

    /// <inheritdoc/>
    public string? UnreliableKind(string path) => Kind;

    /// <inheritdoc/>
    public IDisposable Lock(string path, string holder)
    {
        Announce(new FileOperation(FileOperationKind.Lock, path));
        lock (Gate)
        {
            string key = string.Join('/', CrashTree.Split(path));
            (CrashDirectory directory, string name) = CrashTree.Parent(_root, "open", path);
            CrashNode? there = directory.Current.GetValueOrDefault(name);
            if (there is CrashDirectory) CrashTree.Throw("open", path, Errno.IsDirectory);
            if (_holders.TryGetValue(key, out string? other)) throw new DirectoryLockedException(path, other);
            CrashInode inode = there as CrashInode ?? new CrashInode();
            if (there is null) directory.Do(new EntryChange(NextSequence(), null, name, inode));
            inode.Resize(NextSequence(), 0);
            inode.Write(NextSequence(), 0, System.Text.Encoding.UTF8.GetBytes(holder));
            _holders.Add(key, holder);
            return new HeldLock(this, key);
        }
    }

    /// <inheritdoc/>
    public IDisposable? LockUnchanged(string path)
    {
        lock (Gate)
        {
            string key = string.Join('/', CrashTree.Split(path));
            if (_holders.TryGetValue(key, out string? other)) throw new DirectoryLockedException(path, other);
            if (CrashTree.Find(_root, "open", path) is not CrashInode) return null;
            _holders.Add(key, "a reader");
            return new HeldLock(this, key);
        }
    }

    /// <summary>Numbers an operation and tells the hook. Not under the lock.</summary>
    internal void Announce(FileOperation operation)
    {
        long number = Interlocked.Increment(ref _operations);
        BeforeOperation?.Invoke(number, operation);
    }

    /// <summary>The place of the next pending change. Under the lock.</summary>
    internal long NextSequence() => ++_sequence;

    // The kernel's checks, in the kernel's order (fs/namei.c: do_renameat2, vfs_rename).
    private static int RefusalOfRename(CrashNode moved, CrashDirectory source, CrashDirectory target, CrashNode? replaced)
    {
        if (CrashTree.Holds(moved, target)) return Errno.Invalid;
        if (replaced is not null && CrashTree.Holds(replaced, source)) return Errno.NotEmpty;
        if (moved is CrashDirectory && replaced is CrashInode) return Errno.NotDirectory;
        if (moved is CrashInode && replaced is CrashDirectory) return Errno.IsDirectory;
        return replaced is CrashDirectory { Current.Count: > 0 } ? Errno.NotEmpty : 0;
    }

    private CrashFile Open(string path, bool writable)
    {
        lock (Gate)
        {
            CrashNode node = CrashTree.Find(_root, "open", path) ?? throw CrashTree.Error("open", path, Errno.NoEntry);
            if (node is not CrashInode inode) throw CrashTree.Error("open", path, Errno.IsDirectory);
            return new CrashFile(this, inode, path, writable);
        }
    }

    private void MakeDurable(string path)
    {
        CrashDirectory directory = _root;
        foreach (string name in CrashTree.Split(path))
        {
            if (!directory.Current.TryGetValue(name, out CrashNode? child))
            {
                directory.Do(new EntryChange(NextSequence(), null, name, child = new CrashDirectory()));
                directory.Sync();
            }

            directory = (CrashDirectory)child;
        }
    }

    private sealed class HeldLock(CrashFileSystem owner, string key) : IDisposable
    {
        private int _released;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _released, 1) != 0) return;
            lock (owner.Gate) owner._holders.Remove(key);
        }
    }
}
