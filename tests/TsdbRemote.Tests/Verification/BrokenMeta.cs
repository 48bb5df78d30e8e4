using System.Text;
using System.Text.Json.Nodes;
using static TsdbRemote.Tests.Verification.BrokenRule;

namespace TsdbRemote.Tests.Verification;

/// <summary>Ways to break directory, meta.json and tombstones: rules 1 to 12 and 46.</summary>
internal static class BrokenMeta
{
    public static BrokenRule[] Rows { get; } =
    [
        Local(1, "another name than the ulid", static f => f.Name = BlockForge.OtherId),
        Local(1, "a name in lower case", static f => f.Name = BlockForge.Id.ToLowerInvariant()),
        Local(1, "a final name that is no ulid", static f => f.Options = f.Options with { FinalName = "01HF7YAT00" }),
        Local(1, "a name above 128 bits", static f => f.Options = f.Options with { FinalName = $"8{BlockForge.Id[1..]}" }),
        Local(2, "version 2", static f => Meta(f, static m => m["version"] = 2)),
        Local(2, "no version", static f => Meta(f, static m => m.Remove("version"))),
        Local(2, "version 2 of the thanos section", static f => Meta(f, static m => m["thanos"] = new JsonObject { ["version"] = 2 })),
        Local(2, "no meta.json", static f => f.Files = static (files, directory) => files.Unlink($"{directory}/meta.json")),
        Local(2, "a byte order mark", static f => f.EditFile("meta.json", static bytes => [0xEF, 0xBB, 0xBF, .. bytes])),
        Local(2, "half a file", static f => f.EditFile("meta.json", static bytes => bytes[..(bytes.Length / 2)])),
        Local(2, "a string that is not UTF-8", static f => f.EditFile("meta.json", static bytes => Replace(bytes, BlockForge.Id, [.. Enumerable.Repeat((byte)0xFF, 26)]))),
        Local(2, "a hint that is not UTF-8", static f =>
        {
            Compaction(f, static c => c["hints"] = new JsonArray("from-out-of-order"));
            f.EditFile("meta.json", static bytes => Replace(bytes, "from-out-of-order", [0xFF]));
        }),
        Local(2, "a list", static f => f.EditFile("meta.json", static _ => "[]"u8.ToArray())),
        Local(3, "a ulid of the future", static f => f.Options = f.Options with { NowMs = 1_699_999_000_000 }),
        Local(3, "a ulid older than its making", static f => f.Options = f.Options with { CreatedSinceMs = 1_700_000_400_000 }),
        Local(4, "a range that ends before it begins", static f => Meta(f, static m => m["maxTime"] = BlockForge.StartMs - 1), 5),
        Local(4, "an empty range", static f => Meta(f, static m => m["maxTime"] = BlockForge.StartMs), 5),
        Local(4, "no minTime", static f => Meta(f, static m => m.Remove("minTime"))),
        Local(4, "an exponent", static f => f.EditFile("meta.json", static bytes => Replace(bytes, "1700013600000", "1.7000136e12"u8))),
        Local(4, "times in seconds", static f => Meta(f, static m => (m["minTime"], m["maxTime"]) = (1_700_006_400, 1_700_013_600)), 5),
        Local(4, "times in µs", static f => Meta(f, static m => (m["minTime"], m["maxTime"]) = (BlockForge.StartMs, BlockForge.EndMs * 1000)), 6, 49),
        Local(5, "the last sample at maxTime", static f => Meta(f, static m => m["maxTime"] = BlockForge.EndMs - 1)),
        Local(5, "the first sample before minTime", static f => Meta(f, static m => m["minTime"] = BlockForge.StartMs + 1)),
        Local(6, "a range that crosses its window", static f => Meta(f, static m => m["maxTime"] = BlockForge.EndMs + 1), 49),
        Local(6, "a range that begins before its window", static f => Meta(f, static m => m["minTime"] = BlockForge.StartMs - 1)),
        new(6, "a range that crosses midnight", BlockForge.Mimir, static f =>
        {
            f.Options = f.Options with { LevelRangesMs = [], LiveBlocks = null, NowMs = BlockForge.EndMs + 90_000_000 };
            f.EditMeta(static m => m["maxTime"] = BlockForge.EndMs + 86_400_000);
        }),
        Local(7, "a sample too many", static f => Stats(f, static s => (s["numSamples"], s["numFloatSamples"]) = (69, 59))),
        Local(7, "a series too few", static f => Stats(f, static s => s["numSeries"] = 4)),
        Local(7, "no chunks", static f => Stats(f, static s => s.Remove("numChunks"))),
        Local(7, "parts that are not the whole", static f => Stats(f, static s => (s["numFloatSamples"], s["numHistogramSamples"]) = (57, 10))),
        Local(7, "floats taken for histograms", static f => Stats(f, static s => (s["numFloatSamples"], s["numHistogramSamples"]) = (10, 58))),
        Local(7, "no samples", static f => Stats(f, static s => s.Clear())),
        Local(7, "a negative count", static f => Stats(f, static s => s["numSeries"] = -5)),
        Local(8, "a tombstone that is not there", static f => Stats(f, static s => s["numTombstones"] = 1)),
        Local(8, "a tombstone that is not counted", static f =>
        {
            f.Tombstones.Add((0, null, BlockForge.StartMs, BlockForge.StartMs));
            Stats(f, static s => s.Remove("numTombstones"));
        }),
        Local(9, "level 0", static f => Compaction(f, static c => c["level"] = 0)),
        Local(9, "no level", static f => Compaction(f, static c => c.Remove("level"))),
        Local(9, "no sources", static f => Compaction(f, static c => c["sources"] = new JsonArray())),
        Local(9, "another block as the source of level 1", static f => Compaction(f, static c => c["sources"] = new JsonArray("01HF7YAT00ABCDEFGHJKMNPQRV"))),
        Local(9, "sources out of order", static f => Compaction(f, static c =>
            (c["level"], c["sources"]) = (2, new JsonArray(BlockForge.OtherId, BlockForge.Id)))),
        Local(9, "a source twice", static f => Compaction(f, static c =>
            (c["level"], c["sources"]) = (2, new JsonArray(BlockForge.Id, BlockForge.Id)))),
        Local(9, "a source that is no ulid", static f => Compaction(f, static c => (c["level"], c["sources"]) = (2, new JsonArray("me")))),
        Warning(9, "parents of level 1", static f => Parent(f, "01HF7YAT00ABCDEFGHJKMNPQRV")),
        Local(10, "its own parent", static f => Parent(f, BlockForge.Id)),
        Local(10, "a parent that must stay", static f => Parent(f, BlockForge.OtherId)),
        Local(10, "a parent without minTime", static f => Compaction(f, static c => (c["level"], c["parents"]) = (2, Parents("maxTime")))),
        Local(10, "a parent without maxTime", static f => Compaction(f, static c => (c["level"], c["parents"]) = (2, Parents("minTime")))),
        Local(10, "a parent whose time is a string", static f => Compaction(f, static c =>
        {
            c["level"] = 2;
            c["parents"] = Parents("minTime", "maxTime");
            c["parents"]![0]!["minTime"] = "0";
        })),
        Warning(11, "deletable", static f => Compaction(f, static c => c["deletable"] = true)),
        Warning(11, "failed", static f => Compaction(f, static c => c["failed"] = true)),
        Warning(11, "a hint that nobody knows", static f => Compaction(f, static c => c["hints"] = new JsonArray("from-nowhere"))),
        new(11, "failed, and on its way to a bucket", BlockForge.Thanos, static f => f.EditMeta(static m => m["compaction"]!["failed"] = true)),
        Warning(12, "a scratch file", static f => f.Files = static (files, directory) => files[$"{directory}/index_tmp_p"] = []),
        Warning(12, "half a meta.json", static f => f.Files = static (files, directory) => files[$"{directory}/meta.json.tmp"] = []),
        Warning(12, "half a directory", static f => f.Files = static (files, directory) => files[$"{directory}/x.tmp-for-creation/y"] = []),
        Local(46, "another magic", static f => f.EditFile("tombstones", static bytes => [0x02, .. bytes[1..]])),
        Local(46, "another version", static f => f.EditFile("tombstones", static bytes => [.. bytes[..4], 2, .. bytes[5..]])),
        Local(46, "another checksum", static f => f.EditFile("tombstones", static bytes => [.. bytes[..^1], 1])),
        Local(46, "no checksum", static f => f.EditFile("tombstones", static bytes => bytes[..^1])),
        Local(46, "a series that does not exist", static f => f.Tombstones.Add((0, 1, BlockForge.StartMs, BlockForge.EndMs))),
        Local(46, "an interval that ends before it begins", static f => f.Tombstones.Add((1, null, BlockForge.EndMs, BlockForge.StartMs))),
        Local(46, "half an entry", static f => f.EditFile("tombstones", static _ =>
            [0x01, 0x30, 0xBA, 0x30, 1, 5, .. ForgedIndex.Be32(TsdbRemote.Blocks.Encoding.Crc32C.Of([5]))])),
        new(46, "tombstones on their way to a bucket", BlockForge.Thanos, static f => f.Tombstones.Add((0, null, BlockForge.StartMs, BlockForge.EndMs))),
    ];

    private static void Meta(BlockForge forge, Action<JsonObject> edit) => forge.Meta = edit;

    private static void Stats(BlockForge forge, Action<JsonObject> edit) => forge.Meta = meta => edit(meta["stats"]!.AsObject());

    private static void Compaction(BlockForge forge, Action<JsonObject> edit) => forge.Meta = meta => edit(meta["compaction"]!.AsObject());

    private static JsonArray Parents(params string[] bounds)
    {
        var parent = new JsonObject { ["ulid"] = "01HF7YAT00ABCDEFGHJKMNPQRV" };
        foreach (string bound in bounds) parent[bound] = 1;
        return new JsonArray(parent);
    }

    private static void Parent(BlockForge forge, string ulid) => Compaction(forge, compaction =>
        compaction["parents"] = new JsonArray(new JsonObject { ["ulid"] = ulid, ["minTime"] = 0, ["maxTime"] = 1 }));

    private static byte[] Replace(byte[] bytes, string old, ReadOnlySpan<byte> replacement)
    {
        int at = bytes.AsSpan().IndexOf(Encoding.UTF8.GetBytes(old));
        return [.. bytes[..at], .. replacement, .. bytes[(at + old.Length)..]];
    }
}
