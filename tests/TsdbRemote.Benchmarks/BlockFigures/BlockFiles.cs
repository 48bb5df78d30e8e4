using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Benchmarks.BlockFigures;

/// <summary>What the blocks of a directory take on disk, by their files alone, whoever wrote them.</summary>
internal sealed record BlockFiles(int Blocks, long Samples, long Series, long Chunks, long ChunkBytes, long IndexBytes)
{
    /// <summary>Adds up the blocks that end at or before an instant.</summary>
    public static BlockFiles Of(string directory, long endMs = long.MaxValue)
    {
        var sum = new BlockFiles(0, 0, 0, 0, 0, 0);
        foreach (string block in Directory.EnumerateDirectories(directory).Where(static path => Ulid.TryParse(Path.GetFileName(path), out _)))
        {
            BlockMeta meta = BlockMeta.Read(new LocalFileSystem(), Path.Combine(block, BlockMeta.FileName));
            if (meta.EndTimeMs > endMs) continue;
            sum = new BlockFiles(
                sum.Blocks + 1,
                sum.Samples + meta.Stats.Samples,
                sum.Series + meta.Stats.Series,
                sum.Chunks + meta.Stats.Chunks,
                sum.ChunkBytes + Directory.EnumerateFiles(Path.Combine(block, "chunks")).Sum(static file => new FileInfo(file).Length),
                sum.IndexBytes + new FileInfo(Path.Combine(block, "index")).Length);
        }

        return sum;
    }
}
