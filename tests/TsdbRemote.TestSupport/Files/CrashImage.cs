namespace TsdbRemote.TestSupport;

/// <summary>Builds what a disk could hold after a crash. One use; the source is only read, under its file system's lock.</summary>
/// <remarks>
/// Everything that is kept or lost is decided by the seed, in the order of names, so that an image can be made again.
/// Both halves of a rename between directories share a sequence number and hence a fate.
/// </remarks>
internal sealed class CrashImage
{
    private const int SectorBytes = 512;

    private readonly CrashPolicy _policy;
    private readonly Random _random;
    private readonly Dictionary<CrashNode, CrashNode> _copies = [];
    private readonly Dictionary<long, bool> _kept = [];
    private readonly HashSet<long> _lostRenames = [];
    private readonly long _lastKept = -1;

    private CrashImage(CrashDirectory root, CrashPolicy policy, int seed)
    {
        _policy = policy;
        _random = new Random(seed);
        var pending = new PendingSurvey(root);
        if (policy.Kind == CrashKind.Reordered) LoseRenames(pending.Renames);
        List<long> stops = policy.Kind == CrashKind.TornSector && pending.Writes.Count > 0 ? [.. pending.Writes] : [.. pending.All];
        int stop = _random.Next(policy.Kind == CrashKind.TornSector && pending.Writes.Count > 0 ? 1 : 0, stops.Count + 1);
        if (stop > 0) _lastKept = stops[stop - 1];
    }

    /// <summary>The root of a new tree.</summary>
    public static CrashDirectory Of(CrashDirectory root, CrashPolicy policy, int seed)
    {
        var image = new CrashImage(root, policy, seed);
        return (CrashDirectory)(policy.Kind == CrashKind.All ? image.Fork(root) : image.AfterCrash(root));
    }

    private void LoseRenames(SortedSet<long> renames)
    {
        foreach (long rename in renames)
        {
            if (_random.Next(2) == 0) _lostRenames.Add(rename);
        }

        if (renames.Count > 0 && _lostRenames.Count == 0) _lostRenames.Add(renames.ElementAt(_random.Next(renames.Count)));
    }

    // A killed process: nothing is lost, and nothing became durable by it.
    private CrashNode Fork(CrashNode node)
    {
        if (_copies.TryGetValue(node, out CrashNode? known)) return known;
        if (node is CrashInode file) return _copies[node] = file.Fork();
        var source = (CrashDirectory)node;
        var copy = new CrashDirectory();
        _copies[node] = copy;
        foreach ((string name, CrashNode child) in source.Current) copy.Current.Add(name, Fork(child));
        foreach ((string name, CrashNode child) in source.Durable) copy.Durable.Add(name, Fork(child));
        foreach (EntryChange change in source.Pending)
        {
            CrashNode? target = change.Node is null ? null : Fork(change.Node);
            CrashDirectory? elsewhere = change.Elsewhere is null ? null : (CrashDirectory)Fork(change.Elsewhere);
            copy.Pending.Add(change with { Node = target, Elsewhere = elsewhere });
        }

        return copy;
    }

    private CrashNode AfterCrash(CrashNode node)
    {
        if (_copies.TryGetValue(node, out CrashNode? known)) return known;
        if (node is CrashInode file) return _copies[node] = CrashInode.OnDisk(ContentsAfterCrash(file));
        SortedDictionary<string, CrashNode> copies = new(StringComparer.Ordinal);
        foreach ((string name, CrashNode child) in NamesAfterCrash((CrashDirectory)node)) copies.Add(name, AfterCrash(child));
        return _copies[node] = CrashDirectory.OnDisk(copies);
    }

    private SortedDictionary<string, CrashNode> NamesAfterCrash(CrashDirectory directory)
    {
        if (_policy.Kind is CrashKind.SizeOnly or CrashKind.EntryOnly) return directory.Current;
        SortedDictionary<string, CrashNode> names = new(directory.Durable, StringComparer.Ordinal);
        int fate = DrawFate(directory.Pending.Count);
        for (int i = 0; i < directory.Pending.Count; i++)
        {
            if (KeepsName(directory.Pending[i], isFirst: i < fate)) directory.Pending[i].ApplyTo(names);
        }

        return names;
    }

    /// <summary>For <see cref="CrashKind.PerFile"/>: how many pending changes of one file or directory are kept, from the first.</summary>
    private int DrawFate(int pending) => _policy.Kind == CrashKind.PerFile && pending > 0 ? _random.Next(3) switch
    {
        0 => 0,
        1 => pending,
        _ => _random.Next(pending + 1),
    } : 0;

    /// <param name="change">A change of a directory.</param>
    /// <param name="isFirst">It is one of those that the directory's own fate keeps.</param>
    private bool KeepsName(EntryChange change, bool isFirst)
    {
        switch (_policy.Kind)
        {
            case CrashKind.Prefix or CrashKind.TornSector:
                return change.Sequence <= _lastKept;
            case CrashKind.Reordered:
                return !_lostRenames.Contains(change.Sequence);
            case CrashKind.RandomPages:
                if (!_kept.TryGetValue(change.Sequence, out bool kept)) _kept[change.Sequence] = kept = Draw();
                return kept;
            case CrashKind.PerFile:
                if (!_kept.TryGetValue(change.Sequence, out bool isKept)) _kept[change.Sequence] = isKept = isFirst;
                return isKept;
            default:
                return false;
        }
    }

    private SparseBytes ContentsAfterCrash(CrashInode file)
    {
        if (_policy.Kind is CrashKind.DataOnly or CrashKind.Reordered) return file.Current.Clone();
        SparseBytes image = file.Durable.Clone();
        if (_policy.Kind == CrashKind.SizeOnly) image.SetLength(file.Current.Length);
        int fate = DrawFate(file.Pending.Count);
        for (int i = 0; i < file.Pending.Count; i++)
        {
            PendingChange change = file.Pending[i];
            if (_policy.Kind == CrashKind.RandomPages) ApplySome(change, image);
            else if (i < fate || (_policy.Kind is CrashKind.Prefix or CrashKind.TornSector && change.Sequence <= _lastKept)) ApplyInOrder(change, image);
        }

        return image;
    }

    private void ApplySome(PendingChange change, SparseBytes image)
    {
        if (change is Resize resize)
        {
            if (Draw()) image.SetLength(resize.Length);
            return;
        }

        var writes = (PageWrites)change;
        foreach (PageVersion version in writes.Pages)
        {
            if (Draw()) Apply(version, writes.End, image);
        }
    }

    private void ApplyInOrder(PendingChange change, SparseBytes image)
    {
        if (change is Resize resize)
        {
            image.SetLength(resize.Length);
            return;
        }

        var writes = (PageWrites)change;
        bool torn = _policy.Kind == CrashKind.TornSector && change.Sequence == _lastKept;
        int whole = torn ? _random.Next(writes.Pages.Count) : writes.Pages.Count;
        for (int i = 0; i < whole; i++) Apply(writes.Pages[i], writes.End, image);
        if (torn) Tear(writes.Pages[whole], writes.End, image);
    }

    private static void Apply(PageVersion version, long end, SparseBytes image)
    {
        image.SetPage(version.Index, version.Page);
        long pageEnd = (version.Index + 1L) * SparseBytes.PageBytes;
        image.SetLength(Math.Max(image.Length, Math.Min(end, pageEnd)));
    }

    // A sector is written whole or not at all. Garbage appears only in sectors that held nothing: no disk destroys, beyond the
    // sector being written, what an earlier sync made safe.
    private void Tear(PageVersion version, long end, SparseBytes image)
    {
        byte[] old = image.Page(version.Index) ?? new byte[SparseBytes.PageBytes];
        byte[] page = (byte[])old.Clone();
        int cut = _random.Next(SparseBytes.PageBytes / SectorBytes) * SectorBytes;
        version.Page.AsSpan(0, cut).CopyTo(page);
        int outcome = _random.Next(3);
        for (int sector = cut; outcome == 0 && sector < page.Length; sector += SectorBytes)
        {
            Span<byte> bytes = page.AsSpan(sector, SectorBytes);
            bool untouched = bytes.SequenceEqual(version.Page.AsSpan(sector, SectorBytes));
            if (!untouched && bytes.IndexOfAnyExcept((byte)0) < 0) _random.NextBytes(bytes);
        }

        long pageStart = (long)version.Index * SparseBytes.PageBytes;
        long reached = outcome == 1 ? Math.Min(end, pageStart + cut) : Math.Min(end, pageStart + SparseBytes.PageBytes);
        image.SetPage(version.Index, page);
        image.SetLength(Math.Max(image.Length, reached));
    }

    private bool Draw() => _random.NextDouble() < _policy.Probability;

    /// <summary>The sequence numbers of everything pending, in files without a name as well.</summary>
    private sealed class PendingSurvey
    {
        private readonly HashSet<CrashNode> _seen = [];

        public PendingSurvey(CrashDirectory root) => Visit(root);

        public SortedSet<long> All { get; } = [];

        public SortedSet<long> Writes { get; } = [];

        public SortedSet<long> Renames { get; } = [];

        private void Visit(CrashNode node)
        {
            if (!_seen.Add(node)) return;
            if (node is CrashInode file)
            {
                foreach (PendingChange change in file.Pending)
                {
                    All.Add(change.Sequence);
                    if (change is PageWrites) Writes.Add(change.Sequence);
                }

                return;
            }

            var directory = (CrashDirectory)node;
            foreach (CrashNode child in directory.Current.Values) Visit(child);
            foreach (CrashNode child in directory.Durable.Values) Visit(child);
            foreach (EntryChange change in directory.Pending)
            {
                All.Add(change.Sequence);
                if (change.IsRename) Renames.Add(change.Sequence);
                if (change.Node is not null) Visit(change.Node);
            }
        }
    }
}
