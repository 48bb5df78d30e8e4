using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks the files of the dictionary, and knows afterwards which series have labels.</summary>
/// <remarks>Memory: 8 bytes a series, up to 24 while they are read.</remarks>
internal sealed class DictionaryCheck(VerifyRun run, ManifestState manifest)
{
    private const string Refused = "a start is refused: without labels nothing in tables can be served; restore the whole directory from a backup";

    private List<ulong> _ids = [];
    private ulong[] _sorted = [];

    /// <summary>True if every named file was read to its end.</summary>
    public bool IsComplete { get; private set; } = true;

    /// <summary>Ids of all series, ascending.</summary>
    public ReadOnlySpan<ulong> Ids => _sorted;

    /// <summary>Bytes that <see cref="Check"/> will read.</summary>
    public long ExpectedBytes => VerifyRun.Total(manifest.Dictionaries.Select(static entry => entry.Length));

    /// <summary>Reads all of them.</summary>
    public void Check()
    {
        foreach (DictionaryEntry entry in manifest.Dictionaries)
        {
            string path = run.Paths.Dictionary(entry.Number);
            bool isRead = false;
            run.Check(path, entry.Length, Refused, () => isRead = TryRead(entry, path));
            IsComplete &= isRead;
        }

        _sorted = [.. _ids];
        _ids = []; // cleared it would keep its array, beside this one, until all is verified
        Array.Sort(_sorted);
        CheckIds();
    }

    private bool TryRead(DictionaryEntry entry, string path)
    {
        run.Counts.Dictionaries++;
        try
        {
            SeriesFileReport report = SeriesFile.Load(
                run.Files, path, manifest.DirectoryId, entry.Number, entry.Length, entry.Crc, (id, labels) => Take(path, id, labels), run.Cancel);
            foreach (SeriesFileDamage damage in report.Damage)
            {
                run.Error(path, damage.Offset, damage.Reason, damage.Length == 0
                    ? "entries that verify are served; some may be missing"
                    : $"{damage.Length} bytes are passed over: the series whose entries they were have no labels, and what tables hold of them is not served; all others are");
            }

            if (report.DamageCount > report.Damage.Count) run.Skip($"{run.Relative(path)}: {report.DamageCount - report.Damage.Count} more damaged places");
            run.Counts.DictionarySeries += report.Entries;
            if (report.DamageCount == 0 && report.Entries != entry.Entries)
                run.Error(path, null, $"holds {report.Entries} series, the manifest counts {entry.Entries}", "series may be missing, or be there twice");
            return report.DamageCount == 0;
        }
        catch (CorruptFileException corrupt)
        {
            if (run.Live is not { } live || live.Manifest.Dictionaries.Any(named => named.Number == entry.Number)) run.Error(corrupt, Refused);
            else run.Skip($"{run.Relative(path)}: replaced by a collection meanwhile");
        }

        return false;
    }

    private void Take(string path, ulong id, ReadOnlySpan<byte> labels)
    {
        _ids.Add(id);
        if (id >= manifest.NextSeriesId)
            run.Error(path, null, $"gives id {id}, which is not below next_series_id {manifest.NextSeriesId} of the manifest", "a new series may get the same id, and the two be mixed up");
        if (!LabelNormalizer.IsCanonical(labels))
            run.Error(path, null, $"the labels of series {id} are not in canonical form", "the series may not be found by its labels");
    }

    private void CheckIds()
    {
        for (int i = 1; i < _sorted.Length; i++)
        {
            if (_sorted[i] != _sorted[i - 1]) continue;
            run.Error(run.Paths.Series, null, $"id {_sorted[i]} is given to two series", "samples of the two are mixed up");
        }
    }
}
