using System.Text.Json.Nodes;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Verification;

/// <summary>Ways to break what buckets and other programs demand: rules 47 to 52.</summary>
internal static class BrokenShipping
{
    public static BrokenRule[] Rows { get; } =
    [
        Thanos(47, "no labels", static t => t["labels"] = new JsonObject()),
        Thanos(47, "a label that readers refuse", static t => t["labels"] = new JsonObject { ["1st"] = "x" }),
        Thanos(47, "a label without a value", static t => t["labels"] = new JsonObject { ["cluster"] = "" }),
        Thanos(47, "a label that series have too", static t => t["labels"] = new JsonObject { ["job"] = "x" }),
        Thanos(47, "five minutes of resolution", static t => t["downsample"]!["resolution"] = 300_000),
        Thanos(47, "another size", static t => t["files"]![0]!["size_bytes"] = 8),
        Thanos(47, "no size", static t => t["files"]![2]!.AsObject().Remove("size_bytes")),
        Thanos(47, "a file that is not there", static t => t["files"]![0]!["rel_path"] = "chunks/000009"),
        Thanos(47, "a file left out", static t => t["files"]!.AsArray().RemoveAt(2)),
        Thanos(47, "a segment left out", static t => t["segment_files"]!.AsArray().RemoveAt(1)),
        new(47, "no thanos section", BlockForge.Thanos, static f => f.EditMeta(static m => m.Remove("thanos"))),
        new(48, "an external label", BlockForge.Mimir, static f => f.EditMeta(static m => m["thanos"]!["labels"]!["cluster"] = "eu1")),
        new(48, "a shard of another form", BlockForge.Mimir, static f => f.EditMeta(static m => m["thanos"]!["labels"]!["__compactor_shard_id__"] = "4")),
        new(48, "the future", BlockForge.Mimir, static f => f.Options = f.Options with { NowMs = BlockForge.EndMs - 1 }),
        Stream(49, "a block that hides this one", [new LiveBlock(BlockForge.OtherId, BlockForge.EndMs, BlockForge.EndMs + 1, [BlockForge.Id, BlockForge.OtherId])]),
        Stream(49, "a block that overlaps", [new LiveBlock(BlockForge.OtherId, BlockForge.EndMs - 1, BlockForge.EndMs + 1, [BlockForge.OtherId])]),
        Remote(50, "no index", static (objects, _) => objects.Remove("index")),
        Remote(50, "half a segment", static (objects, _) => objects["chunks/000001"] /= 2),
        Remote(50, "a foreign segment", static (objects, _) => objects["chunks/000003"] = 8),
        Remote(50, "meta.json before the rest was seen", static (objects, _) => objects["meta.json"] = 1),
        Remote(50, "a deletion mark", static (objects, _) => objects["deletion-mark.json"] = 1),
        Remote(50, "another meta.json", static (objects, remote) =>
        {
            objects["meta.json"] = 1;
            return remote with { MetaRead = new byte[] { 1 } };
        }),
        Remote(50, "a meta.json that is not listed", static (_, remote) => remote with { MetaRead = remote.MetaPut }),
        BrokenRule.Local(51, "another checksum", static f => f.Options = f.Options with { ExpectedValues = new ValueChecksum(68, 1) }),
        BrokenRule.Local(52, "a complaint of promtool", static f => f.Options = f.Options with { ExternalProof = static (_, _) => ["no"] }),
    ];

    /// <summary>The bucket as it should be before meta.json is put.</summary>
    public static RemoteBlock RemoteOf(MemoryFileSystem files, string directory) => new(
        new Dictionary<string, long>(((string[])["index", "chunks/000001", "chunks/000002"]).Select(
            name => KeyValuePair.Create(name, files[$"{directory}/{name}"].LongLength))),
        files[$"{directory}/meta.json"],
        MetaRead: null);

    private static BrokenRule Thanos(int rule, string how, Action<JsonObject> edit) =>
        new(rule, how, BlockForge.Thanos, f => f.EditMeta(meta => edit(meta["thanos"]!.AsObject())));

    private static BrokenRule Stream(int rule, string how, LiveBlock[] others) =>
        BrokenRule.Local(rule, how, f => f.Options = f.Options with { LiveBlocks = others });

    private static BrokenRule Remote(int rule, string how, Func<Dictionary<string, long>, RemoteBlock, object> edit) => BrokenRule.Local(rule, how, f =>
    {
        RemoteBlock good = RemoteOf(f.Build(), f.Directory);
        object edited = edit((Dictionary<string, long>)good.Objects, good);
        f.Options = f.Options with { Remote = edited as RemoteBlock ?? good };
    });
}
