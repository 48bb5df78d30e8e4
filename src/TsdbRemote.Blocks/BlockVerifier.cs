using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Verification;

namespace TsdbRemote.Blocks;

/// <summary>Reads a whole block and checks it against the 52 rules of <c>docs/formats/block-verifier.md</c>.</summary>
/// <remarks>
/// Independent of the readers and the writers of this library: it takes the raw bytes apart by itself, so that a fault which they share
/// shows. Any bytes are safe; nothing is believed before its checksum is, and no memory is taken for a length that the file cannot hold.
/// Files are read, never mapped: an error of the disk is an exception and not a signal.
/// <para>
/// One pass over the index with the segments beside it, as references ascend in both; then one pass over the postings. Memory: about 4 MB
/// of buffers; 25 bytes for each distinct label pair (25 MB for a million series that have one value of their own); one bit for each 16
/// bytes of series entries (1 MB a million series) and 3 bits for each symbol; groups of symbols as read, 1 to 64 MB. The disk and the
/// checksums set the pace.
/// </para>
/// <para>Not here: what the block's samples mean, repair. Stateless; thread-safe.</para>
/// </remarks>
public static class BlockVerifier
{
    /// <summary>Verifies a block.</summary>
    /// <param name="files">Where it is.</param>
    /// <param name="directory">Its directory. Nobody may change it meanwhile.</param>
    /// <param name="options">What the bytes cannot tell.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>What was found. Damage of any kind is a finding, never an exception.</returns>
    /// <exception cref="DiskException">The disk refused.</exception>
    /// <exception cref="OperationCanceledException">Given up.</exception>
    public static BlockReport Verify(IFileSystem files, string directory, BlockVerifyOptions options, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        Findings findings = new();
        VerifyContext context = new(files, directory, options, findings, cancel);
        IReadOnlyList<Segment> segments = SegmentRules.List(context);
        using IndexRules index = new(context, segments);
        long? tombstones = null;
        try
        {
            tombstones = Walk(context, segments, index);
        }
        catch (CorruptFileException shrunk)
        {
            // Lengths were taken from the files themselves: one that ends before has been cut meanwhile, so nothing said of it holds.
            findings.Error(RuleOf(shrunk.Path, directory), NameIn(shrunk.Path, directory), shrunk.Offset, $"{shrunk.What}");
        }

        return new BlockReport
        {
            Directory = directory,
            Findings = findings.Kept,
            Errors = findings.Errors,
            Warnings = findings.Warnings,
            NotRun = findings.NotRun,
            Counts = index.Counts with { Tombstones = tombstones ?? 0 },
            Values = index.Values,
        };
    }

    private static long? Walk(VerifyContext context, IReadOnlyList<Segment> segments, IndexRules index)
    {
        MetaRules rules = new(context);
        rules.CheckDirectory();
        MetaFacts? meta = MetaJson.TryRead(context);
        if (meta is null) context.Findings.Skip(3, 4, 6, 7, 8, 9, 10, 11, 47, 48, 49, 50);
        else rules.CheckMeta(meta);
        index.Walk(meta);
        long? tombstones = TombstoneRules.Check(context, index.SeriesIds);
        if (meta is not null)
        {
            rules.CheckCounts(meta, index.Counts, index.IsComplete, tombstones);
            new ShippingRules(context, segments).Check(meta);
        }

        AskOthers(context);
        return tombstones;
    }

    private static void AskOthers(VerifyContext context)
    {
        if (context.Options.ExternalProof is not { } ask)
        {
            context.Findings.Skip(52);
            return;
        }

        foreach (string problem in ask(context.Directory, context.Cancel)) context.Findings.Error(52, "", 0, $"{problem}");
    }

    private static int RuleOf(string path, string directory) => NameIn(path, directory) switch
    {
        "index" => 27,
        "meta.json" => 2,
        "tombstones" => 46,
        _ => 13,
    };

    private static string NameIn(string path, string directory) =>
        path.StartsWith(directory + "/", StringComparison.Ordinal) ? path[(directory.Length + 1)..] : path;
}
