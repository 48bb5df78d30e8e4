using System.Buffers.Binary;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

/// <summary>What the reader makes of files that are not as they were written: tests T31 to T38 of reliability.md.</summary>
public sealed class LogReplayTests
{
    private const byte Record = (byte)WalRecordKind.WriteV1;

    private enum Rest
    {
        Cut,
        Zeros,
        Garbage,
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void T31_a_torn_tail_at_any_byte_of_the_last_frame_loses_that_frame_only(int rest)
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot last = LogFixture.Frames(file)[^1];
        for (int cut = last.Offset; cut < last.Offset + FrameFormat.HeaderBytes + last.PayloadBytes; cut++)
        {
            byte[] torn = TornAt(file, cut, last.End, (Rest)rest);
            CrashFileSystem disk = LogFixture.DiskWith(torn);
            SegmentReport report = disk.Replay(out RecordList records);
            Assert.Equal([1, 2], records.Ids());
            Assert.Equal(last.Offset, report.End);
            Assert.Equal(torn, disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment)));
            if (torn.AsSpan(last.Offset).IndexOfAnyExcept((byte)0) < 0)
            {
                Assert.Equal(SegmentOutcome.CleanEnd, report.Outcome);
                Assert.Empty(report.Quarantined);
                continue;
            }

            Assert.Equal(SegmentOutcome.TornTail, report.Outcome);
            SegmentFinding finding = Assert.Single(report.Findings);
            Assert.Equal((SegmentFindingKind.TornTail, last.Offset), (finding.Kind, finding.From));
            Assert.Equal($"{LogFixture.Quarantine}/wal-00000007-{last.Offset}", Assert.Single(report.Quarantined));
            Assert.Equal(torn[last.Offset..(int)finding.To], disk.ReadAll(report.Quarantined[0]));
            Assert.True(torn.AsSpan((int)finding.To).IndexOfAnyExcept((byte)0) < 0);
        }
    }

    [Fact]
    public void T31_a_file_cut_in_the_padding_of_its_last_frame_has_lost_nothing()
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot last = LogFixture.Frames(file)[^1];
        int payloadEnd = last.Offset + FrameFormat.HeaderBytes + last.PayloadBytes;
        Assert.Equal(3, last.End - payloadEnd);
        for (int cut = payloadEnd; cut <= last.End; cut++)
        {
            Assert.Equal(SegmentOutcome.CleanEnd, LogFixture.DiskWith(file.AsSpan(0, cut)).Replay(out RecordList records).Outcome);
            Assert.Equal([1, 2, 3], records.Ids());
        }
    }

    [Fact]
    public void T32_any_flipped_bit_of_a_middle_frame_below_a_durable_to_loses_that_record_only()
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot middle = LogFixture.Frames(file).Where(static frame => frame.Type == Record).ElementAt(1);
        AssertEveryFlipLosesOnly(file, middle, mustBeSealed: false, expected: [1, 3]);
    }

    [Fact]
    public void T33_in_a_sealed_segment_even_the_last_record_and_the_seal_are_damage_and_never_torn()
    {
        byte[] file = Sealed(1, 2, 3);
        List<FrameSpot> frames = LogFixture.Frames(file);
        AssertEveryFlipLosesOnly(file, frames.FindLast(static frame => frame.Type == Record), mustBeSealed: false, expected: [1, 2]);
        AssertEveryFlipLosesOnly(file, frames[^1], mustBeSealed: true, expected: [1, 2, 3]);
    }

    [Fact]
    public void T33_a_seal_cut_off_at_any_byte_is_missing_when_a_later_segment_proves_it_was_there()
    {
        byte[] file = Sealed(1, 2);
        FrameSpot seal = LogFixture.Frames(file)[^1];
        for (int cut = seal.Offset; cut < seal.Offset + FrameFormat.HeaderBytes + seal.PayloadBytes; cut++)
        {
            CrashFileSystem disk = LogFixture.DiskWith(file.AsSpan(0, cut));
            SegmentReport report = disk.Replay(out RecordList records, LogFixture.Options(mustBeSealed: true));
            Assert.Equal([1, 2], records.Ids());
            Assert.Equal(SegmentOutcome.Corrupt, report.Outcome);
            Assert.Single(report.Quarantined);
        }
    }

    [Fact]
    public void T34_under_refuse_damage_stops_the_start_and_leaves_the_disk_as_it_was()
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot middle = LogFixture.Frames(file).Where(static frame => frame.Type == Record).ElementAt(1);
        file[middle.Offset + 20] ^= 4;
        CrashFileSystem disk = LogFixture.DiskWith(file);
        long operations = disk.OperationCount;
        LogRefusedException refused = Assert.Throws<LogRefusedException>(
            () => disk.Replay(out _, LogFixture.Options(onCorruption: CorruptionPolicy.Refuse)));
        Assert.Equal(LogRefusal.Corruption, refused.Reason);
        Assert.Equal(middle.Offset, refused.Offset);
        Assert.Contains($"/data/wal/00000007.log at {middle.Offset}", refused.Message, StringComparison.Ordinal);
        Assert.Equal(operations, disk.OperationCount);
    }

    [Fact]
    public void T34_a_torn_tail_is_no_reason_to_refuse()
    {
        byte[] file = Unsealed(1, 2);
        file[LogFixture.Frames(file)[^1].Offset + 12] ^= 1;
        SegmentReplayOptions options = LogFixture.Options(onCorruption: CorruptionPolicy.Refuse);
        SegmentReport report = LogFixture.DiskWith(file).Replay(out RecordList records, options);
        Assert.Equal(SegmentOutcome.TornTail, report.Outcome);
        Assert.Equal([1], records.Ids());
    }

    [Theory]
    [InlineData(4)]
    [InlineData(20)]
    [InlineData(200)]
    public void T35_an_unknown_frame_type_is_refused_wherever_it_stands(byte type)
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot last = LogFixture.Frames(file)[^1];
        FrameFormat.Write(file.AsSpan(last.Offset), WalFormat.Salt(LogFixture.DirectoryId, 7), type, new byte[last.PayloadBytes]);
        AssertRefusedAsNewer(file, last.Offset);

        // Behind a torn place, where a known frame would merely be dropped.
        file[LogFixture.Frames(file).Where(static frame => frame.Type == Record).ElementAt(1).Offset + 12] ^= 1;
        AssertRefusedAsNewer(file, last.Offset);
    }

    [Fact]
    public void T35_a_newer_version_is_refused()
    {
        byte[] file = Unsealed(1);
        new SegmentHeader(WalFormat.Version + 1, 7, LogFixture.DirectoryId).WriteTo(file);
        AssertRefusedAsNewer(file, 0);
    }

    [Fact]
    public void T36_stale_frames_of_another_segment_behind_the_tail_are_not_replayed()
    {
        byte[] file = Unsealed(1, 2);
        byte[] stale = Unsealed(5, 6, 7, 8);
        int end = LogFixture.Frames(file)[^1].End;
        foreach (FrameSpot frame in LogFixture.Frames(stale))
        {
            byte[] payload = stale.AsSpan(frame.Offset + FrameFormat.HeaderBytes, frame.PayloadBytes).ToArray();
            FrameFormat.Write(stale.AsSpan(frame.Offset), WalFormat.Salt(LogFixture.DirectoryId, 6), frame.Type, payload);
        }

        stale.AsSpan(end, 600).CopyTo(file.AsSpan(end));
        SegmentReport report = LogFixture.DiskWith(file).Replay(out RecordList records);
        Assert.Equal([1, 2], records.Ids());
        Assert.Equal(SegmentOutcome.TornTail, report.Outcome);
    }

    [Theory]
    [InlineData(0xFFFFFFFFu)]
    [InlineData(0u)]
    [InlineData((uint)WalFormat.MaxPayloadBytes)]
    [InlineData((uint)WalFormat.MaxPayloadBytes + 1)]
    public void T37_a_lying_length_costs_no_memory_and_is_classed_like_any_bad_frame(uint length)
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot[] frames = [.. LogFixture.Frames(file).Where(static frame => frame.Type == Record)];
        foreach (int index in new[] { 1, 2 })
        {
            byte[] lying = [.. file];
            BinaryPrimitives.WriteUInt32LittleEndian(lying.AsSpan(frames[index].Offset), length);
            CrashFileSystem disk = LogFixture.DiskWith(lying);
            long before = GC.GetAllocatedBytesForCurrentThread();
            SegmentReport report = disk.Replay(out RecordList records, LogFixture.Options());
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 << 20);
            Assert.Equal(index == 1 ? SegmentOutcome.Corrupt : SegmentOutcome.TornTail, report.Outcome);
            Assert.Equal(index == 1 ? [1, 3] : new[] { 1, 2 }, records.Ids());
            Assert.Equal(frames[index].Offset, Assert.Single(report.Findings).From);
        }
    }

    [Fact]
    public void T38_a_read_error_refuses_the_start_and_nothing_is_lost_once_it_is_lifted()
    {
        CrashFileSystem disk = LogFixture.DiskWith(Unsealed(1, 2, 3));
        var injector = new FaultInjector(disk);
        var error = new Fault.Error(DiskException.InputOutput);
        FaultRule broken = injector.Add(new FaultRule(error, FileOperationKind.Read) { Sticky = true });
        long operations = disk.OperationCount;
        LogRefusedException refused = Assert.Throws<LogRefusedException>(() => injector.Replay(out _));
        Assert.Equal(LogRefusal.Unreadable, refused.Reason);
        Assert.Contains("/data/wal/00000007.log at 0", refused.Message, StringComparison.Ordinal);
        Assert.Equal(4, broken.Injections);
        Assert.Equal(operations, disk.OperationCount);

        injector.Remove(broken);
        Assert.Equal(SegmentOutcome.CleanEnd, injector.Replay(out RecordList records).Outcome);
        Assert.Equal([1, 2, 3], records.Ids());
    }

    [Fact]
    public void T38_a_read_that_works_at_the_fourth_attempt_is_good_enough()
    {
        var injector = new FaultInjector(LogFixture.DiskWith(Unsealed(1, 2, 3)));
        for (int call = 1; call <= 3; call++)
        {
            injector.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Read) { OnCall = call });
        }

        Assert.Equal(SegmentOutcome.CleanEnd, injector.Replay(out RecordList records).Outcome);
        Assert.Equal(3, injector.Injected.Count);
        Assert.Equal([1, 2, 3], records.Ids());
    }

    [Fact]
    public void Frames_missing_without_a_bad_one_are_found_by_the_seal()
    {
        byte[] file = Sealed(1, 2, 3);
        List<FrameSpot> frames = LogFixture.Frames(file);
        FrameSpot middle = frames.Where(static frame => frame.Type == Record).ElementAt(1);
        byte[] closed = [.. file.AsSpan(0, middle.Offset), .. file.AsSpan(middle.End)];
        CrashFileSystem disk = LogFixture.DiskWith(closed);
        SegmentReport report = disk.Replay(out RecordList records);
        Assert.Equal([1, 3], records.Ids());
        Assert.Equal(SegmentOutcome.Corrupt, report.Outcome);
        Assert.Equal(SegmentFindingKind.MissingFrames, Assert.Single(report.Findings).Kind);
        Assert.Equal(closed, disk.ReadAll(Assert.Single(report.Quarantined)));
    }

    [Fact]
    public void A_record_that_stands_at_two_places_is_handed_on_once_and_reported()
    {
        byte[] file = Unsealed(1, 2);
        List<FrameSpot> frames = LogFixture.Frames(file);
        FrameSpot first = frames.Find(static frame => frame.Type == Record);
        file.AsSpan(first.Offset, first.End - first.Offset).CopyTo(file.AsSpan(frames[^1].End));
        CrashFileSystem disk = LogFixture.DiskWith(file);
        SegmentReport report = disk.Replay(out RecordList records);
        Assert.Equal([1, 2], records.Ids());
        Assert.Equal(SegmentFindingKind.Undecodable, Assert.Single(report.Findings).Kind);
        Assert.Equal(file[first.Offset..first.End], disk.ReadAll(Assert.Single(report.Quarantined)));
    }

    [Fact]
    public void A_verified_record_without_room_for_its_sequence_is_quarantined_and_the_rest_goes_on()
    {
        byte[] file = Unsealed(1, 2, 3);
        List<FrameSpot> frames = LogFixture.Frames(file);
        FrameSpot middle = frames.Where(static frame => frame.Type == Record).ElementAt(1);
        byte[] whole = new byte[middle.End - middle.Offset];
        int written = FrameFormat.Write(whole, WalFormat.Salt(LogFixture.DirectoryId, 7), Record, new byte[15]);
        byte[] changed = [.. file.AsSpan(0, middle.Offset), .. whole.AsSpan(0, written), .. file.AsSpan(middle.End)];
        CrashFileSystem disk = LogFixture.DiskWith(changed);
        SegmentReport report = disk.Replay(out RecordList records);
        Assert.Equal([1, 3], records.Ids());
        Assert.Equal(SegmentFindingKind.Undecodable, Assert.Single(report.Findings).Kind);
        Assert.Equal(whole[..written], disk.ReadAll(Assert.Single(report.Quarantined)));
    }

    [Fact]
    public void A_damaged_header_hides_no_record()
    {
        byte[] file = Unsealed(1, 2, 3);
        for (int at = 0; at < WalFormat.HeaderBytes; at++)
        {
            byte[] damaged = [.. file];
            damaged[at] ^= 0x10;
            SegmentReport report = LogFixture.DiskWith(damaged).Replay(out RecordList records);
            Assert.Equal([1, 2, 3], records.Ids());
            Assert.Equal(SegmentOutcome.Corrupt, report.Outcome);
            Assert.Equal((0, WalFormat.HeaderBytes), Place(Assert.Single(report.Findings)));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(64)]
    [InlineData(5000)]
    public void Without_header_and_frames_a_segment_is_empty(int zeros)
    {
        CrashFileSystem disk = LogFixture.DiskWith(new byte[zeros]);
        SegmentReport report = disk.Replay(out RecordList records);
        Assert.Equal(SegmentOutcome.Empty, report.Outcome);
        Assert.Empty(records);
        Assert.Empty(report.Quarantined);
    }

    [Fact]
    public void An_empty_file_that_must_have_been_sealed_is_damage()
    {
        SegmentReport report = LogFixture.DiskWith(new byte[500]).Replay(out _, LogFixture.Options(mustBeSealed: true));
        Assert.Equal(SegmentOutcome.Corrupt, report.Outcome);
    }

    [Fact]
    public void A_segment_of_another_number_or_directory_is_refused()
    {
        byte[] file = Unsealed(1);
        new SegmentHeader(WalFormat.Version, 8, LogFixture.DirectoryId).WriteTo(file);
        Assert.Equal(LogRefusal.Foreign, Assert.Throws<LogRefusedException>(() => LogFixture.DiskWith(file).Replay(out _)).Reason);
        new SegmentHeader(WalFormat.Version, 7, Guid.Empty).WriteTo(file);
        Assert.Equal(LogRefusal.Foreign, Assert.Throws<LogRefusedException>(() => LogFixture.DiskWith(file).Replay(out _)).Reason);
    }

    [Fact]
    public void What_lies_beyond_an_accepted_end_is_ignored_and_what_lies_before_counts_as_durable()
    {
        byte[] file = Unsealed(1, 2, 3);
        FrameSpot[] frames = [.. LogFixture.Frames(file).Where(static frame => frame.Type == Record)];
        SegmentReplayOptions options = LogFixture.Options(mustBeSealed: true) with { AcceptedEnd = frames[1].End };
        SegmentReport report = LogFixture.DiskWith(file).Replay(out RecordList records, options);
        Assert.Equal([1, 2], records.Ids());
        Assert.Equal(SegmentOutcome.CleanEnd, report.Outcome);
        Assert.Equal(frames[1].End, report.End);

        // The last accepted record: torn by its own file's account, accepted by an earlier start.
        file[frames[1].Offset + 30] ^= 1;
        report = LogFixture.DiskWith(file).Replay(out records, options);
        Assert.Equal([1], records.Ids());
        Assert.Equal((frames[1].Offset, frames[1].End), Place(Assert.Single(report.Findings)));

        report = LogFixture.DiskWith(file.AsSpan(0, frames[1].Offset)).Replay(out records, options);
        Assert.Equal(SegmentOutcome.Corrupt, report.Outcome);
        Assert.Equal(SegmentFindingKind.MissingFrames, Assert.Single(report.Findings).Kind);
    }

    [Fact]
    public void Records_longer_than_the_window_and_damage_between_them_are_read_right()
    {
        CrashFileSystem origin = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(origin);
        int[] lengths = [100, 200_000, 65_536, 65_500, 300_000, 70_000, 5, 150_000];
        for (int id = 0; id < lengths.Length; id++)
        {
            log.Add(id, lengths[id]);
            log.DrainOnce();
        }

        byte[] file = origin.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment));
        LogFixture.DiskWith(file).Replay(out RecordList records, LogFixture.Options());
        Assert.Equal(lengths, records.Select(static record => record.Body.Length));
        Assert.All(records, record => Assert.Equal(LogFixture.BodyBytes(record.Id, lengths[record.Id]), record.Body));

        FrameSpot damaged = LogFixture.Frames(file).Where(static frame => frame.Type == Record).ElementAt(4);
        file[damaged.Offset + 100_000] ^= 3;
        SegmentReport report = LogFixture.DiskWith(file).Replay(out records, LogFixture.Options());
        Assert.Equal([0, 1, 2, 3, 5, 6, 7], records.Ids());
        Assert.Equal(damaged.End - damaged.Offset, report.LostBytes);
        Assert.DoesNotContain("bit", report.Findings[0].What, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_damaged_places_are_two_findings_and_one_copy()
    {
        byte[] file = Sealed(1, 2, 3, 4, 5);
        FrameSpot[] frames = [.. LogFixture.Frames(file).Where(static frame => frame.Type == Record)];
        file[frames[1].Offset + 30] ^= 1;
        file[frames[3].Offset + 1] ^= 0x40;
        CrashFileSystem disk = LogFixture.DiskWith(file);
        SegmentReport report = disk.Replay(out RecordList records);
        Assert.Equal([1, 3, 5], records.Ids());
        Assert.Equal([(frames[1].Offset, frames[1].End), (frames[3].Offset, frames[3].End)], report.Findings.Select(Place));
        Assert.Equal(file, disk.ReadAll(Assert.Single(report.Quarantined)));
    }

    [Fact]
    public void A_replay_can_crash_anywhere_and_the_next_one_finds_the_same()
    {
        byte[] torn = Unsealed(1, 2, 3);
        torn[LogFixture.Frames(torn)[^1].Offset + 12] ^= 1;
        byte[] damaged = Sealed(1, 2, 3);
        damaged[LogFixture.Frames(damaged)[1].Offset + 12] ^= 1;
        foreach (byte[] file in new[] { torn, damaged })
        {
            CrashFileSystem disk = LogFixture.DiskWith(file);
            List<CrashFileSystem> images = [];
            disk.BeforeOperation = (number, _) => images.AddRange(CrashPolicy.Every.Select(policy => disk.CrashClone(policy, (int)number)));
            SegmentReport undisturbed = disk.Replay(out RecordList expected);
            disk.BeforeOperation = null;
            images.Add(disk.CrashClone(CrashPolicy.OnlySynced, 0));
            Assert.True(images.Count > 9);
            foreach (CrashFileSystem image in images)
            {
                SegmentReport report = image.Replay(out RecordList records);
                Assert.Equal(expected.Ids(), records.Ids());
                Assert.Equal(undisturbed.Findings, report.Findings);
                Assert.Equal(disk.ReadAll(undisturbed.Quarantined[0]), image.ReadAll(Assert.Single(report.Quarantined)));
                Assert.Equal(file, image.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment)));
            }

            int copies = disk.List(LogFixture.Quarantine).Count;
            disk.Replay(out _);
            Assert.Equal(copies, disk.List(LogFixture.Quarantine).Count);
        }
    }

    [Fact]
    public void A_replay_stops_when_it_is_cancelled()
    {
        CrashFileSystem disk = LogFixture.DiskWith(Unsealed(1, 2, 3));
        using var cancel = new CancellationTokenSource();
        cancel.Cancel();
        Assert.Throws<OperationCanceledException>(() => LogReader.Replay(
            disk, LogFixture.PathOf(7), LogFixture.DirectoryId, 7, LogFixture.Options(), new RecordList(), cancel.Token));
    }

    private static byte[] Unsealed(params int[] ids)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        LogFixture.StartedLog(disk).AddApart(ids);
        return disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment));
    }

    private static byte[] Sealed(params int[] ids)
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.AddApart(ids);
        log.Close();
        return disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment));
    }

    private static byte[] TornAt(byte[] file, int cut, int end, Rest rest)
    {
        byte[] torn = rest == Rest.Cut ? file[..cut] : [.. file];
        if (rest == Rest.Zeros) torn.AsSpan(cut).Clear();
        if (rest == Rest.Garbage)
        {
            new Random(cut).NextBytes(torn.AsSpan(cut, end - cut + 8));
            torn[end + 7] = 0xFF;
        }

        return torn;
    }

    private static void AssertEveryFlipLosesOnly(byte[] file, FrameSpot frame, bool mustBeSealed, int[] expected)
    {
        byte[] intact = [.. file];
        for (int bit = 0; bit < (FrameFormat.HeaderBytes + frame.PayloadBytes) * 8; bit++)
        {
            byte[] flipped = [.. intact];
            flipped[frame.Offset + (bit / 8)] ^= (byte)(1 << (bit % 8));
            CrashFileSystem disk = LogFixture.DiskWith(flipped);
            SegmentReport report = disk.Replay(out RecordList records, LogFixture.Options(mustBeSealed));
            Assert.Equal(expected, records.Ids());
            Assert.Equal(SegmentOutcome.Corrupt, report.Outcome);
            SegmentFinding finding = Assert.Single(report.Findings);
            Assert.Equal(SegmentFindingKind.Damage, finding.Kind);
            Assert.Equal((frame.Offset, frame.End), Place(finding));
            Assert.EndsWith($"explains it: bit {bit % 8} of byte {frame.Offset + (bit / 8)}", finding.What, StringComparison.Ordinal);
            ReadOnlySpan<byte> copy = disk.ReadAll(Assert.Single(report.Quarantined));
            Assert.True(flipped.AsSpan().StartsWith(copy) && flipped.AsSpan(copy.Length).IndexOfAnyExcept((byte)0) < 0);
        }
    }

    private static void AssertRefusedAsNewer(byte[] file, long offset)
    {
        CrashFileSystem disk = LogFixture.DiskWith(file);
        long operations = disk.OperationCount;
        LogRefusedException refused = Assert.Throws<LogRefusedException>(() => disk.Replay(out _));
        Assert.Equal((LogRefusal.NewerFormat, offset), (refused.Reason, refused.Offset));
        Assert.Equal(operations, disk.OperationCount);
        Assert.Equal(file, disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment)));
    }

    private static (int From, int To) Place(SegmentFinding finding) => ((int)finding.From, (int)finding.To);
}
