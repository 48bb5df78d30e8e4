using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Compaction;

/// <summary>Tables made of samples, opened as an engine has them open, and read back as samples.</summary>
internal sealed class CompactionTables(MemoryFileSystem files)
{
    public const long WindowMs = TableModel.WindowMs;

    public static readonly DataLayout Paths = new("data");

    public long NextId { get; set; } = 1;

    /// <summary>Writes a table of samples whose chunks hold at most so many.</summary>
    /// <param name="level">Its level.</param>
    /// <param name="first">First sequence.</param>
    /// <param name="last">Last sequence.</param>
    /// <param name="chunkSamples">Most samples of a chunk.</param>
    /// <param name="series">Samples by series, ascending.</param>
    /// <param name="damage">Changes the file before it is opened.</param>
    public LevelTable Write(
        int level, ulong first, ulong last, int chunkSamples, IEnumerable<(ulong Id, Sample[] Samples)> series, Action<byte[]>? damage = null)
    {
        using NativeArena arena = new();
        return WriteChunks(level, first, last, series.Select(one =>
        {
            List<SeriesChunk> chunks = [];
            ChunkMerge.Encode(one.Samples, WindowMs, rank: 0, arena, chunks, chunkSamples);
            return (one.Id, chunks.ToArray());
        }), damage);
    }

    /// <summary>Writes a table of chunks that cross no window.</summary>
    public LevelTable WriteChunks(int level, ulong first, ulong last, IEnumerable<(ulong Id, SeriesChunk[] Chunks)> series, Action<byte[]>? damage = null)
    {
        var byWindow = new SortedDictionary<long, List<(ulong Id, SeriesChunk[] Chunks)>>();
        foreach ((ulong id, SeriesChunk[] chunks) in series.OrderBy(static one => one.Id))
        {
            foreach (IGrouping<long, SeriesChunk> window in chunks.GroupBy(static chunk => TimeWindow.StartOf(chunk.MinTimeMs, WindowMs)))
            {
                if (!byWindow.TryGetValue(window.Key, out var list)) byWindow.Add(window.Key, list = []);
                list.Add((id, [.. window]));
            }
        }

        long tableId = NextId++;
        string path = Paths.Table(tableId, level, byWindow.Keys.First());
        TableEntry entry = TableEntry.Of(SSTableFiles.Write(files, path, new SSTableWriterOptions { TableId = tableId, Level = level }, writer =>
        {
            foreach ((long window, var list) in byWindow)
            {
                foreach ((ulong id, SeriesChunk[] chunks) in list) writer.Add(window, id, chunks);
            }

            return writer.Finish(first, last, []);
        }));
        damage?.Invoke(files[path]);
        return Open(entry);
    }

    public LevelTable Open(TableEntry entry) => new(
        entry, SSTableReader.Open(files, Paths.Table(entry), entry.Id, entry.Size, mmap: true, cacheMetadata: true, entry.Crc, readBufferBytes: 4096));

    /// <summary>Merges and replaces, as a commit does.</summary>
    public LevelSet Compact(LevelSet levels, CompactionJob job, TableCompactor compactor, out CompactionResult result)
    {
        result = compactor.Write(job, () => NextId++, static _ => { }, CancellationToken.None);
        LevelSet next = levels.Replace(
            job.Window.MinMs, job.Inputs.Select(static table => table.Entry.Id).ToHashSet(), result.Tables.Select(Open), out var gone);
        foreach (LevelTable table in gone)
        {
            table.Reader.MarkObsolete();
            table.Reader.Dispose();
        }

        return next;
    }

    /// <summary>All samples, as a query sees them.</summary>
    public static SortedDictionary<ulong, List<Sample>> Read(LevelSet levels)
    {
        using NativeArena arena = new();
        var all = new SortedDictionary<ulong, List<Sample>>();
        foreach (IGrouping<ulong, SeriesChunk> series in Chunks(levels.Tables, TimeRange.All, arena).GroupBy(static one => one.Id, static one => one.Chunk))
        {
            List<SeriesChunk> merged = [];
            ChunkMerge.Merge(series.ToArray(), TimeRange.All, windowMs: 0, arena, merged);
            List<Sample> samples = [];
            foreach (SeriesChunk chunk in merged) ChunkMerge.Decode(chunk, samples);
            all.Add(series.Key, samples);
        }

        return all;
    }

    /// <summary>All chunks of a range, from the windows that the tables still have.</summary>
    public static List<(ulong Id, SeriesChunk Chunk)> Chunks(IEnumerable<LevelTable> tables, TimeRange range, NativeArena arena)
    {
        List<(ulong Id, SeriesChunk Chunk)> found = [];
        foreach (LevelTable table in tables)
        {
            ulong[] ids = [.. table.Reader.Properties.Windows.SelectMany(window => table.Reader.SeriesIdsOf(window.StartMs)).Distinct().Order()];
            table.Collect(ids, range, arena, new Sink(ids, found, arena));
        }

        return found;
    }

    public static byte[] BytesOf(SeriesChunk chunk) => chunk.Data.Span.ToArray();

    /// <summary>Copies chunks, for what is mapped goes with its reader.</summary>
    private sealed class Sink(ulong[] ids, List<(ulong Id, SeriesChunk Chunk)> found, NativeArena arena) : ISeriesChunkSink
    {
        public void Add(int idIndex, in SeriesChunk chunk)
        {
            NativeBytes copy = arena.Allocate(chunk.Data.Length);
            chunk.Data.Span.CopyTo(copy.Span);
            found.Add((ids[idIndex], chunk with { Data = copy }));
        }
    }
}
