using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

public sealed class WalFormatTests
{
    [Fact]
    public void A_file_name_gives_back_its_number_and_no_other_name_does()
    {
        Assert.Equal("00000042.log", WalFormat.FileName(42));
        Assert.True(WalFormat.TryParseFileName("00000042.log", out long segment));
        Assert.Equal(42, segment);
        Assert.All(
            new[] { "42.log", "00000042.log.tmp", "0000004x.log", "-0000042.log", ".log", "00000042", "000000042.log" },
            static name => Assert.False(WalFormat.TryParseFileName(name, out _)));
    }

    [Fact]
    public void Sequences_order_by_segment_then_by_index()
    {
        Assert.Equal((7UL << 40) | 5, WalFormat.Sequence(7, 5));
        Assert.Equal(7, WalFormat.SegmentOf(WalFormat.Sequence(7, (1L << 40) - 1)));
        Assert.True(WalFormat.Sequence(8, 0) > WalFormat.Sequence(7, (1L << 40) - 1));
        Assert.Equal(WalFormat.MaxSegment - 1, WalFormat.SegmentOf(WalFormat.Sequence(WalFormat.MaxSegment - 1, 3)));
    }

    [Fact]
    public void A_header_with_any_bit_flipped_is_no_header()
    {
        byte[] bytes = new byte[WalFormat.HeaderBytes];
        var header = new SegmentHeader(WalFormat.Version, 42, LogFixture.DirectoryId);
        header.WriteTo(bytes);
        Assert.True(SegmentHeader.TryRead(bytes, out SegmentHeader found));
        Assert.Equal(header, found);
        for (int bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(SegmentHeader.TryRead(bytes, out _), $"bit {bit}");
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        Assert.False(SegmentHeader.TryRead(bytes.AsSpan(0, WalFormat.HeaderBytes - 1), out _));
    }

    // Golden, made by a program of its own from the drawing, not by this code: files of this version are read by every later build.
    // A change here is a new version number.
    [Fact]
    public void Version_1_is_written_byte_for_byte_like_this()
    {
        CrashFileSystem disk = LogFixture.NewDisk();
        WriteAheadLog log = LogFixture.StartedLog(disk);
        log.Enqueue(WalRecordKind.WriteV1, LogFixture.Body("hello"u8.ToArray()), 1_700_000_000_000);
        log.Enqueue(WalRecordKind.WriteV2, LogFixture.Body("hi"u8.ToArray()), -1);
        log.Close();
        string[] golden =
        [
            // Magic, version, salt, segment, first sequence; directory id, zeros, checksum.
            "545344425257414C", "01000000", "05468313", "0700000000000000", "0000000000070000",
            "5BAD8F0FCBD99F46A16570867728950E", "000000000000000000000000", "C8CF5DF6",
            // durable_to 64; a 1.0 record and a 2.0 record with sequence, time, body; seal of 2 records in 144 bytes, chain.
            "08000000", "BD18ECC1", "01", "4000000000000000", "000000",
            "15000000", "7E212EF6", "10", "0000000000070000", "0068E5CF8B010000", "68656C6C6F", "0000",
            "12000000", "ED4BE98A", "11", "0100000000070000", "FFFFFFFFFFFFFFFF", "6869", "00",
            "14000000", "59AB836B", "02", "0200000000000000", "9000000000000000", "9B27F847", "000000",
        ];
        Assert.Equal(string.Concat(golden), Convert.ToHexString(disk.ReadAll(LogFixture.PathOf(LogFixture.FirstSegment))));
    }
}
