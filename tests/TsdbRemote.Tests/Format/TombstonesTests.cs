using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Format;

public class TombstonesTests
{
    private const string Path = "tombstones";

    [Fact]
    public void None_take_nine_bytes_as_promtool_writes_them()
    {
        CrashFileSystem files = new();
        TombstonesFormat.Write(files, Path, Tombstones.None);
        Assert.Equal("0130ba300100000000", Convert.ToHexStringLower(files.ReadAll(Path)));
        Assert.True(TombstonesFormat.Read(files, Path).IsEmpty);
    }

    [Fact]
    public void A_deletion_by_Prometheus_is_read_and_written_alike()
    {
        const string Hex = "0130ba30010a80a0abfef962c0bab7fef962bff04964";
        CrashFileSystem files = new();
        files.WriteNew(Path, Convert.FromHexString(Hex));
        Tombstones read = TombstonesFormat.Read(files, Path);
        Assert.Equal([new Tombstone(10, new TimeRange(1700000000000, 1700000100000))], read.All());
        TombstonesFormat.Write(files, "again", read);
        Assert.Equal(Hex, Convert.ToHexStringLower(files.ReadAll("again")));
    }

    [Fact]
    public void An_absent_file_deletes_nothing() => Assert.Same(Tombstones.None, TombstonesFormat.Read(new CrashFileSystem(), Path));

    [Fact]
    public void Exactly_the_instants_of_the_intervals_are_deleted_and_all_come_back() =>
        Gen.Select(Gen.UInt[0, 3], Gen.Long[0, 40], Gen.Long[0, 6]).Array[0, 12].Sample(static entries =>
        {
            Tombstone[] input = [.. entries.Select(entry => new Tombstone(entry.Item1, new TimeRange(entry.Item2, entry.Item2 + entry.Item3)))];
            CrashFileSystem files = new();
            TombstonesFormat.Write(files, Path, Tombstones.Of(input));
            Tombstones read = TombstonesFormat.Read(files, Path);
            for (uint series = 0; series < 5; series++)
            {
                ReadOnlySpan<TimeRange> ranges = read.OfSeries(series);
                for (int i = 1; i < ranges.Length; i++) Assert.True(ranges[i].MinMs > ranges[i - 1].MaxMs + 1);
                for (long time = -1; time < 50; time++)
                {
                    bool expected = input.Any(tombstone => tombstone.SeriesId == series && tombstone.Range.Contains(time));
                    Assert.Equal(expected, ranges.ToArray().Any(range => range.Contains(time)));
                }
            }
        }, iter: 300);

    [Fact]
    public void Intervals_at_the_ends_of_time_touch_nothing_beyond()
    {
        Tombstones all = Tombstones.Of(
            [
                new(1, new(long.MaxValue, long.MaxValue)), new(1, new(long.MinValue, long.MinValue)),
                new(uint.MaxValue, TimeRange.All), new(uint.MaxValue, new(5, 6)),
            ]);
        Assert.Equal(3, all.Count);
        Assert.Equal([TimeRange.All], all.OfSeries(uint.MaxValue));
        Assert.Throws<ArgumentException>(() => Tombstones.Of([new(1, new(2, 1))]));
    }

    [Fact]
    public void No_flipped_bit_or_cut_goes_unseen()
    {
        CrashFileSystem files = new();
        TombstonesFormat.Write(files, Path, Tombstones.Of([new(5, new(1, 9)), new(300, new(-9, 70000)), new(300, new(1L << 40, 1L << 41))]));
        byte[] good = files.ReadAll(Path);
        for (int i = 0; i < good.Length; i++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                byte[] flipped = (byte[])good.Clone();
                flipped[i] ^= (byte)(1 << bit);
                AssertCorrupt(flipped);
            }

            AssertCorrupt(good[..i]);
        }

        AssertCorrupt([.. good, 0]);
    }

    [Theory]
    [InlineData("8080808010 00 00", "series id above 32 bits")]
    [InlineData("05 04 02", "an interval that ends before it begins")]
    [InlineData("05 02", "an entry that ends early")]
    [InlineData("05 ffffffffffffffffffff 00", "a varint above 64 bits")]
    public void An_entry_that_is_none_is_damage_although_the_checksum_holds(string entry, string why)
    {
        byte[] entries = Convert.FromHexString(entry.Replace(" ", "", StringComparison.Ordinal));
        byte[] crc = BitConverter.GetBytes(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(Crc32C.Of(entries)));
        Assert.True(why.Length > 0);
        CorruptFileException damage = AssertCorrupt([0x01, 0x30, 0xba, 0x30, 1, .. entries, .. crc]);
        Assert.Equal((5, "not a tombstone"), (damage.Offset, damage.What));
    }

    [Fact]
    public void A_file_longer_than_any_that_is_written_takes_no_memory()
    {
        CrashFileSystem files = new();
        using (IFile file = files.CreateNew(Path)) file.SetLength(TombstonesFormat.MaxBytes + 1L);
        Assert.Contains("are expected", Assert.Throws<CorruptFileException>(() => TombstonesFormat.Read(files, Path)).What, StringComparison.Ordinal);
    }

    private static CorruptFileException AssertCorrupt(byte[] bytes)
    {
        CrashFileSystem files = new();
        files.WriteNew(Path, bytes);
        return Assert.ThrowsAny<CorruptFileException>(() => TombstonesFormat.Read(files, Path));
    }
}
