using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>API sketch.</summary>
public sealed class IndexReader : IDisposable
{
    /// <summary>Bytes of the file.</summary>
    public long Size { get; }

    /// <summary>Bytes held.</summary>
    public long MemoryBytes { get; }

    /// <summary>Series.</summary>
    public long SeriesCount { get; }

    /// <summary>Opens.</summary>
    public static IndexReader Open(IFileSystem files, string path, bool mmap) => throw new NotSupportedException();

    /// <summary>Ids of all series, ascending.</summary>
    public uint[] AllSeries(CancellationToken cancel) => throw new NotSupportedException();

    /// <summary>Ids, ascending.</summary>
    public uint[] SelectSeries(IReadOnlyList<Matcher> matchers, PostingsCache? cache, CancellationToken cancel) => throw new NotSupportedException();

    /// <summary>Reads one series.</summary>
    public void ReadSeries(uint id, BlockSeries into) => throw new NotSupportedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotSupportedException();
}
