using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>API sketch.</summary>
public sealed class IndexWriter : IDisposable
{
    /// <summary>Creates the file, which must not exist.</summary>
    public IndexWriter(IFileSystem files, string path) => throw new NotSupportedException();

    /// <summary>Pass 1, any order.</summary>
    public void Declare(ReadOnlySpan<byte> labelRun) => throw new NotSupportedException();

    /// <summary>Pass 2, strictly ascending.</summary>
    public void Add(ReadOnlySpan<byte> labelRun, ReadOnlySpan<ChunkMeta> chunks) => throw new NotSupportedException();

    /// <summary>Completes, syncs and closes.</summary>
    public IndexCounts Finish() => throw new NotSupportedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotSupportedException();
}
