using System.Text.RegularExpressions;

namespace TsdbRemote.Blocks.Verification;

/// <summary>What the readers of a bucket demand: rules 47 to 50, but for collisions of labels (<see cref="PostingsRules"/>).</summary>
internal sealed partial class ShippingRules(VerifyContext context, IReadOnlyList<Segment> segments)
{
    private const string MimirShardLabel = "__compactor_shard_id__";
    private const string DeletionMark = "deletion-mark.json";

    private Findings Findings => context.Findings;

    private BlockVerifyOptions Options => context.Options;

    /// <summary>Checks what the options switch on.</summary>
    public void Check(MetaFacts meta)
    {
        if (Options.Shipping == ShippingTarget.Thanos) CheckThanos(meta.Thanos);
        else Findings.Skip(47);
        if (Options.Shipping == ShippingTarget.Mimir) CheckMimir(meta);
        else Findings.Skip(48);
        if (Options.LiveBlocks is { } others) CheckStream(meta, others);
        else Findings.Skip(49);
        if (Options.Remote is { } remote) CheckRemote(remote);
        else Findings.Skip(50);
    }

    private void CheckThanos(ThanosFacts? thanos)
    {
        if (thanos is null || thanos.Labels.Count == 0)
        {
            Error(47, $"thanos.labels is empty: Thanos takes no block without external labels");
            if (thanos is null) return;
        }

        foreach ((string name, string value) in thanos.Labels)
        {
            if (!LabelName().IsMatch(name) || value.Length == 0) Error(47, $"external label \"{name}\" = \"{value}\" is no label");
        }

        if (thanos.ResolutionMs is not (null or 0)) Error(47, $"thanos.downsample.resolution is {thanos.ResolutionMs}; 0 expected of raw data");
        Dictionary<string, long> sizes = Sizes();
        foreach ((string path, long? size) in thanos.Files)
        {
            if (path == MetaJson.File) continue;
            if (!sizes.Remove(path, out long actual)) Error(47, $"thanos.files names \"{path}\" twice, or there is none");
            else if (size != actual) Error(47, $"thanos.files says {size} bytes of {path}, which has {actual}");
        }

        if (thanos.Files.Count > 0)
        {
            foreach (string missing in sizes.Keys) Error(47, $"thanos.files does not name {missing}");
        }

        if (thanos.SegmentFiles.Count > 0 && !thanos.SegmentFiles.SequenceEqual(segments.Select(static file => file.Name["chunks/".Length..])))
            Error(47, $"thanos.segment_files is not the {segments.Count} segments in their order");
    }

    private void CheckMimir(MetaFacts meta)
    {
        foreach ((string name, string value) in meta.Thanos?.Labels ?? new Dictionary<string, string>())
        {
            if (name != MimirShardLabel) Error(48, $"external label \"{name}\": Mimir takes none but {MimirShardLabel}");
            else if (!ShardId().IsMatch(value)) Error(48, $"{MimirShardLabel} is \"{value}\"; i_of_n expected");
        }

        if (meta.Thanos?.ResolutionMs is not (null or 0)) Error(48, $"thanos.downsample.resolution is {meta.Thanos?.ResolutionMs}; 0 expected");
        if (meta.MinTimeMs < 0) Error(48, $"minTime {meta.MinTimeMs} lies before 1970, which Mimir refuses");
        if (Options.NowMs is null) Findings.Skip(48);
        else if (meta.MaxTimeMs > Options.NowMs) Error(48, $"maxTime {meta.MaxTimeMs} lies in the future, which Mimir refuses");
    }

    private void CheckStream(MetaFacts meta, IReadOnlyList<LiveBlock> others)
    {
        foreach (LiveBlock other in others)
        {
            if (other.Ulid == meta.Ulid) continue;
            if (meta.Sources.Count > 0 && meta.Sources.All(other.Sources.Contains))
                Error(49, $"{other.Ulid} has all of this block's sources: readers hide this block");
            bool overlaps = meta.MinTimeMs < other.MaxTimeMs && other.MinTimeMs < meta.MaxTimeMs;
            if (overlaps && !Options.VerticalCompaction)
                Error(49, $"{other.Ulid}, {other.MinTimeMs} to {other.MaxTimeMs} ms, overlaps: a compactor without vertical compaction halts");
        }
    }

    private void CheckRemote(RemoteBlock remote)
    {
        Dictionary<string, long> expected = Sizes();
        foreach ((string path, long size) in expected)
        {
            if (!remote.Objects.TryGetValue(path, out long actual)) Findings.Error(50, path, 0, $"is not in the bucket");
            else if (actual != size) Findings.Error(50, path, 0, $"has {actual} bytes in the bucket and {size} here");
        }

        foreach (string path in remote.Objects.Keys)
        {
            if (path.StartsWith("chunks/", StringComparison.Ordinal) && !expected.ContainsKey(path))
                Findings.Error(50, path, 0, $"is in the bucket but not in the block");
        }

        if (remote.Objects.ContainsKey(DeletionMark)) Findings.Error(50, DeletionMark, 0, $"marks the block in the bucket for deletion");
        bool isListed = remote.Objects.ContainsKey(MetaJson.File);
        if (remote.MetaRead is not { } read)
        {
            if (isListed) Error(50, $"is in the bucket before index and chunks were seen there");
        }
        else if (!isListed || !read.Span.SequenceEqual(remote.MetaPut.Span))
        {
            Error(50, $"reads back from the bucket as something else than was put");
        }
    }

    /// <summary>The files that are shipped before meta.json, with their sizes.</summary>
    private Dictionary<string, long> Sizes()
    {
        var sizes = segments.ToDictionary(static segment => segment.Name, static segment => segment.Size, StringComparer.Ordinal);
        if (context.Files.FileSize(context.PathOf(IndexShape.File)) is { } index) sizes[IndexShape.File] = index;
        return sizes;
    }

    private void Error(int rule, FormattableString what) => Findings.Error(rule, MetaJson.File, 0, $"{FormattableString.Invariant(what)}");

    [GeneratedRegex("^[a-zA-Z_][a-zA-Z0-9_]*\\z", RegexOptions.CultureInvariant)]
    private static partial Regex LabelName();

    [GeneratedRegex("^[0-9]+_of_[0-9]+\\z", RegexOptions.CultureInvariant)]
    private static partial Regex ShardId();
}
