using System.Text;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Levels;

internal static class ManifestSamples
{
    public static void MakeDirectories(IFileSystem fs, string dataDir)
    {
        fs.MakeDir(dataDir);
        new DataLayout(dataDir).MakeDirectories(fs);
    }

    public static ManifestState State(long generation, int tables, ulong sequence = 1) => new()
    {
        Generation = generation,
        DirectoryId = new Guid("00112233-4455-6677-8899-aabbccddeeff"),
        BlockDurationMs = TableModel.WindowMs,
        NextSeriesId = 100,
        NextTableId = tables,
        NextSegment = 5,
        ConversionCounter = 2,
        Tables = [.. Enumerable.Range(0, tables).Select(id => Table(id, 0, sequence, 0, TableModel.WindowMs))],
        Dictionaries = [new DictionaryEntry(1, 100, 0xDEADBEEF, 7)],
        Segments = [new SegmentEntry(3, 4096), new SegmentEntry(4, null)],
        Tombstones = [new TombstoneEntry(sequence, -5, 5, ["job=~\"a.*\"", "ж=\"<>&'\""])],
        Blocks = [new BlockEntry("01HV0000000000000000000000", 2, Adopted: false, 7_200_000, 14_399_999, AppliedTo: 3UL << 40)],
    };

    public static TableEntry Table(long id, int level, ulong sequence, params long[] windows) =>
        new(id, level, [.. windows], 1, 99, sequence, sequence, 2, 3, 100, windows[0], windows[^1] + 5, 1000 + id, 0x12345678);

    public static string Text(ManifestState state) => Encoding.UTF8.GetString(ManifestText.Write(state));

    /// <summary>
    /// Generation 1 names table 0, a dictionary and segment 4; generation 2, a flush of 4 into table 1, was the last that happened.
    /// </summary>
    public static void TwoGenerations(MemoryFileSystem fs, string dataDir)
    {
        TableEntry zero = WriteTable(fs, dataDir, 0, 3);
        ManifestState first = State(1, 0) with
        {
            NextTableId = 1,
            NextSegment = 5,
            Tables = [zero],
            Segments = [new SegmentEntry(4, null)],
            Tombstones = [],
            Blocks = [],
        };
        fs[new DataLayout(dataDir).Segment(4)] = [4];
        fs[new DataLayout(dataDir).Segment(5)] = [5];
        fs[new DataLayout(dataDir).Dictionary(1)] = new byte[100];
        Manifest.Commit(fs, dataDir, first);
        TableEntry one = WriteTable(fs, dataDir, 1, 4);
        Manifest.Commit(fs, dataDir, first with
        {
            Generation = 2,
            NextTableId = 2,
            NextSegment = 6,
            Tables = [zero, one],
            Segments = [new SegmentEntry(5, null)],
        });
    }

    private static TableEntry WriteTable(MemoryFileSystem fs, string dataDir, long id, ulong segment)
    {
        using NativeArena arena = new();
        using SSTableWriter writer = new(fs, new DataLayout(dataDir).Table(id), new SSTableWriterOptions { TableId = id });
        writer.Add(0, 1, [TableModel.ToNative(TableModel.Chunks(0, 1, (int)id)[0], arena)]);
        return TableEntry.Of(writer.Finish(segment << 40, (segment << 40) + 9, []));
    }
}
