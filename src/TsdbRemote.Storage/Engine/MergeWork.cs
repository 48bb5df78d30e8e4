using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Engine;

/// <summary>Commits merges: the tables of one window become one run of the next level.</summary>
/// <remarks>
/// Order (reliability §2.3): the new tables, each verified, synced and named; what is damaged gets a second name; the manifest (window out of the inputs,
/// new tables in); then the state that readers see; then inputs that held nothing else go with their last reader. A crash before the manifest leaves
/// tables that nobody names, one after it inputs that nobody names: the next open removes either.
/// What a merge that fails or is cancelled has written is removed at once, unless nobody knows which manifest stands.
/// Thread-safe: several merges run at once, each in a window that its caller has claimed.
/// </remarks>
internal sealed class MergeWork
{
    /// <summary>Of the only files whose failed sync is harmless: they are dropped, and the next attempt has other names.</summary>
    private const string NewTableSuffix = DataLayout.TableSuffix + DataLayout.TemporarySuffix;

    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly StateCommits _commits;
    private readonly TableCompactor _compactor;
    private readonly FlushSettings _settings;
    private readonly TableIds _ids;
    private readonly TableAges _ages;
    private readonly EngineCounters _counters;
    private readonly Action<string> _damaged;
    private readonly ILogger _log;

    public MergeWork(
        IFileSystem files, DataLayout paths, StateCommits commits, TableCompactor compactor, FlushSettings settings, TableIds ids, TableAges ages,
        EngineCounters counters, Action<string> damaged, ILogger log)
    {
        _files = files;
        _paths = paths;
        _commits = commits;
        _compactor = compactor;
        _settings = settings;
        _ids = ids;
        _ages = ages;
        _counters = counters;
        _damaged = damaged;
        _log = log;
    }

    /// <summary>True if a failed sync says nothing about files that the manifest names.</summary>
    public static bool IsOfNewTable(DiskException failure) => failure.Path.EndsWith(NewTableSuffix, StringComparison.Ordinal);

    /// <summary>Merges.</summary>
    /// <param name="job">The caller has claimed its window and holds its inputs.</param>
    /// <param name="pace">Called between pieces of work with the bytes read so far.</param>
    /// <param name="cancel">Gives up; nothing is left behind.</param>
    /// <returns>False if nothing of the inputs could be read: they are as they were, and another attempt would end alike.</returns>
    /// <exception cref="DiskException">The disk refused; the inputs are as they were.</exception>
    /// <exception cref="ManifestUncertainException">Nobody knows which manifest stands.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the inputs are as they were.</exception>
    public bool Run(CompactionJob job, Action<long> pace, CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp();
        List<long> taken = [];
        List<LevelTable> outputs = [];
        try
        {
            CompactionResult result = _compactor.Write(job, () => Take(taken), pace, cancel);
            foreach (string damage in result.Damages) _damaged(damage);
            if (result.Tables.IsEmpty && !result.IsAllDeleted) return false;
            foreach (LevelTable table in job.Inputs.Where(table => result.DamagedTables.Contains(table.Entry.Id))) TableQuarantine.Keep(_files, _paths, table);
            foreach (TableEntry entry in result.Tables) outputs.Add(_settings.Open(_files, _paths, entry));
            cancel.ThrowIfCancellationRequested();
            Commit(job, result, outputs);
            Count(job, result, Stopwatch.GetElapsedTime(started));
            return true;
        }
        catch (Exception failure)
        {
            bool isUncertain = failure is ManifestUncertainException || (failure is DiskException { IsSync: true } sync && !IsOfNewTable(sync));
            if (!isUncertain) RemoveUnnamed(job, taken);
            throw;
        }
        finally
        {
            foreach (LevelTable table in outputs) table.Reader.Release(); // the state holds them now, or nobody does
        }
    }

    private long Take(List<long> taken)
    {
        long id = _ids.Take();
        taken.Add(id);
        return id;
    }

    private void Commit(CompactionJob job, CompactionResult result, List<LevelTable> outputs)
    {
        ImmutableHashSet<long> inputs = [.. job.Inputs.Select(static table => table.Entry.Id)];
        _ages.Inherit(inputs, result.Tables.Select(static table => table.Id));
        _commits.Commit(
            manifest => manifest with { Tables = manifest.TablesWithout(job.Window.MinMs, inputs).AddRange(result.Tables) },
            (state, manifest) =>
            {
                LevelSet levels = state.Levels.Replace(job.Window.MinMs, inputs, outputs, out ImmutableArray<LevelTable> gone);
                foreach (LevelTable table in gone) table.Reader.MarkObsolete((path, failure) => Log.DeleteFailed(_log, path, failure));
                return state.With(manifest, levels: levels);
            });
    }

    /// <summary>Removes what the attempt may have left, named or not.</summary>
    private void RemoveUnnamed(CompactionJob job, List<long> ids)
    {
        foreach (string path in ids.Select(id => _paths.Table(id, job.OutputLevel, job.Window.MinMs)).SelectMany(static path => (string[])[path, path + DataLayout.TemporarySuffix]))
        {
            try
            {
                if (_files.FileSize(path) is not null) _files.Unlink(path);
            }
            catch (DiskException failure)
            {
                // The failure that led here is the one to report; the next open removes the file.
                Log.DeleteFailed(_log, path, failure);
            }
        }
    }

    private void Count(CompactionJob job, CompactionResult result, TimeSpan elapsed)
    {
        LevelCounters level = _counters.Compactions[job.OutputLevel];
        EngineCounters.Add(ref level.Count, 1);
        EngineCounters.Add(ref level.Ticks, elapsed.Ticks);
        EngineCounters.Add(ref level.TablesMerged, job.Inputs.Length);
        EngineCounters.Add(ref level.TablesWritten, result.Tables.Length);
        EngineCounters.Add(ref level.BytesRead, result.BytesRead);
        EngineCounters.Add(ref level.BytesWritten, result.BytesWritten);
        EngineCounters.Add(ref level.Samples, result.SamplesWritten);
        EngineCounters.Add(ref _counters.MergedDuplicates, result.Merged.Duplicates);
        EngineCounters.Add(ref _counters.MergedConflicts, result.Merged.Conflicts);
        Log.Merged(
            _log, job.Window.MinMs, job.OutputLevel, job.Reason, job.Inputs.Length, result.Tables.Length, result.BytesRead, result.BytesWritten, elapsed.TotalSeconds);
    }
}
