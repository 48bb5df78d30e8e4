using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Levels;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.BlockStorage;

/// <summary>Small open blocks for decisions that look at names, ranks, times and sizes only.</summary>
internal sealed class StoredBlocks
{
    private static readonly byte[] Series = TsdbRemote.Blocks.Model.Labels.Encode(("__name__", "m"));
    private readonly CrashFileSystem _files = new("blocks");

    /// <summary>A block made here.</summary>
    public StoredBlock Own(int number, long rank, long minMs, long maxMs) => new(new BlockEntry(Put(number, minMs, maxMs), rank, Adopted: false), Open(number));

    /// <summary>One that was found.</summary>
    public StoredBlock Foreign(int number, long minMs, long maxMs, BlockMark? mark = null) =>
        new(new BlockEntry(Put(number, minMs, maxMs, mark), 0, Adopted: true), Open(number));

    private string Put(int number, long minMs, long maxMs, BlockMark? mark = null) => TestBlocks.Put(
        _files, "blocks", TestBlocks.Name(number), [(Series, minMs == maxMs ? [Sample.Of(minMs, 1)] : [Sample.Of(minMs, 1), Sample.Of(maxMs, 2)])], mark).ToString();

    private BlockReader Open(int number) => BlockReader.Open(_files, BlockDirectory.PathOf("blocks", TestBlocks.Name(number)), mmap: false);
}
