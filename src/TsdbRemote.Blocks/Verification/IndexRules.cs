using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Takes an index apart in the order in which its parts can be believed, with the chunks beside it: rules 5, 15 to 45 and 51.</summary>
internal sealed class IndexRules : IDisposable
{
    private readonly VerifyContext _context;
    private readonly SegmentWalk _chunks;
    private readonly ValueChecksumBuilder? _values;
    private SeriesRules? _series;

    /// <summary>Prepares the walk.</summary>
    /// <param name="context">The verification.</param>
    /// <param name="segments">The chunk segments.</param>
    public IndexRules(VerifyContext context, IReadOnlyList<Segment> segments)
    {
        _context = context;
        _chunks = new SegmentWalk(context, segments);
        if (context.Options.ComputeValues || context.Options.ExpectedValues is not null) _values = new ValueChecksumBuilder();
    }

    /// <summary>What was counted.</summary>
    public BlockCounts Counts => _series?.Counts ?? new BlockCounts(0, 0, 0, 0, 0, long.MaxValue, long.MinValue);

    /// <summary>Whether every series and every chunk was read.</summary>
    public bool IsComplete => _series is { IsComplete: true, AllDecoded: true };

    /// <summary>Ids of all series; null if they are not known.</summary>
    public BitSet? SeriesIds => _series is { IsComplete: true } ? _series.Ids : null;

    /// <summary>Checksum of the contents; null if nobody wants it or not all could be read.</summary>
    public ValueChecksum? Values => IsComplete ? _values?.Finish() : null;

    private Findings Findings => _context.Findings;

    /// <summary>Walks index and chunks.</summary>
    /// <param name="meta">What meta.json says; null if it could not be read.</param>
    public void Walk(MetaFacts? meta)
    {
        if (!TryWalkIndex(meta))
        {
            Findings.Skip(5, 18, 36, 37, 38);
            _chunks.Finish(indexRead: false);
        }

        if (_context.Options.ExpectedValues is not { } expected) Findings.Skip(51);
        else if (Values is not { } found) Findings.Skip(51);
        else if (found != expected)
        {
            Findings.Error(
                51, "", 0, $"holds {found.Samples} samples of hash {found.Hash:x16}; its source holds {expected.Samples} of {expected.Hash:x16}");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _series?.Dispose();
        _chunks.Dispose();
    }

    /// <summary>Walks the index.</summary>
    /// <returns>False if its series cannot be walked; the chunks are then still to be finished.</returns>
    private bool TryWalkIndex(MetaFacts? meta)
    {
        using FileSource? index = _context.TryOpen(IndexShape.File);
        if (index is null)
        {
            Findings.Error(27, IndexShape.File, 0, $"there is none");
            Findings.Skip([.. Enumerable.Range(28, 45 - 28 + 1)]);
            return false;
        }

        IndexShape? shape = IndexShape.TryRead(index, _context);
        using SymbolTable? symbols = shape is null ? null : SymbolRules.TryRead(index, shape, _context);
        if (shape is null || symbols is null)
        {
            Findings.Skip(shape is null ? [.. Enumerable.Range(29, 45 - 29 + 1)] : [.. Enumerable.Range(32, 45 - 32 + 1)]);
            return false;
        }

        if (!symbols.IsSorted) Findings.Skip(33, 34, 43, 44);
        using PostingsTableScan? table = PostingsTableScan.TryOpen(index, shape, _context);
        WalkSeries(index, shape, symbols, meta, table?.Count ?? 0);
        if (table is null) Findings.Skip(29, 39, 40, 41, 42, 43, 44, 45);
        else WalkPostings(index, shape, symbols, meta, table);
        return true;
    }

    private void WalkSeries(FileSource index, IndexShape shape, SymbolTable symbols, MetaFacts? meta, uint pairs)
    {
        _series = new SeriesRules(_context, index, shape, symbols, _chunks, meta, pairs, _values);
        if (meta is null) Findings.Skip(5);
        _series.Walk();
        _chunks.Finish(_series.IsComplete);
        if (_series.IsComplete) symbols.ReportUnused(Findings);
        else Findings.Skip(18, 31, 39, 43);
    }

    private void WalkPostings(FileSource index, IndexShape shape, SymbolTable symbols, MetaFacts? meta, PostingsTableScan table)
    {
        bool isThanos = _context.Options.Shipping == ShippingTarget.Thanos;
        HashSet<string> externalNames = isThanos && meta?.Thanos is { } thanos ? [.. thanos.Labels.Keys] : [];
        using PostingsRules postings = new(_context, index, shape, symbols, _series!, table, externalNames);
        postings.Walk();
    }
}
