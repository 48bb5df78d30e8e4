namespace TsdbRemote.TestSupport;

/// <summary>An inode of <see cref="CrashFileSystem"/>. Changed only under its lock.</summary>
internal abstract class CrashNode;

/// <summary>A file: what the process sees, what the disk holds, and the ordered difference.</summary>
/// <remarks>
/// Invariant: <see cref="Durable"/> with every change of <see cref="Pending"/> applied in order equals <see cref="Current"/>, unless
/// a failed sync marked pages clean (<see cref="LosePages"/>).
/// </remarks>
internal sealed class CrashInode : CrashNode
{
    public SparseBytes Current { get; init; } = new();

    public SparseBytes Durable { get; private set; } = new();

    public List<PendingChange> Pending { get; private set; } = [];

    /// <summary>A file that is all on disk.</summary>
    public static CrashInode OnDisk(SparseBytes contents) => new() { Current = contents, Durable = contents.Clone() };

    /// <summary>The same file in a second world: the page cache survives a killed process.</summary>
    public CrashInode Fork() => new() { Current = Current.Clone(), Durable = Durable.Clone(), Pending = [.. Pending] };

    public void Write(long sequence, long offset, ReadOnlySpan<byte> bytes)
    {
        List<PageVersion> pages = [];
        Current.Write(offset, bytes, pages);
        Pending.Add(new PageWrites(sequence, pages, offset + bytes.Length));
    }

    public void Resize(long sequence, long length)
    {
        Current.SetLength(length);
        Pending.Add(new Resize(sequence, length));
    }

    /// <summary>
    /// Makes the pending data durable. A length counts only as far as it is needed to read that data back: cuts do, growth by
    /// zeros does only with <paramref name="metadata"/>.
    /// </summary>
    public void Sync(bool metadata)
    {
        foreach (PendingChange change in Pending)
        {
            if (change is Resize resize)
            {
                Durable.SetLength(Math.Min(Durable.Length, resize.Length));
            }
            else if (change is PageWrites writes)
            {
                // What goes to the disk is the page as it stands now, not as it was when this write was done.
                foreach (PageVersion version in writes.Pages) Durable.SetPage(version.Index, Current.Page(version.Index));
                Durable.SetLength(Math.Max(Durable.Length, writes.End));
            }
        }

        if (metadata) Durable.SetLength(Current.Length);
        long last = Pending.Count == 0 ? 0 : Pending[^1].Sequence;
        Pending.Clear();
        if (Durable.Length != Current.Length) Pending.Add(new Resize(last, Current.Length));
    }

    /// <summary>What the kernel does when a sync fails: the pending pages count as clean and will never be written.</summary>
    /// <param name="revert">True: the cache shows the old bytes again (Btrfs); false: it keeps the new ones (ext4, XFS).</param>
    public void LosePages(bool revert)
    {
        Pending.Clear();
        if (!revert) return;
        Current.SetLength(0);
        for (int i = 0; (long)i * SparseBytes.PageBytes < Durable.Length; i++) Current.SetPage(i, Durable.Page(i));
        Current.SetLength(Durable.Length);
    }
}

/// <summary>A directory: names as the process sees them, names on disk, and the ordered difference.</summary>
internal sealed class CrashDirectory : CrashNode
{
    public SortedDictionary<string, CrashNode> Current { get; init; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, CrashNode> Durable { get; private init; } = new(StringComparer.Ordinal);

    public List<EntryChange> Pending { get; } = [];

    public static CrashDirectory OnDisk(SortedDictionary<string, CrashNode> names) =>
        new() { Current = names, Durable = new(names, StringComparer.Ordinal) };

    public void Do(EntryChange change)
    {
        change.ApplyTo(Current);
        Pending.Add(change);
    }

    /// <summary>Makes the names durable.</summary>
    /// <remarks>
    /// A rename into another directory: with the removal of the old name the new one becomes durable as well (no file system
    /// loses a file by a rename), but the new name can be durable while the old one still is, too.
    /// </remarks>
    public void Sync()
    {
        foreach (EntryChange change in Pending)
        {
            if (change is { Removed: not null, Elsewhere: { } elsewhere }) elsewhere.SyncEntry(change.Sequence);
        }

        Durable.Clear();
        foreach ((string name, CrashNode node) in Current) Durable.Add(name, node);
        Pending.Clear();
    }

    private void SyncEntry(long sequence)
    {
        EntryChange? change = Pending.Find(candidate => candidate.Sequence == sequence);
        if (change is null) return;
        change.ApplyTo(Durable);

        // Older changes of the same name must not come back over it.
        for (int i = 0; i < Pending.Count; i++)
        {
            if (Pending[i].Sequence <= sequence) Pending[i] = Pending[i].Without(change.Added!);
        }

        Pending.RemoveAll(static change => change is { Removed: null, Added: null });
    }
}

/// <summary>A change of a file that no sync has covered yet.</summary>
/// <param name="Sequence">Its place among the pending changes of the whole file system.</param>
internal abstract record PendingChange(long Sequence);

/// <summary>A write: the pages as it left them, and where it ended.</summary>
internal sealed record PageWrites(long Sequence, IReadOnlyList<PageVersion> Pages, long End) : PendingChange(Sequence);

/// <summary>A change of length that wrote no data.</summary>
internal sealed record Resize(long Sequence, long Length) : PendingChange(Sequence);

/// <summary>A change of one directory's names: removes one, adds one, or both at once (rename within the directory).</summary>
/// <param name="Sequence">Its place among the pending changes; both halves of a rename between directories share one.</param>
/// <param name="Removed">The name that goes.</param>
/// <param name="Added">The name that comes, replacing what had it.</param>
/// <param name="Node">What <paramref name="Added"/> names.</param>
/// <param name="IsRename">Part of a rename, as against create, link and unlink.</param>
/// <param name="Elsewhere">For half of a rename between directories: the other directory.</param>
internal sealed record EntryChange(
    long Sequence, string? Removed, string? Added, CrashNode? Node, bool IsRename = false, CrashDirectory? Elsewhere = null)
{
    public void ApplyTo(SortedDictionary<string, CrashNode> names)
    {
        if (Removed is not null) names.Remove(Removed);
        if (Added is not null) names[Added] = Node!;
    }

    /// <summary>What the change does to other names.</summary>
    public EntryChange Without(string name) => new(
        Sequence, Removed == name ? null : Removed, Added == name ? null : Added, Added == name ? null : Node, IsRename, Elsewhere);
}
