using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>A manifest cannot be rebuilt; the message says why. Nothing was changed.</summary>
public sealed class CannotRebuildException(string message, Exception? cause = null) : Exception(message, cause);

/// <summary>A file that bears the name of a table.</summary>
/// <param name="Id">The number in its name.</param>
/// <param name="Path">The file.</param>
/// <param name="WindowMs">The window of its directory, ms; null at level 0.</param>
/// <param name="Info">What it says about itself; null if it is damaged.</param>
internal sealed record FoundTable(long Id, string Path, long? WindowMs, SSTableInfo? Info)
{
    /// <summary>First log segment that it is complete for.</summary>
    public long From => WalFormat.SegmentOf(Info!.Properties.FirstSequence);

    /// <summary>Last log segment that it is complete for.</summary>
    public long To => WalFormat.SegmentOf(Info!.Properties.LastSequence);

    /// <summary>True if a flush made it: then it holds all of its segment.</summary>
    public bool IsFlush => Info!.Properties.Parents.Count == 0;
}

/// <summary>A directory that bears the name of a block.</summary>
/// <param name="Ulid">Its name.</param>
/// <param name="Meta">What it says about itself; null if it cannot be opened.</param>
/// <param name="IsOurs">This data directory made it.</param>
/// <param name="Damage">Why it cannot be opened, or null.</param>
internal sealed record FoundBlock(string Ulid, BlockMeta? Meta, bool IsOurs, string? Damage)
{
    /// <summary>What of the log it holds, as it says.</summary>
    public IReadOnlyList<BlockMarkWindow> Windows => IsOurs ? Meta!.Mark!.Windows : [];
}

/// <summary>What is in a data directory whose manifest cannot be read. Reading it changes nothing.</summary>
internal sealed partial class RebuildFindings
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private string _oldText = "";

    /// <summary>Reads everything but labels.</summary>
    /// <exception cref="CannotRebuildException">There is nothing to rebuild, files of two directories, or one of a later version.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public RebuildFindings(IFileSystem files, DataLayout paths)
    {
        _files = files;
        _paths = paths;
        ReadManifests();
        ReadTables();
        ReadSegments();
        ReadBlocks();
        Dictionaries = [.. Numbers(paths.Series, DataLayout.DictionarySuffix).Order()];
    }

    /// <summary>Whose directory it is, as soon as a file says so.</summary>
    public Guid? DirectoryId { get; private set; }

    /// <summary>What <c>MANIFEST.prev</c> says; null if it is of no use.</summary>
    public ManifestState? Previous { get; private set; }

    /// <summary>Why it is of no use.</summary>
    public string PreviousProblem { get; private set; } = "is missing";

    /// <summary>Files that bear the name of a table, by number.</summary>
    public List<FoundTable> Tables { get; } = [];

    /// <summary>Blocks, by name.</summary>
    public List<FoundBlock> Blocks { get; } = [];

    /// <summary>Numbers of the log segments, ascending.</summary>
    public List<long> Segments { get; } = [];

    /// <summary>Numbers of dictionary files, ascending.</summary>
    public List<long> Dictionaries { get; }

    /// <summary>What was found damaged, for people.</summary>
    public List<string> Damages { get; } = [];

    /// <summary>The generation that the damaged manifest names, as far as one can be read; it may itself be damaged.</summary>
    public long? OldGeneration => NumberIn(GenerationText());

    /// <summary>The length of a window that the damaged manifest names, ms, as far as one can be read; it may itself be damaged.</summary>
    public long? OldWindowMs => NumberIn(BlockDurationText());

    /// <summary>The length of a window, ms, as blocks tell it that were made of one window each; null if there is none, or they do not agree.</summary>
    public long? WindowMsOfBlocks =>
        Blocks.Where(static block => block.IsOurs && block.Meta!.Compaction.Parents.Count == 0).Select(static block => block.Meta!.EndTimeMs - block.Meta.MinTimeMs).Distinct().ToArray()
            is [{ } only] ? only : null;

    /// <summary>Numbers in the names of a directory's files.</summary>
    public IEnumerable<long> Numbers(string directory, string suffix, string prefix = "") => _files.List(directory)
        .Where(entry => !entry.IsDirectory && entry.Name.StartsWith(prefix, StringComparison.Ordinal))
        .Select(entry => DataLayout.NumberOf(entry.Name[prefix.Length..], suffix)).OfType<long>();

    /// <summary>The one that stands must be missing or damaged: one that is whole and refused was written by a later program, and is right.</summary>
    private void ReadManifests()
    {
        string current = DataLayout.Join(_paths.Root, Manifest.FileName);
        string previous = DataLayout.Join(_paths.Root, Manifest.PreviousFileName);
        try
        {
            if (_files.FileSize(current) is not null)
            {
                if (Manifest.Read(_files, current, out _) is null) throw new CannotRebuildException($"{current} is whole: there is nothing to rebuild");
                using IFile file = _files.OpenRead(current);
                byte[] text = new byte[Math.Min(file.Length, 1 << 12)]; // what is looked for stands at the beginning
                _oldText = Encoding.UTF8.GetString(text, 0, file.Read(0, text));
            }

            if (_files.FileSize(previous) is null) return;
            if (Manifest.Read(_files, previous, out ManifestState? state) is { } damage) PreviousProblem = $"is damaged ({damage})";
            Previous = state;
            if (state is not null) Belongs(previous, state.DirectoryId);
        }
        catch (ManifestException refused)
        {
            throw new CannotRebuildException(refused.Message, refused);
        }
    }

    private void ReadTables()
    {
        IEnumerable<(string Directory, long? WindowMs)> directories =
            WindowDirectories.All(_files, _paths).Select(window => (_paths.TableDirectory(level: 1, window), (long?)window)).Prepend((_paths.Tables, null));
        foreach ((string directory, long? window) in directories)
        {
            foreach (DirectoryEntry entry in _files.List(directory))
            {
                if (entry.IsDirectory || DataLayout.NumberOf(entry.Name, DataLayout.TableSuffix) is not { } id) continue;
                string path = DataLayout.Join(directory, entry.Name);
                if (Tables.Find(other => other.Id == id) is { } twice) throw new CannotRebuildException($"{path} and {twice.Path} bear the same number: move away the one that does not belong here");
                Tables.Add(new FoundTable(id, path, window, ReadTable(path, id, window, entry.Length)));
            }
        }

        Tables.Sort(static (one, other) => one.Id.CompareTo(other.Id));
    }

    private SSTableInfo? ReadTable(string path, long id, long? window, long length)
    {
        try
        {
            using SSTableReader table = SSTableReader.Open(_files, path, id, length, mmap: false, cacheMetadata: false);
            Belongs(path, new Guid(table.Properties.DirectoryId.Span, bigEndian: true));
            bool isInPlace = (table.Properties.Level == 0) == (window is null) && (window is null || table.Properties.Windows.All(held => held.StartMs == window));
            if (!isInPlace) throw new CannotRebuildException($"{path} is a table of level {table.Properties.Level} and another window: it was put there; move it back to its directory, or away");
            return new SSTableInfo(length, table.Crc, table.Properties);
        }
        catch (NewerFormatException newer)
        {
            throw new CannotRebuildException(newer.Message, newer);
        }
        catch (CorruptFileException damaged)
        {
            Damages.Add($"{damaged.Message}: the table cannot be opened");
            return null;
        }
    }

    private void ReadSegments()
    {
        Span<byte> header = stackalloc byte[WalFormat.HeaderBytes];
        foreach (long number in Numbers(_paths.Wal, DataLayout.SegmentSuffix).Order())
        {
            using IFile file = _files.OpenRead(_paths.Segment(number));
            int read = file.Read(0, header);
            if (SegmentHeader.TryRead(header[..read], out SegmentHeader found))
            {
                if (found.Version > WalFormat.Version) throw new CannotRebuildException(LogReader.NewerFormat(file.Path, found).Message);
                Belongs(file.Path, found.DirectoryId);
            }

            Segments.Add(number);
        }
    }

    private void ReadBlocks()
    {
        List<(string Ulid, BlockMeta? Meta, string? Damage)> read = [];
        foreach (DirectoryEntry entry in _files.List(_paths.Blocks).OrderBy(static entry => entry.Name, StringComparer.Ordinal))
        {
            if (!entry.IsDirectory || !BlockDirectory.IsBlock(entry.Name, out _)) continue;
            try
            {
                using BlockReader block = BlockReader.Open(_files, _paths.Block(entry.Name), mmap: false);
                read.Add((entry.Name, block.Meta, null));
            }
            catch (NewerFormatException newer)
            {
                throw new CannotRebuildException(newer.Message, newer);
            }
            catch (CorruptFileException damaged)
            {
                read.Add((entry.Name, null, damaged.Message));
            }
        }

        // Where nothing but blocks is left, they say whose it is, if they agree: others would be foreign ones.
        if (DirectoryId is null && read.Select(static block => block.Meta?.Mark?.Directory).OfType<Guid>().Distinct().ToArray() is [{ } only]) DirectoryId = only;
        Blocks.AddRange(read.Select(block => new FoundBlock(block.Ulid, block.Meta, block.Meta?.Mark is { } mark && mark.Directory == DirectoryId, block.Damage)));
    }

    private void Belongs(string path, Guid directoryId)
    {
        DirectoryId ??= directoryId;
        if (DirectoryId != directoryId) throw new CannotRebuildException($"{path} is of data directory {directoryId}, others of {DirectoryId}: move away what does not belong here");
    }

    private long? NumberIn(Regex field)
    {
        Match said = field.Match(_oldText);
        return said.Success && long.TryParse(said.Groups[1].Value, CultureInfo.InvariantCulture, out long number) && number > 0 ? number : null;
    }

    [GeneratedRegex("\"generation\": ([0-9]{1,15})")]
    private static partial Regex GenerationText();

    [GeneratedRegex("\"block_duration_ms\": ([0-9]{1,15})")]
    private static partial Regex BlockDurationText();
}
