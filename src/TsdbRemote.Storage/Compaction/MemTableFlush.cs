using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Storage.Compaction;

/// <summary>What a flush left on disk, not yet named by the manifest.</summary>
/// <param name="Table">The table, or null if the MemTable held no sample.</param>
/// <param name="Dictionary">The dictionary file with the new series behind its old end, or null if there were none.</param>
/// <param name="NewSeries">Series that the dictionary file has now and lacked before, as ordinals of the dictionary that stands.</param>
/// <param name="Merged">Samples dropped because the same instant came again: equal ones and older versions.</param>
public sealed record FlushResult(TableEntry? Table, DictionaryEntry? Dictionary, uint[] NewSeries, MergeCounts Merged);

/// <summary>Turns one MemTable into one table of level 0: streams in, new files out; never touches the manifest.</summary>
/// <remarks>
/// Order (reliability §2.3): series that the committed dictionary lacks, fsync; the table under a temporary name, verified through a second handle, fsync;
/// rename; fsync of the directory. A crash between any two steps leaves files that nothing names, and the log segment that still has it all.
/// A failed step throws and leaves its files: the caller removes them or the next open does.
/// </remarks>
public sealed class MemTableFlush
{
    private readonly IFileSystem _files;
    private readonly DataLayout _paths;
    private readonly int _bloomBitsPerKey;

    /// <summary>A flush into this data directory.</summary>
    public MemTableFlush(IFileSystem files, DataLayout paths, int bloomBitsPerKey)
    {
        _files = files;
        _paths = paths;
        _bloomBitsPerKey = bloomBitsPerKey;
    }

    /// <summary>Writes the dictionary's new entries and, unless the MemTable holds no sample, the table.</summary>
    /// <param name="memTable">Takes no more writes.</param>
    /// <param name="dictionary">The dictionary that stands: knows what the file holds. The MemTable may belong to one before it.</param>
    /// <param name="lastSequence">Sequence of the last record of its segment.</param>
    /// <param name="manifest">The committed state.</param>
    /// <param name="tableId">Id of the new table, never used before.</param>
    /// <param name="windowMs">Length of a window in ms.</param>
    /// <exception cref="DiskException">The disk refused; nothing is committed.</exception>
    public FlushResult Write(MemTable memTable, SeriesDictionary dictionary, ulong lastSequence, ManifestState manifest, long tableId, long windowMs)
    {
        uint[] ordinals = memTable.OrdinalsSorted();
        if (memTable.SampleCount == 0 || ordinals.Length == 0) return new FlushResult(null, null, [], default);
        memTable.Dictionary.SortById(ordinals);
        DictionaryEntry? file = AppendNew(memTable, ordinals, dictionary, manifest, out uint[] newSeries);
        using var arena = new NativeArena();
        MergeCounts merged = default;
        SortedDictionary<long, WindowChunks> windows = GatherWindows(memTable, ordinals, windowMs, arena, ref merged);
        TableEntry table = WriteTable(memTable, windows, lastSequence, tableId, manifest.DirectoryId);
        return new FlushResult(table, file, newSeries, merged);
    }

    /// <summary>Writes the dictionary's new entries only.</summary>
    /// <param name="memTable">Takes no more writes.</param>
    /// <param name="dictionary">As of <see cref="Write"/>.</param>
    /// <param name="manifest">The committed state.</param>
    /// <param name="newSeries">Series that the file has now and lacked before, as ordinals of the dictionary that stands.</param>
    /// <returns>The file, or null if there were none.</returns>
    /// <exception cref="DiskException">The disk refused; nothing is committed.</exception>
    public DictionaryEntry? WriteDictionary(MemTable memTable, SeriesDictionary dictionary, ManifestState manifest, out uint[] newSeries)
    {
        uint[] ordinals = memTable.OrdinalsSorted();
        memTable.Dictionary.SortById(ordinals);
        return AppendNew(memTable, ordinals, dictionary, manifest, out newSeries);
    }

    private DictionaryEntry? AppendNew(
        MemTable memTable, uint[] ordinals, SeriesDictionary dictionary, ManifestState manifest, out uint[] newSeries)
    {
        newSeries = NewSeries(memTable, ordinals, dictionary);
        return newSeries.Length == 0 ? null : AppendDictionary(dictionary, newSeries, manifest);
    }

    private static uint[] NewSeries(MemTable memTable, uint[] ordinals, SeriesDictionary dictionary)
    {
        List<uint> lacking = [];
        foreach (uint ordinal in ordinals)
        {
            uint current = ordinal;
            if (!ReferenceEquals(memTable.Dictionary, dictionary))
                Invariant.Check(dictionary.TryOrdinalOf(memTable.Dictionary.IdOf(ordinal), out current), "a collection keeps what a MemTable holds");
            if (!dictionary.IsPersisted(current)) lacking.Add(current);
        }

        return [.. lacking];
    }

    private DictionaryEntry AppendDictionary(SeriesDictionary dictionary, uint[] newSeries, ManifestState manifest)
    {
        DictionaryEntry committed = manifest.Dictionaries.IsEmpty ? new DictionaryEntry(1, 0, 0, 0) : manifest.Dictionaries[^1];
        SeriesFileEnd end = SeriesFile.Append(
            _files, _paths.Dictionary(committed.Number), manifest.DirectoryId, committed.Number, committed.Length, committed.Crc, dictionary, newSeries);
        if (end.Created) _files.SyncDir(_paths.Series);
        return new DictionaryEntry(committed.Number, end.Length, end.Crc, committed.Entries + newSeries.Length);
    }

    /// <summary>All chunks by window, each window's in order of id, in which the ordinals come.</summary>
    private static SortedDictionary<long, WindowChunks> GatherWindows(
        MemTable memTable, uint[] ordinals, long windowMs, NativeArena arena, ref MergeCounts merged)
    {
        var windows = new SortedDictionary<long, WindowChunks>();
        var found = new List<SeriesChunk>();
        var output = new List<SeriesChunk>();
        long rank = SourceRank.OfMemTable(memTable.Segment);
        WindowChunks? last = null;
        foreach (uint ordinal in ordinals)
        {
            found.Clear();
            output.Clear();
            memTable.Collect(ordinal, TimeRange.All, rank, arena, found);
            merged += ChunkMerge.Merge(CollectionsMarshal.AsSpan(found), TimeRange.All, windowMs, arena, output);
            foreach (SeriesChunk chunk in output)
            {
                long start = TimeWindow.StartOf(chunk.MinTimeMs, windowMs);
                if (last is null || last.StartMs != start)
                {
                    if (!windows.TryGetValue(start, out last)) windows.Add(start, last = new WindowChunks(start));
                }

                last.Add(ordinal, chunk);
            }
        }

        return windows;
    }

    private TableEntry WriteTable(MemTable memTable, SortedDictionary<long, WindowChunks> windows, ulong lastSequence, long tableId, Guid directoryId)
    {
        var options = new SSTableWriterOptions { TableId = tableId, DirectoryId = directoryId, Level = 0, BloomBitsPerKey = _bloomBitsPerKey };
        return TableEntry.Of(SSTableFiles.Write(_files, _paths.Table(tableId), options, writer =>
        {
            foreach (WindowChunks window in windows.Values) window.WriteTo(writer, memTable.Dictionary);
            ulong firstSequence = (ulong)memTable.Segment << SourceRank.IndexBits;
            return writer.Finish(firstSequence, lastSequence, parents: []);
        }));
    }

    /// <summary>Chunks of one window, in order of series.</summary>
    private sealed class WindowChunks(long startMs)
    {
        private readonly List<uint> _ordinals = [];
        private readonly List<SeriesChunk> _chunks = [];

        public long StartMs { get; } = startMs;

        public void Add(uint ordinal, in SeriesChunk chunk)
        {
            _ordinals.Add(ordinal);
            _chunks.Add(chunk);
        }

        public void WriteTo(SSTableWriter writer, SeriesDictionary dictionary)
        {
            ReadOnlySpan<SeriesChunk> chunks = CollectionsMarshal.AsSpan(_chunks);
            for (int start = 0; start < chunks.Length;)
            {
                int end = start + 1;
                while (end < chunks.Length && _ordinals[end] == _ordinals[start]) end++;
                writer.Add(StartMs, dictionary.IdOf(_ordinals[start]), chunks[start..end]);
                start = end;
            }
        }
    }
}
