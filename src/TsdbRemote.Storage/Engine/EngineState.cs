using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Deletes;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Engine;

/// <summary>All that exists at one instant: MemTables, tables, blocks, the manifest that names the last two, the dictionary. Immutable; counted by its readers.</summary>
/// <remarks>
/// Invariant: the dictionary is that of the active MemTable, and knows every series of every MemTable and table here, by its id.
/// Holds one reference on the dictionary and on each MemTable, table and block in it, from construction until its own last reference goes: a reader that holds
/// the state can use everything in it, whatever is flushed or deleted meanwhile.
/// </remarks>
public sealed class EngineState
{
    private ReferenceCount _references;

    /// <summary>A state of these parts; the caller holds a reference on each of them while this runs.</summary>
    public EngineState(MemTableSet memTables, LevelSet levels, BlockSet blocks, ManifestState manifest)
        : this(memTables, levels, blocks, manifest, DeletionSet.Of(manifest.Tombstones, []))
    {
    }

    private EngineState(MemTableSet memTables, LevelSet levels, BlockSet blocks, ManifestState manifest, DeletionSet? deletions)
    {
        Dictionary = memTables.Active.Dictionary;
        MemTables = memTables;
        Levels = levels;
        Blocks = blocks;
        Manifest = manifest;
        Deletions = deletions;
        Invariant.Check(Dictionary.TryAcquire());
        foreach (MemTable memTable in memTables.NewestFirst) Invariant.Check(memTable.TryAcquire());
        Invariant.Check(levels.TryAcquire() && blocks.TryAcquire());
    }

    /// <summary>The series.</summary>
    public SeriesDictionary Dictionary { get; }

    /// <summary>What is in memory.</summary>
    public MemTableSet MemTables { get; }

    /// <summary>What is in tables.</summary>
    public LevelSet Levels { get; }

    /// <summary>What is in blocks.</summary>
    public BlockSet Blocks { get; }

    /// <summary>What the manifest on disk says.</summary>
    public ManifestState Manifest { get; }

    /// <summary>The tombstones of the manifest, ready to be asked; null if there are none.</summary>
    internal DeletionSet? Deletions { get; }

    /// <summary>Tombstones up to this sequence are known here.</summary>
    internal ulong DeletionsKnownTo => Deletions?.Newest ?? 0;

    /// <summary>Windows, by their start, of which a table that the manifest names is out of service; mostly none.</summary>
    /// <remarks>
    /// Such a table keeps its place in the sequence. Were its neighbours merged over it, or made a block below it, it could never come back to that place: put right, it
    /// would hide what is newer.
    /// </remarks>
    public IEnumerable<long> WindowsOutOfService
    {
        get
        {
            if (Manifest.Tables.Length == Levels.Tables.Length) return [];
            HashSet<long> served = [.. Levels.Tables.Select(static table => table.Entry.Id)];
            return Manifest.Tables.Where(table => !served.Contains(table.Id)).SelectMany(static table => table.Windows);
        }
    }

    /// <summary>A state that follows on this one.</summary>
    public EngineState With(ManifestState? manifest = null, MemTableSet? memTables = null, LevelSet? levels = null, BlockSet? blocks = null) =>
        new(memTables ?? MemTables, levels ?? Levels, blocks ?? Blocks, manifest ?? Manifest, DeletionsOf(manifest ?? Manifest));

    /// <summary>A state that follows on this one in which more is deleted.</summary>
    /// <param name="manifest">Names the tombstones.</param>
    /// <param name="added">The same, compiled.</param>
    internal EngineState WithDeleted(ManifestState manifest, IEnumerable<Deletion> added) =>
        new(MemTables, Levels, Blocks, manifest, DeletionSet.Of(manifest.Tombstones, [.. Deletions?.All ?? [], .. added]));

    /// <summary>Most changes have nothing to do with what is deleted.</summary>
    private DeletionSet? DeletionsOf(ManifestState manifest) =>
        manifest.Tombstones == Manifest.Tombstones ? Deletions : DeletionSet.Of(manifest.Tombstones, Deletions?.All ?? []);

    /// <summary>Counts one more reader, unless the state is already gone.</summary>
    public bool TryAcquire() => _references.TryAcquire();

    /// <summary>Lets a reader go; the last one lets all parts go.</summary>
    public void Release()
    {
        if (!_references.Release()) return;
        foreach (MemTable memTable in MemTables.NewestFirst) memTable.Release();
        Levels.Release();
        Blocks.Release();
        Dictionary.Release();
    }
}

/// <summary>The current <see cref="EngineState"/>: readers take it without a lock, one change at a time replaces it.</summary>
public sealed class CurrentState
{
    // Guards the replacement; taken inside the engine's exclusive gate by a rotation, and alone by everything else.
    private readonly Lock _changes = new();
    private EngineState _state;
    private volatile bool _closed;

    /// <summary>Starts with a first state, taking over the caller's reference on it.</summary>
    public CurrentState(EngineState first) => _state = first;

    /// <summary>The state now, for figures only: it may be gone the next instant.</summary>
    public EngineState Peek => Volatile.Read(ref _state);

    /// <summary>The state now, held for the caller, who releases it.</summary>
    /// <exception cref="EngineUnavailableException">The engine is closed.</exception>
    public EngineState Acquire()
    {
        while (true)
        {
            EngineState state = Volatile.Read(ref _state);
            if (state.TryAcquire()) return state;
            if (_closed) throw EngineUnavailableException.Stopping();
        }
    }

    /// <summary>Replaces the state by what <paramref name="change"/> makes of it, and lets the old one go.</summary>
    public EngineState Change(Func<EngineState, EngineState> change)
    {
        EngineState old;
        EngineState next;
        lock (_changes)
        {
            old = _state;
            next = change(old);
            Volatile.Write(ref _state, next);
        }

        old.Release();
        return next;
    }

    /// <summary>Lets the last state go, at the end of the engine.</summary>
    public void Close()
    {
        _closed = true;
        Volatile.Read(ref _state).Release();
    }
}
