using System.Collections.Immutable;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Levels;

/// <summary>A log segment that an earlier process left.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Bytes">Its file's length.</param>
/// <param name="MustBeSealed">It was sealed when its process went on to the next one, so a missing seal is damage.</param>
/// <param name="AcceptedEnd">Where it is known to end, in bytes; null if only its frames tell.</param>
internal sealed record InheritedSegment(long Number, long Bytes, bool MustBeSealed, long? AcceptedEnd)
{
    /// <summary>What its reader is told about it.</summary>
    /// <param name="quarantineDirectory">Where doubtful bytes are copied to; null: nowhere.</param>
    /// <param name="onCorruption">What to do about damage to acknowledged records.</param>
    public SegmentReplayOptions ReplayOptions(string? quarantineDirectory, CorruptionPolicy onCorruption) => new(quarantineDirectory)
    {
        MustBeSealed = MustBeSealed,
        AcceptedEnd = AcceptedEnd,
        OnCorruption = onCorruption,
    };
}

/// <summary>The log segments of a data directory: those there that hold what no table and no block has, and those that should be there.</summary>
/// <param name="Found">Segments to be replayed, oldest first: named by the manifest, or newer than it.</param>
/// <param name="Missing">Numbers of segments that the manifest names and that are not there.</param>
/// <param name="Flushed">Numbers of segments that are there although their flush is committed, ascending.</param>
/// <param name="Next">First number that no segment ever had.</param>
internal sealed record LogInventory(ImmutableArray<SegmentEntry> Found, ImmutableArray<long> Missing, ImmutableArray<long> Flushed, long Next)
{
    /// <summary>Lists the directory of the log.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static LogInventory Of(IFileSystem files, DataLayout paths, ManifestState manifest)
    {
        var named = manifest.Segments.ToDictionary(static segment => segment.Number);
        SortedSet<long> there = [];
        foreach (DirectoryEntry entry in files.List(paths.Wal))
        {
            if (!entry.IsDirectory && DataLayout.NumberOf(entry.Name, DataLayout.SegmentSuffix) is { } number) there.Add(number);
        }

        return new LogInventory(
            [.. there.Where(number => named.ContainsKey(number) || number >= manifest.NextSegment).Select(number => named.GetValueOrDefault(number) ?? new SegmentEntry(number, null))],
            [.. named.Keys.Where(number => !there.Contains(number)).Order()],
            [.. there.Where(number => !named.ContainsKey(number) && number < manifest.NextSegment)],
            there.Count == 0 ? manifest.NextSegment : Math.Max(manifest.NextSegment, there.Max + 1));
    }

    /// <summary>
    /// What is known of each segment: a later one with records proves that it was sealed, unless an earlier process left it, and may hold its end where
    /// a full disk ended it without a seal.
    /// </summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="segments">Segments, oldest first.</param>
    /// <param name="probe">Looks at the first frame of one.</param>
    public static ImmutableArray<InheritedSegment> Inherit(
        IFileSystem files, DataLayout paths, ImmutableArray<SegmentEntry> segments, Func<long, SegmentProbe> probe)
    {
        SegmentProbe[] probes = [.. segments.Select(segment => probe(segment.Number))];
        var inherited = ImmutableArray.CreateBuilder<InheritedSegment>(segments.Length);
        for (int i = 0; i < segments.Length; i++)
        {
            SegmentEntry segment = segments[i];
            SegmentProbe[] later = probes[(i + 1)..];
            SegmentEnd? left = later.Select(static one => one.PreviousEnd).FirstOrDefault(end => end?.Segment == segment.Number);
            inherited.Add(new InheritedSegment(
                segment.Number,
                files.FileSize(paths.Segment(segment.Number)) ?? 0,
                MustBeSealed: !segment.Inherited && later.Any(static one => one.HasFrames),
                segment.AcceptedEnd ?? left?.End));
        }

        return inherited.MoveToImmutable();
    }
}
