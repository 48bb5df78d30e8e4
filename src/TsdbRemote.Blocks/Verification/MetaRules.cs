using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Directory and meta.json: rules 1 to 4, 6 and 9 to 12, and, once the contents are counted, 7 and 8.</summary>
internal sealed class MetaRules(VerifyContext context)
{
    private const long SkewMs = 5 * 60 * 1000;
    private const long DayMs = 24 * 60 * 60 * 1000;

    // 5e8 to 1e11 are the seconds of 1985 to 5138 and the ms of the early 1970s, of which nobody has samples; 1e14 is a µs of 1973 and the
    // ms of the year 5138.
    private const long LeastSecondsMs = 500_000_000;
    private const long MostSecondsMs = 100_000_000_000;
    private const long LeastMicrosecondsMs = 100_000_000_000_000;

    private static readonly HashSet<string> KnownHints = ["from-out-of-order", "from-stale-series", "from-selected-series"];

    private Findings Findings => context.Findings;

    private string Name => Options.FinalName ?? Path.GetFileName(context.Directory.TrimEnd('/'));

    private BlockVerifyOptions Options => context.Options;

    /// <summary>Rule 12, and the part of rule 1 that needs no meta.json.</summary>
    public void CheckDirectory()
    {
        if (!UlidText.TryParse(Name, out _)) Findings.Error(1, "", 0, $"the directory's name \"{Name}\" is no ULID");
        foreach (string folder in (ReadOnlySpan<string>)["", "chunks"])
        {
            foreach (DirectoryEntry entry in context.Files.List(folder.Length == 0 ? context.Directory : context.PathOf(folder)))
            {
                bool isLeftover = entry.Name is "index_tmp_p" or "index_tmp_po" || entry.Name.EndsWith(".tmp", StringComparison.Ordinal)
                    || entry.Name.Contains(".tmp-for-", StringComparison.Ordinal);
                if (isLeftover) Findings.Warning(12, folder.Length == 0 ? entry.Name : $"{folder}/{entry.Name}", 0, $"was left over by a writer");
            }
        }
    }

    /// <summary>The rules that meta.json alone can break.</summary>
    public void CheckMeta(MetaFacts meta)
    {
        if (meta.Ulid != Name) Error(1, $"ulid is \"{meta.Ulid}\", the directory's name \"{Name}\"");
        if (meta.Version is not 1) Error(2, $"version is {Print(meta.Version)}; 1 expected");
        if (meta.Thanos?.Version is not (null or 0 or 1)) Error(2, $"thanos.version is {Print(meta.Thanos?.Version)}; 1 expected");
        CheckUlidTime(meta);
        CheckRange(meta);
        CheckWindow(meta);
        CheckAncestors(meta);
        CheckMarks(meta);
    }

    /// <summary>Rules 7 and 8.</summary>
    /// <param name="meta">What meta.json says.</param>
    /// <param name="counts">What the block holds.</param>
    /// <param name="isComplete">Whether all of it was counted.</param>
    /// <param name="tombstones">Deleted intervals; null if they could not be counted.</param>
    public void CheckCounts(MetaFacts meta, BlockCounts counts, bool isComplete, long? tombstones)
    {
        MetaStats stats = meta.Stats;
        if (stats.Samples == 0) Error(7, $"numSamples is 0 or absent: shippers take the block for empty");
        if (stats.FloatSamples + stats.HistogramSamples is not 0 and var parts && parts != stats.Samples)
            Error(7, $"numFloatSamples {stats.FloatSamples} and numHistogramSamples {stats.HistogramSamples} are not numSamples {stats.Samples}");
        if (isComplete)
        {
            CheckCount("numSamples", stats.Samples, counts.Samples);
            CheckCount("numSeries", stats.Series, counts.Series);
            CheckCount("numChunks", stats.Chunks, counts.Chunks);
            if (stats.FloatSamples != 0) CheckCount("numFloatSamples", stats.FloatSamples, counts.FloatSamples);
            if (stats.HistogramSamples != 0) CheckCount("numHistogramSamples", stats.HistogramSamples, counts.HistogramSamples);
        }
        else
        {
            Findings.Skip(7);
        }

        if (tombstones is null) Findings.Skip(8);
        else if (stats.Tombstones != (ulong)tombstones) Error(8, $"numTombstones is {stats.Tombstones}; there are {tombstones} intervals");
    }

    private void CheckUlidTime(MetaFacts meta)
    {
        if (Options.NowMs is null) Findings.Skip(3);
        if (meta.Ulid is null || !UlidText.TryParse(meta.Ulid, out long madeMs)) return;
        if (Options.NowMs is { } nowMs && madeMs > nowMs + SkewMs) Error(3, $"ulid is of {madeMs} ms, {madeMs - nowMs} ms in the future");
        if (Options.CreatedSinceMs is { } sinceMs && madeMs < sinceMs - SkewMs)
            Error(3, $"ulid is of {madeMs} ms, {sinceMs - madeMs} ms before the block was begun: readers take that for its age");
    }

    private void CheckRange(MetaFacts meta)
    {
        if (meta.MinTimeMs is not { } min || meta.MaxTimeMs is not { } max)
        {
            Error(4, $"minTime or maxTime is missing");
            return;
        }

        if (min >= max) Error(4, $"minTime {min} is not below maxTime {max}");
        if (!Options.CheckTimeUnits) return;
        CheckUnit("minTime", min);
        CheckUnit("maxTime", max);
    }

    private void CheckUnit(string field, long timeMs)
    {
        Int128 size = Int128.Abs(timeMs); // that of long.MinValue fits no long
        if (size >= LeastMicrosecondsMs) Error(4, $"{field} {timeMs} looks like µs or ns; ms expected");
        else if (size >= LeastSecondsMs && size < MostSecondsMs) Error(4, $"{field} {timeMs} looks like seconds; ms expected");
    }

    private void CheckWindow(MetaFacts meta)
    {
        bool isMimir = Options.Shipping == ShippingTarget.Mimir;
        if (Options.LevelRangesMs.Count == 0 && !isMimir) Findings.Skip(6);
        if (meta is not { MinTimeMs: { } min, MaxTimeMs: { } max } || min >= max) return;
        if (isMimir && TimeWindow.EndOf(min, DayMs) < max - 1) Error(6, $"{min} to {max} ms crosses midnight UTC, which Mimir refuses");
        if (Options.LevelRangesMs.Count == 0 || meta.Level is not >= 1) return;
        long range = Options.LevelRangesMs[(int)Math.Min(meta.Level.Value, Options.LevelRangesMs.Count) - 1];
        if (TimeWindow.EndOf(min, range) < max - 1)
            Error(6, $"{min} to {max} ms does not lie in one window of {range} ms, the range of level {meta.Level}");
    }

    private void CheckAncestors(MetaFacts meta)
    {
        if (meta.Level is not >= 1) Error(9, $"compaction.level is {Print(meta.Level)}; 1 or more expected");
        if (meta.Sources.Count == 0) Error(9, $"compaction.sources is empty");
        for (int i = 0; i < meta.Sources.Count; i++)
        {
            if (!UlidText.TryParse(meta.Sources[i], out _)) Error(9, $"compaction.sources[{i}], \"{meta.Sources[i]}\", is no ULID");
            if (i > 0 && string.CompareOrdinal(meta.Sources[i - 1], meta.Sources[i]) >= 0)
                Error(9, $"compaction.sources[{i}], {meta.Sources[i]}, is not above the one before");
        }

        bool isRewrite = meta.Thanos is { IsRewritten: true };
        if (meta.Level == 1 && !isRewrite && meta.Sources.Count > 0 && (meta.Sources.Count > 1 || meta.Sources[0] != meta.Ulid))
            Error(9, $"compaction.sources of level 1 must be the block's own ULID, not {meta.Sources.Count} from {meta.Sources[0]} on");
        if (meta.Level == 1 && !isRewrite && meta.Parents.Count > 0)
            Findings.Warning(9, MetaJson.File, 0, $"a block of level 1 has parents: right only if it is a rewrite of them");
        foreach (string parent in meta.Parents)
        {
            if (!UlidText.TryParse(parent, out _)) Error(10, $"parent \"{parent}\" is no ULID");
            if (parent == meta.Ulid) Error(10, $"the block is its own parent: Prometheus deletes parents");
            if (Options.MustStay.Contains(parent)) Error(10, $"parent {parent} must stay: Prometheus deletes parents");
        }
    }

    /// <summary>Rule 11: errors of what is meant to be shipped, mere oddities of what stays.</summary>
    private void CheckMarks(MetaFacts meta)
    {
        if (meta.IsDeletable) Mark("compaction.deletable is set");
        if (meta.IsFailed) Mark("compaction.failed is set");
        foreach (string hint in meta.Hints)
        {
            if (!KnownHints.Contains(hint)) Mark($"compaction.hints names \"{hint}\", which nobody knows");
        }
    }

    private void Mark(string what)
    {
        if (Options.Shipping != ShippingTarget.None) Error(11, $"{what}");
        else Findings.Warning(11, MetaJson.File, 0, $"{what}");
    }

    private void CheckCount(string field, ulong said, long found)
    {
        if (said != (ulong)found) Error(7, $"{field} is {said}; {found} are there");
    }

    private void Error(int rule, FormattableString what) => Findings.Error(rule, MetaJson.File, 0, $"{FormattableString.Invariant(what)}");

    private static string Print(long? number) => number?.ToString(CultureInfo.InvariantCulture) ?? "absent";
}
