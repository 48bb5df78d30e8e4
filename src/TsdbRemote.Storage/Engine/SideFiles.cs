using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>Keeps the files beside the manifest, <c>METADATA</c> and <c>EXEMPLARS</c>: read at the start, before the log, and written by a flush, before its segment may go.</summary>
/// <remarks>
/// Each says what was so at some time after all segments that are gone, and the log tells the rest again, which does no harm where the file has it already. So neither needs a
/// word in the manifest.
/// Failure:  a damaged one costs what stood behind the damage, is put into quarantine and named, and the start goes on. One that cannot be written fails the flush,
///           which is tried again; only a failed sync of the directory is final.
/// Not thread-safe: the start, then the one thread that flushes.
/// </remarks>
internal sealed class SideFiles(
    IFileSystem files, DataLayout paths, Guid directoryId, MetricMetadata metadata, ExemplarRing exemplars, EngineDamages damages)
{
    private const int MaxQuarantined = 1000;

    private long _metadataWritten;
    private long _exemplarsWritten;

    /// <summary>Reads what is there.</summary>
    /// <exception cref="DataDirectoryException">A later program wrote one of them.</exception>
    public void Load()
    {
        bool isWhole = TryLoad(paths.Metadata, () => MetadataFile.Load(files, paths.Metadata, directoryId, metadata));
        _metadataWritten = isWhole ? metadata.Version : -1;
        bool isDamaged = !isWhole;
        if (exemplars.IsOn)
        {
            isWhole = TryLoad(paths.Exemplars, () => ExemplarFile.Load(files, paths.Exemplars, directoryId, exemplars));
            _exemplarsWritten = isWhole ? exemplars.Version : -1;
            isDamaged |= !isWhole;
        }

        if (isDamaged) TryWriteChanged();
    }

    /// <summary>Writes those whose content has changed.</summary>
    /// <exception cref="DiskException">A step failed: the segments that say the same must stay.</exception>
    public void WriteChanged()
    {
        if (metadata.Version != _metadataWritten) _metadataWritten = MetadataFile.Write(files, paths.Metadata, directoryId, metadata);
        if (exemplars.IsOn && exemplars.Version != _exemplarsWritten) _exemplarsWritten = ExemplarFile.Write(files, paths.Exemplars, directoryId, exemplars);
    }

    /// <summary>Whether a path is that of a file being written: if its sync fails, the next attempt makes another.</summary>
    public bool IsUnfinished(string path) => path == paths.Metadata + SideFile.TemporarySuffix || path == paths.Exemplars + SideFile.TemporarySuffix;

    /// <summary>What could be read of a damaged file is nowhere else; where there is no room for it now, a flush writes it.</summary>
    private void TryWriteChanged()
    {
        try
        {
            WriteChanged();
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            // And therefore the next flush writes it.
        }
    }

    private bool TryLoad(string path, Action load)
    {
        if (files.FileSize(path) is null) return true;
        try
        {
            load();
            return true;
        }
        catch (NewerFormatException newer)
        {
            throw new DataDirectoryException(newer.Message, newer);
        }
        catch (CorruptFileException corrupt)
        {
            string kept = PutAside(path);
            string what = $"{corrupt.Message}; what stood behind is lost, the file is kept as {kept}";
            damages.Add(what);
            return false;
        }
    }

    private string PutAside(string path)
    {
        for (int i = 1; i < MaxQuarantined; i++)
        {
            string kept = DataLayout.Join(paths.Quarantine, string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(path)}.{i}"));
            if (files.FileSize(kept) is not null) continue;
            files.Rename(path, kept);
            files.SyncDir(paths.Quarantine);
            files.SyncDir(paths.Root);
            return kept;
        }

        throw new DataDirectoryException($"{path} is damaged, and {paths.Quarantine} holds {MaxQuarantined - 1} earlier ones: move those away");
    }
}
