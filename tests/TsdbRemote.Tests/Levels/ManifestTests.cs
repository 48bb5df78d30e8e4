using System.Text;
using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Levels;

public class ManifestTests
{
    private const string Data = "data";
    private const string ManifestPath = "data/MANIFEST";
    private const string PreviousPath = "data/MANIFEST.prev";

    [Fact]
    public void What_was_committed_is_loaded() =>
        Gen.Select(Gen.Int[0, 5], Gen.Long[1, long.MaxValue], Gen.ULong, Gen.Guid).Sample(
            (tables, number, sequence, id) =>
            {
                MemoryFileSystem fs = new();
                ManifestState state = ManifestSamples.State(number, tables, sequence / 2) with { DirectoryId = id };
                Manifest.Commit(fs, Data, state);
                ManifestState? loaded = Manifest.TryLoad(fs, Data, out string? usedPrev);
                Assert.Null(usedPrev);
                Assert.Equal(ManifestSamples.Text(state), ManifestSamples.Text(loaded!));
            },
            iter: 100);

    [Fact]
    public void The_file_is_text_that_an_operator_can_read()
    {
        MemoryFileSystem fs = new();
        Manifest.Commit(fs, Data, ManifestSamples.State(3, 1, 9));
        string text = Encoding.UTF8.GetString(fs[ManifestPath]);
        Assert.StartsWith("{\n  \"format_version\": 1,\n  \"generation\": 3,\n", text, StringComparison.Ordinal);
        Assert.Contains("\n      \"first_sequence\": 9,\n", text, StringComparison.Ordinal);
        Assert.Matches("}\ncrc32c: [0-9a-f]{8}\n$", text);
    }

    [Fact]
    public void Steps_are_taken_in_the_order_that_a_crash_allows()
    {
        MemoryFileSystem fs = new();
        Manifest.Commit(fs, Data, ManifestSamples.State(1, 0));
        Assert.Equal(
            [
                "create data/MANIFEST.tmp", "write data/MANIFEST.tmp", "sync data/MANIFEST.tmp", "rename data/MANIFEST.tmp data/MANIFEST",
                "syncdir data", "syncdir .",
            ],
            fs.Trace);
        fs.Trace.Clear();
        Manifest.Commit(fs, Data, ManifestSamples.State(2, 0));
        Assert.Equal(
            [
                "create data/MANIFEST.tmp", "write data/MANIFEST.tmp", "sync data/MANIFEST.tmp", "link data/MANIFEST data/MANIFEST.prev.tmp",
                "rename data/MANIFEST.prev.tmp data/MANIFEST.prev", "rename data/MANIFEST.tmp data/MANIFEST", "syncdir data",
            ],
            fs.Trace.Where(call => !call.StartsWith("read", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_directory_with_nothing_in_it_is_a_first_start()
    {
        MemoryFileSystem fs = new();
        Assert.Null(Manifest.TryLoad(fs, Data, out _));
        ManifestSamples.MakeDirectories(fs, Data);
        fs["data/MANIFEST.tmp"] = [1];
        fs["data/LOCK"] = [2];
        Assert.Null(Manifest.TryLoad(fs, Data, out _));
    }

    [Theory]
    [InlineData("data/tables/3.sst")]
    [InlineData("data/tables/7200000/3.sst")]
    [InlineData("data/wal/00000001.log")]
    [InlineData("data/series/00000001.dict")]
    [InlineData("data/blocks/01HV0000000000000000000000/index")]
    [InlineData("data/MANIFEST.prev")]
    public void A_missing_manifest_beside_data_is_refused_and_nothing_is_touched(string file)
    {
        MemoryFileSystem fs = new();
        fs[file] = [1, 2, 3];
        ManifestException refused = Assert.Throws<ManifestException>(() => Manifest.TryLoad(fs, Data, out _));
        Assert.Contains("MANIFEST is missing", refused.Message, StringComparison.Ordinal);
        Assert.Contains(file.Replace("/index", "", StringComparison.Ordinal), refused.Message, StringComparison.Ordinal);
        Assert.Equal([1, 2, 3], fs[file]);
        Assert.DoesNotContain(fs.Trace, call => call.StartsWith("unlink", StringComparison.Ordinal));
    }

    [Fact]
    public void No_flipped_bit_gives_another_state()
    {
        MemoryFileSystem fs = new();
        ManifestState state = ManifestSamples.State(1, 1);
        Manifest.Commit(fs, Data, state);
        byte[] good = fs[ManifestPath];
        for (int i = 0; i < good.Length * 8; i++)
        {
            byte[] flipped = (byte[])good.Clone();
            flipped[i / 8] ^= (byte)(1 << (i % 8));
            fs[ManifestPath] = flipped;
            Assert.Throws<ManifestException>(() => Manifest.TryLoad(fs, Data, out _));
        }
    }

    [Fact]
    public void A_cut_manifest_is_refused_at_any_length()
    {
        MemoryFileSystem fs = new();
        Manifest.Commit(fs, Data, ManifestSamples.State(1, 1));
        byte[] good = fs[ManifestPath];
        for (int length = 0; length < good.Length; length++)
        {
            fs[ManifestPath] = good[..length];
            Assert.Throws<ManifestException>(() => Manifest.TryLoad(fs, Data, out _));
        }
    }

    [Theory]
    [InlineData("\"format_version\": 1", "\"format_version\": 2", "written in format version 2; this program reads up to 1")]
    [InlineData("\"generation\": 1,", "\"generation\": 1,\n  \"colour\": 3,", "colour")]
    [InlineData("\"generation\": 1,", "", "generation")]
    [InlineData("\"generation\": 1,", "\"generation\": 1,\n  \"generation\": 1,", "generation")]
    [InlineData("\"generation\": 1,", "\"generation\": 0,", "generation is 0")]
    [InlineData("\"level\": 0", "\"level\": 0,\n      \"colour\": 3", "colour")]
    [InlineData("\"level\": 0", "\"level\": -1", "level is -1")]
    [InlineData("\"next_table_id\": 1", "\"next_table_id\": 0", "not below next_table_id 0")]
    [InlineData("\"tables\": [", "\"tables\": null,\n  \"colours\": [", "tables")]
    public void A_whole_manifest_that_means_something_else_is_refused_and_the_one_before_not_tried(string found, string put, string named)
    {
        MemoryFileSystem fs = new();
        ManifestState state = ManifestSamples.State(1, 1);
        Manifest.Commit(fs, Data, state);
        fs[PreviousPath] = fs[ManifestPath];
        string text = Encoding.UTF8.GetString(fs[ManifestPath]);
        string changed = text[..^17].Replace(found, put, StringComparison.Ordinal);
        Assert.NotEqual(text[..^17], changed);
        fs[ManifestPath] = Encoding.UTF8.GetBytes($"{changed}crc32c: {Crc32C.Of(Encoding.UTF8.GetBytes(changed)):x8}\n");
        ManifestException refused = Assert.Throws<ManifestException>(() => Manifest.TryLoad(fs, Data, out _));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_state_that_contradicts_itself_is_not_committed()
    {
        MemoryFileSystem fs = new();
        ManifestState state = ManifestSamples.State(1, 2);
        ManifestState[] wrong =
        [
            state with { NextTableId = 1 },
            state with { NextSeriesId = 99 },
            state with { FormatVersion = 2 },
            state with { Tables = [state.Tables[0], state.Tables[0]] },
            state with { Tables = [state.Tables[0] with { Level = 1 }] },
            state with { Segments = [new SegmentEntry(state.NextSegment, null)] },
        ];
        foreach (ManifestState one in wrong) Assert.Throws<InvariantViolatedException>(() => Manifest.Commit(fs, Data, one));
        Assert.Empty(fs.Trace);
    }

    [Fact]
    public void A_commit_after_a_failed_one_takes_all_its_steps()
    {
        MemoryFileSystem fs = new();
        Manifest.Commit(fs, Data, ManifestSamples.State(1, 0));
        fs["data/MANIFEST.tmp"] = [1];
        fs.Link(ManifestPath, "data/MANIFEST.prev.tmp");
        Manifest.Commit(fs, Data, ManifestSamples.State(2, 0));
        Assert.Equal(2, Manifest.TryLoad(fs, Data, out _)!.Generation);
        Assert.False(fs.Exists("data/MANIFEST.tmp"));
        Assert.False(fs.Exists("data/MANIFEST.prev.tmp"));
    }

    [Fact]
    public void A_failure_before_the_last_rename_leaves_the_old_state_and_one_after_it_is_uncertain()
    {
        MemoryFileSystem fs = new();
        Manifest.Commit(fs, Data, ManifestSamples.State(1, 0));
        string[] certain =
        [
            "create data/MANIFEST.tmp", "write data/MANIFEST.tmp", "sync data/MANIFEST.tmp",
            "link data/MANIFEST data/MANIFEST.prev.tmp", "rename data/MANIFEST.prev.tmp data/MANIFEST.prev",
        ];
        foreach (string call in certain)
        {
            fs.FailOn = call;
            Assert.Throws<DiskException>(() => Manifest.Commit(fs, Data, ManifestSamples.State(2, 0)));
            Assert.Equal(1, Manifest.TryLoad(fs, Data, out _)!.Generation);
        }

        foreach (string call in (string[])["rename data/MANIFEST.tmp data/MANIFEST", "syncdir data"])
        {
            fs.FailOn = call;
            Assert.IsType<DiskException>(
                Assert.Throws<ManifestUncertainException>(() => Manifest.Commit(fs, Data, ManifestSamples.State(2, 0))).InnerException);
        }
    }

    [Fact]
    public void The_state_before_stands_in_for_a_damaged_one_while_everything_it_names_is_there()
    {
        MemoryFileSystem fs = new();
        ManifestSamples.TwoGenerations(fs, Data);
        fs[ManifestPath][40] ^= 1;
        ManifestState? state = Manifest.TryLoad(fs, Data, out string? usedPrev);
        Assert.Equal(1, state!.Generation);
        Assert.Contains("MANIFEST is damaged (the checksum differs)", usedPrev!, StringComparison.Ordinal);

        // The next commit must not put the damaged file in the place of the good one.
        Manifest.Commit(fs, Data, state with { Generation = 3 });
        Assert.Null(ManifestText.TryOpen(fs[PreviousPath], out _));
        Assert.Equal(3, Manifest.TryLoad(fs, Data, out usedPrev)!.Generation);
        Assert.Null(usedPrev);
    }

    [Theory]
    [InlineData("data/wal/00000004.log", null, "data/wal/00000004.log is missing")]
    [InlineData("data/tables/0.sst", null, "data/tables/0.sst is missing")]
    [InlineData("data/tables/0.sst", 10, "data/tables/0.sst has 10 bytes instead of")]
    [InlineData("data/series/00000001.dict", null, "data/series/00000001.dict is missing")]
    [InlineData("data/series/00000001.dict", 99, "has 99 bytes, 100 are committed")]
    [InlineData("data/MANIFEST.prev", null, "MANIFEST.prev cannot stand in: it is missing")]
    [InlineData("data/MANIFEST.prev", 100, "MANIFEST.prev cannot stand in: the checksum line is missing")]
    [InlineData("data/wal/00000005.log", null, "data/wal/00000005.log is missing, newer ones are there")]
    public void The_state_before_does_not_stand_in_once_something_it_names_is_gone(string file, int? cutTo, string named)
    {
        MemoryFileSystem fs = new();
        ManifestSamples.TwoGenerations(fs, Data);
        fs["data/wal/00000006.log"] = [1];
        fs[ManifestPath][40] ^= 1;
        if (cutTo is { } length) fs[file] = fs[file][..length];
        else fs.Unlink(file);
        ManifestException refused = Assert.Throws<ManifestException>(() => Manifest.TryLoad(fs, Data, out _));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
        Assert.Contains("from a backup", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_state_before_does_not_stand_in_where_a_table_would_be_lost_with_its_segment_gone()
    {
        MemoryFileSystem fs = new();
        ManifestSamples.TwoGenerations(fs, Data);
        // Generation 2 flushed segment 4; its like of segment 5 was committed, too, and the segment deleted.
        using (NativeArena arena = new())
        {
            using SSTableWriter writer = new(fs, "data/tables/2.sst", new SSTableWriterOptions { TableId = 2 });
            writer.Add(0, 1, [TableModel.ToNative(TableModel.Chunks(0, 1, 1)[0], arena)]);
            writer.Finish(5UL << 40, (5UL << 40) + 9, []);
        }

        fs[ManifestPath][40] ^= 1;
        Assert.Equal(1, Manifest.TryLoad(fs, Data, out _)!.Generation);
        fs.Unlink("data/wal/00000005.log");
        ManifestException refused = Assert.Throws<ManifestException>(() => Manifest.TryLoad(fs, Data, out _));
        Assert.Contains("data/tables/2.sst holds what it does not name", refused.Message, StringComparison.Ordinal);
    }
}
