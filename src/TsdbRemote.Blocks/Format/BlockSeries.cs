namespace TsdbRemote.Blocks.Format;

/// <summary>API sketch.</summary>
public sealed class BlockSeries : IDisposable
{
    /// <summary>Id of the series.</summary>
    public uint Id { get; }

    /// <summary>Canonical run.</summary>
    public ReadOnlySpan<byte> Labels => throw new NotSupportedException();

    /// <summary>Chunks, ascending.</summary>
    public ReadOnlySpan<ChunkMeta> Chunks => throw new NotSupportedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotSupportedException();
}
