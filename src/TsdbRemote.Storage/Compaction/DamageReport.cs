using System.Collections.Immutable;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Compaction;

/// <summary>What of some tables could not be read while they were made something else.</summary>
/// <param name="tables">The tables.</param>
/// <param name="target">What they are made, for people: "the block".</param>
internal sealed class DamageReport(ImmutableArray<LevelTable> tables, string target)
{
    private const int TextsKept = 100;

    private readonly HashSet<string> _seen = [];

    /// <summary>Tables of which something was left out, by number.</summary>
    public ImmutableHashSet<long> Tables { get; private set; } = [];

    /// <summary>What was left out, for people; the first of it.</summary>
    public ImmutableArray<string> Texts { get; private set; } = [];

    /// <summary>A chunk is left out.</summary>
    public void ChunkDamaged(CorruptFileException damage)
    {
        foreach (LevelTable table in tables.Where(table => table.Reader.Path == damage.Path)) Tables = Tables.Add(table.Entry.Id);
        Note($"{damage.Message}; left out of {target}, the table is kept");
    }

    /// <summary>A series is left out, for nothing says which labels it has.</summary>
    public void SeriesUnknown(ulong id)
    {
        Tables = Tables.Union(tables.Where(table => table.Entry.MinSeriesId <= id && id <= table.Entry.MaxSeriesId).Select(static table => table.Entry.Id));
        Note($"series {id} has no labels in the dictionary; left out of {target}, its tables are kept");
    }

    private void Note(string text)
    {
        if (_seen.Count < TextsKept && _seen.Add(text)) Texts = Texts.Add(text);
    }
}
