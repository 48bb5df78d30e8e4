using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks;

/// <summary>What a written block holds.</summary>
public sealed record BlockStats
{
    /// <summary>Series.</summary>
    public required long Series { get; init; }

    /// <summary>Chunks.</summary>
    public required long Chunks { get; init; }

    /// <summary>Samples in float chunks.</summary>
    public required long FloatSamples { get; init; }

    /// <summary>Samples in native histogram chunks.</summary>
    public required long HistogramSamples { get; init; }

    /// <summary>Time of the first sample, ms.</summary>
    public required long MinTimeMs { get; init; }

    /// <summary>Time of the last sample, ms.</summary>
    public required long MaxTimeMs { get; init; }

    /// <summary>Bytes of all chunk segments.</summary>
    public required long ChunkBytes { get; init; }

    /// <summary>Bytes of the index.</summary>
    public required long IndexBytes { get; init; }

    /// <summary>Samples of all kinds.</summary>
    public long Samples => FloatSamples + HistogramSamples;

    /// <summary>The same as <c>meta.json</c> says it.</summary>
    public BlockMetaStats ToMeta() => new()
    {
        Samples = Samples,
        FloatSamples = FloatSamples,
        HistogramSamples = HistogramSamples,
        Series = Series,
        Chunks = Chunks,
    };
}
