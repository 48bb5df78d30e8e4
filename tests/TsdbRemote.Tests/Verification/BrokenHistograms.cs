using static TsdbRemote.Tests.Verification.BrokenRule;

namespace TsdbRemote.Tests.Verification;

/// <summary>Ways to break histogram chunks: rules 19, 20 and 23 to 26.</summary>
internal static class BrokenHistograms
{
    private const long StartMs = BlockForge.StartMs;

    public static BrokenRule[] Rows { get; } =
    [
        Local(19, "a histogram chunk without flags", static f => Cut(f, 1, 2)),
        Local(19, "a histogram chunk that ends in its layout", static f => Cut(f, 1, 5)),
        Local(19, "a histogram chunk that ends in its samples", static f => Cut(f, 1, 30)),
        Local(19, "a float histogram chunk that ends in its samples", static f => Cut(f, 3, 60)),
        Local(19, "a histogram chunk with zeros behind it", static f => BrokenChunks.Change(f, 1, 0, static c => c with { Data = [.. c.Data, 0, 0] })),
        Local(20, "histograms of one instant", static f => Integer(f, static h => h.Samples[1] = h.Samples[1] with { TimeMs = StartMs })),
        Local(20, "float histograms that step back", static f => Float(f, static h => h.Samples[1] = h.Samples[1] with { TimeMs = StartMs - 5 })),
        Local(23, "schema 9", static f => Integer(f, static h => h.Schema = 9)),
        Local(23, "schema -5", static f => Float(f, static h => h.Schema = -5)),
        Local(23, "a later span that steps back", static f => Integer(f, static h => h.Positive[1] = (1, -1))),
        Warning(23, "an empty span", static f => Integer(f, static h => h.Positive.Insert(1, (0, 0)))),
        Local(23, "two million buckets", static f => Integer(f, static h => h.Positive[1] = (2_000_000, 1))),
        Local(23, "custom bounds and negative spans", static f => Custom(f, static h => h.Negative.Add((0, 0)))),
        Local(23, "custom bounds out of order", static f => Custom(f, static h => h.Bounds[1] = 0.004)),
        Local(23, "a custom bound twice", static f => Custom(f, static h => h.Bounds[1] = 0.005)),
        Local(23, "an infinite custom bound", static f => Custom(f, static h => h.Bounds[2] = double.PositiveInfinity)),
        Local(23, "more buckets than custom bounds", static f => Custom(f, static h => h.Bounds.RemoveRange(1, 2))),
        Local(24, "a bucket below 0", static f => Integer(f, static h =>
            (h.Flags, h.Samples[0]) = (0b1100_0000, new(StartMs, 6, 1, 18.5, -1, 4, 2)))),
        Local(24, "buckets that do not add up", static f => Integer(f, static h => h.Samples[2] = h.Samples[2] with { Count = 15 })),
        Local(24, "custom buckets that do not add up", static f => Custom(f, static h => h.Samples[0] = h.Samples[0] with { Count = 5 })),
        Local(24, "more in buckets than observed, beside NaN", static f => Integer(f, static h =>
            h.Samples[1] = h.Samples[1] with { Count = 8, Sum = double.NaN })),
        Local(25, "a bucket that falls", static f => Integer(f, static h => h.Samples[1] = new(StartMs + 15_000, 9, 2, 30.25, 0, 5, 2))),
        Local(25, "a count that falls", static f => Integer(f, static h => h.Samples[1] = new(StartMs + 15_000, 5, 0, 30.25, 1, 2, 2))),
        Local(25, "a zero count that falls", static f => Integer(f, static h => h.Samples[1] = new(StartMs + 15_000, 9, 0, 30.25, 3, 4, 2))),
        Local(25, "a float histogram that falls and is no gauge", static f => Float(f, static h => h.Flags = 0b0100_0000)),
        Local(26, "a sample behind a stale one", static f => Integer(f, static h => h.Samples[4] = new(StartMs + 60_000, 14, 2, 51, 3, 5, 4))),
        Local(26, "a low flag", static f => Integer(f, static h => h.Flags = 1)),
        Local(26, "all low flags of a gauge", static f => Float(f, static h => h.Flags = 0xFF)),
    ];

    private static void Cut(BlockForge forge, int series, int length) =>
        BrokenChunks.Change(forge, series, 0, chunk => chunk with { Data = chunk.Data[..length] });

    private static void Integer(BlockForge forge, Action<HistogramForge> edit) => Replace(forge, 1, BlockForge.Integer(), edit);

    private static void Custom(BlockForge forge, Action<HistogramForge> edit) => Replace(forge, 2, BlockForge.Custom(), edit);

    private static void Float(BlockForge forge, Action<HistogramForge> edit) => Replace(forge, 3, BlockForge.Float(), edit);

    private static void Replace(BlockForge forge, int series, HistogramForge histogram, Action<HistogramForge> edit)
    {
        edit(histogram);
        forge.Series[series].Chunks[0] = ForgedChunk.Of(histogram);
    }
}
