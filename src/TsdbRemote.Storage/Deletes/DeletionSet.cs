using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Deletes;

/// <summary>All deletes that are not yet carried out everywhere: finds those that select a series.</summary>
/// <remarks>
/// Each delete that names a label's value stands under that pair of name and value (of several the one that fewest others name), so that a series is asked only about
/// those that stand under one of its labels, and about the few that name none: a thousand deletes of one series each cost a read what its labels do.
/// Immutable; thread-safe.
/// </remarks>
internal sealed class DeletionSet
{
    private readonly Dictionary<byte[], Dictionary<byte[], List<Deletion>>> _byPair = new(Utf8Comparer.Instance);
    private readonly List<Deletion> _others = [];

    private DeletionSet(ImmutableArray<Deletion> all)
    {
        All = all;
        Newest = all.Max(static deletion => deletion.Entry.Sequence);
        Dictionary<(string, string), int> named = [];
        foreach (Matcher matcher in all.SelectMany(static deletion => deletion.Matchers.Where(NamesValue)))
            named[(matcher.Name, matcher.Value)] = named.GetValueOrDefault((matcher.Name, matcher.Value)) + 1;
        foreach (Deletion deletion in all)
        {
            if (deletion.Matchers.Where(NamesValue).MinBy(matcher => named[(matcher.Name, matcher.Value)]) is { } rarest) Under(rarest).Add(deletion);
            else _others.Add(deletion);
        }
    }

    /// <summary>All of them.</summary>
    public ImmutableArray<Deletion> All { get; }

    /// <summary>Sequence of the newest.</summary>
    public ulong Newest { get; }

    /// <summary>The deletes that a manifest names.</summary>
    /// <param name="tombstones">They.</param>
    /// <param name="known">Deletes that are compiled already.</param>
    /// <returns>Null if there are none, as there mostly are.</returns>
    /// <exception cref="ManifestException">One cannot be read.</exception>
    public static DeletionSet? Of(ImmutableArray<TombstoneEntry> tombstones, IEnumerable<Deletion> known)
    {
        if (tombstones.IsEmpty) return null;
        Dictionary<TombstoneEntry, Deletion> compiled = new(ReferenceEqualityComparer.Instance);
        foreach (Deletion deletion in known) compiled[deletion.Entry] = deletion;
        return new DeletionSet([.. tombstones.Select(entry => compiled.GetValueOrDefault(entry) ?? Deletion.Of(entry))]);
    }

    /// <summary>This set, or null if none of it deletes anything of a range.</summary>
    public DeletionSet? Within(TimeRange range) => All.Any(deletion => deletion.Entry.Range().Overlaps(range)) ? this : null;

    /// <summary>This set, or null if none of it reaches one of some tables, in one of their windows.</summary>
    public DeletionSet? Reaching(IEnumerable<LevelTable> tables, TimeRange window) =>
        All.Any(deletion => deletion.Entry.Range().Overlaps(window) && tables.Any(table => table.Entry.LastSequence < deletion.Entry.Sequence)) ? this : null;

    /// <summary>This set, or null if none of it reaches one of some blocks.</summary>
    public DeletionSet? Reaching(IEnumerable<StoredBlock> blocks) =>
        All.Any(deletion => blocks.Any(block => deletion.Entry.Reaches(block.Entry))) ? this : null;

    /// <summary>Adds the deletes that select a series.</summary>
    /// <param name="labels">Its labels as a run.</param>
    /// <param name="found">Added to.</param>
    public void Find(ReadOnlySpan<byte> labels, List<Deletion> found)
    {
        AddMatching(_others, labels, found);
        if (_byPair.Count == 0) return;
        Dictionary<byte[], Dictionary<byte[], List<Deletion>>>.AlternateLookup<ReadOnlySpan<byte>> names = _byPair.GetAlternateLookup<ReadOnlySpan<byte>>();
        var reader = new LabelRunReader(labels);
        while (reader.MoveNext())
        {
            if (!names.TryGetValue(reader.Name, out Dictionary<byte[], List<Deletion>>? values)) continue;
            if (values.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(reader.Value, out List<Deletion>? under)) AddMatching(under, labels, found);
        }
    }

    private static bool NamesValue(Matcher matcher) => matcher.Type == MatcherType.Equal && matcher.Value.Length > 0;

    private static void AddMatching(List<Deletion> asked, ReadOnlySpan<byte> labels, List<Deletion> found)
    {
        foreach (Deletion deletion in asked)
        {
            if (deletion.Matches(labels)) found.Add(deletion);
        }
    }

    private List<Deletion> Under(Matcher pair)
    {
        byte[] name = pair.NameUtf8.ToArray();
        if (!_byPair.TryGetValue(name, out Dictionary<byte[], List<Deletion>>? values)) _byPair[name] = values = new(Utf8Comparer.Instance);
        byte[] value = System.Text.Encoding.UTF8.GetBytes(pair.Value);
        if (!values.TryGetValue(value, out List<Deletion>? under)) values[value] = under = [];
        return under;
    }
}
