using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Engine;

/// <summary>Makes <c>snapshots/NAME</c>: a data directory of what tables and blocks hold at one instant.</summary>
/// <remarks>
/// How:      tables and files of blocks never change, so they get a second name (a hard link), which takes no room until the first goes. The dictionary grows by
///           appends: its committed bytes are copied. The manifest is that of the instant, without log segments, and with the tombstones that reach what is there.
/// Holds:    one state, so that nothing of it is deleted meanwhile. The dictionary file alone is not held by it: a collection may replace it; then all begins anew.
/// Order:    everything under a name that ends in <c>.tmp</c>, each directory synced from the innermost out, the manifest last; then the name, and its sync. A crash
///           leaves such a directory, which the next open removes, or the whole snapshot.
/// Thread-safe; several may be made at once.
/// </remarks>
internal sealed class SnapshotWork
{
    // Collections of the dictionary are a minute apart.
    private const int Attempts = 5;
    private const int CopyBytes = 1 << 20;

    // Written as a whole and put in place by a rename, so that a link keeps what was there; not there in every directory.
    private static readonly string[] BesideManifest = [MetadataFile.Kind.Name, ExemplarFile.Kind.Name];

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly CurrentState _state;
    private readonly TimeProvider _time;
    private readonly ILogger _log;

    public SnapshotWork(IFileSystem files, DataLayout paths, CurrentState state, TimeProvider time, ILogger log)
    {
        _files = files;
        _paths = paths;
        _state = state;
        _time = time;
        _log = log;
    }

    /// <summary>Removes what was not finished: at the start, while none is being made.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void RemoveRests(IFileSystem files, DataLayout paths, Action<string> removed)
    {
        foreach (DirectoryEntry entry in files.List(paths.Snapshots))
        {
            if (!entry.IsDirectory || !entry.Name.EndsWith(DataLayout.TemporarySuffix, StringComparison.Ordinal)) continue;
            string path = DataLayout.Join(paths.Snapshots, entry.Name);
            BlockDirectory.RemoveTree(files, path);
            removed(path);
        }
    }

    /// <summary>Makes one.</summary>
    /// <param name="cancel">Gives up; nothing is left.</param>
    /// <returns>Its name, of the form that Prometheus gives its own.</returns>
    /// <exception cref="DiskException">The disk refused; nothing is left that the next open does not remove.</exception>
    /// <exception cref="EngineUnavailableException">The engine is closed.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public string Make(CancellationToken cancel)
    {
        string name = string.Create(
            CultureInfo.InvariantCulture, $"{_time.GetUtcNow():yyyyMMdd'T'HHmmss'Z'}-{BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)) >> 1:x16}");
        var target = new DataLayout(DataLayout.Join(_paths.Snapshots, name + DataLayout.TemporarySuffix));
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                Fill(target, cancel);
                _files.Rename(target.Root, DataLayout.Join(_paths.Snapshots, name));
                _files.SyncDir(_paths.Snapshots);
                Log.SnapshotMade(_log, name);
                return name;
            }
            catch (DictionaryReplacedException) when (attempt < Attempts)
            {
                Remove(target.Root);
            }
            catch
            {
                Remove(target.Root);
                throw;
            }
        }
    }

    private void Fill(DataLayout target, CancellationToken cancel)
    {
        EngineState state = _state.Acquire();
        try
        {
            ManifestState manifest = state.Manifest with { Segments = [], DeletedBlocks = [] };
            _files.MakeDir(target.Root);
            target.MakeDirectories(_files);
            foreach (DictionaryEntry dictionary in manifest.Dictionaries) CopyDictionary(dictionary, target, cancel);
            LinkTables(manifest.Tables, target, cancel);
            foreach (BlockEntry block in manifest.Blocks) LinkTree(_paths.Block(block.Ulid), target.Block(block.Ulid), cancel);
            foreach (string file in BesideManifest.Where(file => _files.FileSize(DataLayout.Join(_paths.Root, file)) is not null))
                _files.Link(DataLayout.Join(_paths.Root, file), DataLayout.Join(target.Root, file));
            foreach (string directory in target.Directories) _files.SyncDir(directory);
            Manifest.Commit(_files, target.Root, manifest with { Tombstones = manifest.TombstonesFor([]) });
        }
        finally
        {
            state.Release();
        }
    }

    private void LinkTables(ImmutableArray<TableEntry> tables, DataLayout target, CancellationToken cancel)
    {
        HashSet<string> made = [];
        foreach (TableEntry table in tables)
        {
            cancel.ThrowIfCancellationRequested();
            string directory = target.TableDirectory(table.Level, table.Windows[0]);
            if (table.Level > 0 && made.Add(directory)) _files.MakeDir(directory);
            _files.Link(_paths.Table(table), target.Table(table));
        }

        foreach (string directory in made) _files.SyncDir(directory);
    }

    /// <summary>A directory that is not there, of a block that cannot be opened, is empty and not made.</summary>
    private void LinkTree(string from, string to, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        IReadOnlyList<DirectoryEntry> entries = _files.List(from);
        if (entries.Count == 0) return;
        _files.MakeDir(to);
        foreach (DirectoryEntry entry in entries)
        {
            if (entry.IsDirectory) LinkTree(DataLayout.Join(from, entry.Name), DataLayout.Join(to, entry.Name), cancel);
            else _files.Link(DataLayout.Join(from, entry.Name), DataLayout.Join(to, entry.Name));
        }

        _files.SyncDir(to);
    }

    private void CopyDictionary(DictionaryEntry dictionary, DataLayout target, CancellationToken cancel)
    {
        try
        {
            using IFile source = _files.OpenRead(_paths.Dictionary(dictionary.Number));
            using IFile copy = _files.CreateNew(target.Dictionary(dictionary.Number));
            using PooledBuffer piece = PooledBuffer.Rent(CopyBytes, CopyBytes);
            for (long at = 0; at < dictionary.Length;)
            {
                cancel.ThrowIfCancellationRequested();
                piece.SetLength((int)Math.Min(CopyBytes, dictionary.Length - at));
                int read = source.Read(at, piece.Span);
                if (read == 0) throw new CorruptFileException(source.Path, at, $"ends before the {dictionary.Length} bytes that are committed");
                copy.Write(at, piece.Span[..read]);
                at += read;
            }

            copy.SyncAll();
        }
        catch (DiskException gone) when (gone.Errno == Errno.NoEntry)
        {
            throw new DictionaryReplacedException();
        }
    }

    private void Remove(string path)
    {
        try
        {
            BlockDirectory.RemoveIfThere(_files, path);
        }
        catch (DiskException failure)
        {
            Log.DeleteFailed(_log, failure.Path, failure); // the failure that led here is the one to report; the next open removes it
        }
    }

    private sealed class DictionaryReplacedException : Exception;
}
