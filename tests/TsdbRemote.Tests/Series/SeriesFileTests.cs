using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Series;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Series;

public sealed class SeriesFileTests
{
    private const string Path = "series/00000003.dict";
    private const long Number = 3;
    private static readonly Guid Directory = new("0f0e0d0c-0b0a-0908-0706-050403020100");
    private readonly MemoryFiles _files = new();

    [Fact]
    public void Appends_of_any_sizes_read_back_in_their_order()
    {
        Gen.Int[0, 40].Array[1, 5].Sample(
            sizes =>
            {
                var files = new MemoryFiles();
                using SeriesDictionary series = Filled(sizes.Sum());
                SeriesFileEnd end = default;
                uint from = 0;
                foreach (int size in sizes)
                {
                    end = Append(files, series, end, [.. Enumerable.Range((int)from, size).Select(i => (uint)i)]);
                    from += (uint)size;
                }

                List<(ulong Id, byte[] Run)> read = Load(files, end, out SeriesFileReport report);
                Assert.Empty(report.Damage);
                Assert.Equal(sizes.Sum(), report.Entries);
                Assert.Equal(end.Crc, Crc32C.Of(files[Path]));
                for (uint i = 0; i < from; i++)
                {
                    Assert.Equal(series.IdOf(i), read[(int)i].Id);
                    Assert.Equal(series.LabelsOf(i).ToArray(), read[(int)i].Run);
                }
            },
            iter: 50);
    }

    [Fact]
    public void The_bytes_of_version_1_stay_what_they_are()
    {
        using var series = new SeriesDictionary(7);
        byte[] run = Labels.Encode(("__name__", "up"), ("job", "a"));
        series.GetOrAdd(run, Labels.Hash(run), out _);
        SeriesFileEnd end = Append(_files, series, default, [0]);
        const string Golden = "54534442444943540100000003000000000000006CCD45AB"
            + "220000008A756BA8010700000000000000" + "0A0E0A085F5F6E616D655F5F12027570" + "0A080A036A6F62120161" + "00";
        Assert.Equal(Golden, Convert.ToHexString(_files[Path]));
        Assert.True(end.Created);
        Assert.Equal(new SeriesFileEnd(68, Crc32C.Of(_files[Path]), true), end);
    }

    [Fact]
    public void Everything_is_synced_in_pieces_of_at_most_a_mebibyte()
    {
        using SeriesDictionary series = Filled(40_000);
        SeriesFileEnd end = Append(_files, series, default, [.. Enumerable.Range(0, 40_000).Select(i => (uint)i)]);
        Assert.Equal(end.Length, _files.SyncedLength(Path));
        Assert.Equal(end.Length, _files.WriteSizes.Sum());
        Assert.True(_files.WriteSizes.Count > 1);
        Assert.All(_files.WriteSizes, size => Assert.InRange(size, 1, 1 << 20));
        Assert.Equal(40_000, Load(_files, end, out SeriesFileReport report).Count);
        Assert.Empty(report.Damage);
    }

    [Fact]
    public void A_real_disk_takes_and_gives_the_same()
    {
        using var directory = new TempDirectory();
        string path = directory["00000003.dict"];
        var disk = new LocalFileSystem();
        using SeriesDictionary series = Filled(9);
        SeriesFileEnd end = SeriesFile.Append(disk, path, Directory, Number, 0, 0, series, [0, 1, 2]);
        SeriesFile.Append(disk, path, Directory, Number, end.Length, end.Crc, series, [3, 4, 5, 6]);
        end = SeriesFile.Append(disk, path, Directory, Number, end.Length, end.Crc, series, [8]);
        Assert.Equal(end.Length, disk.FileSize(path));
        var ids = new List<ulong>();
        SeriesFileReport report = SeriesFile.Load(disk, path, Directory, Number, end.Length, end.Crc, (id, _) => ids.Add(id));
        Assert.Empty(report.Damage);
        Assert.Equal([1ul, 2, 3, 9], ids);
    }

    [Fact]
    public void What_an_aborted_flush_left_behind_is_cut_by_the_next_append()
    {
        using SeriesDictionary series = Filled(9);
        SeriesFileEnd first = Append(_files, series, default, [0, 1, 2]);
        Append(_files, series, first, [3, 4, 5, 6]);
        SeriesFileEnd second = Append(_files, series, first, [7]);
        Assert.Equal(second.Length, _files[Path].Length);
        Assert.Equal([1, 2, 3, 8], Load(_files, second, out _).Select(entry => (int)entry.Id));
        Assert.False(second.Created);
    }

    [Fact]
    public void Bytes_beyond_the_committed_length_are_not_read()
    {
        using SeriesDictionary series = Filled(9);
        SeriesFileEnd first = Append(_files, series, default, [0, 1, 2]);
        Append(_files, series, first, [3, 4, 5, 6]);
        Assert.Equal(3, Load(_files, first, out SeriesFileReport report).Count);
        Assert.Empty(report.Damage);
    }

    [Fact]
    public void The_rest_of_a_file_that_no_manifest_names_is_begun_anew_and_still_counts_as_created()
    {
        _files[Path] = [1, 2, 3];
        using SeriesDictionary series = Filled(1);
        SeriesFileEnd end = Append(_files, series, default, [0]);
        Assert.True(end.Created);
        Assert.Single(Load(_files, end, out SeriesFileReport report));
        Assert.Empty(report.Damage);
    }

    [Fact]
    public void A_file_cut_at_any_byte_is_refused()
    {
        using SeriesDictionary series = Filled(6);
        SeriesFileEnd end = Append(_files, series, default, [0, 1, 2, 3, 4, 5]);
        byte[] whole = _files[Path];
        for (int length = 0; length < whole.Length; length++)
        {
            _files[Path] = whole[..length];
            CorruptFileException load = Assert.Throws<CorruptFileException>(() => Load(_files, end, out _));
            Assert.Equal(length, load.Offset);
            Assert.Throws<CorruptFileException>(() => Append(_files, series, end, [0]));
            Assert.Equal(length, _files[Path].Length);
        }
    }

    [Fact]
    public void An_absent_file_is_refused_if_the_manifest_names_it()
    {
        CorruptFileException missing = Assert.Throws<CorruptFileException>(() => Load(_files, new SeriesFileEnd(64, 0, false), out _));
        Assert.Contains("absent", missing.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_flipped_bit_costs_at_most_its_own_entry_and_is_always_reported()
    {
        using SeriesDictionary series = Filled(12);
        SeriesFileEnd end = Append(_files, series, default, [.. Enumerable.Range(0, 12).Select(i => (uint)i)]);
        byte[] whole = _files[Path];
        List<(ulong Id, byte[] Run)> all = Load(_files, end, out _);
        for (int bit = 0; bit < whole.Length * 8; bit++)
        {
            byte[] flipped = [.. whole];
            flipped[bit / 8] ^= (byte)(1 << (bit % 8));
            _files[Path] = flipped;
            List<(ulong Id, byte[] Run)> read = Load(_files, end, out SeriesFileReport report);
            Assert.True(report.DamageCount == 1, $"bit {bit} gave {report.DamageCount} reports");
            Assert.Equal(report.Entries, read.Count);
            Assert.InRange(read.Count, 11, 12);
            Assert.All(read, entry => Assert.Contains(all, good => good.Id == entry.Id && good.Run.AsSpan().SequenceEqual(entry.Run)));
            if (read.Count == 12) continue;
            ulong lost = all.Select(entry => entry.Id).Except(read.Select(entry => entry.Id)).Single();
            long offset = OffsetOf(whole, (int)lost - 1);
            Assert.Equal(offset, report.Damage[0].Offset);
            Assert.Equal(OffsetOf(whole, (int)lost) - offset, report.Damage[0].Length);
        }
    }

    [Fact]
    public void A_damaged_entry_is_named_by_its_offset_and_id()
    {
        using SeriesDictionary series = Filled(3);
        SeriesFileEnd end = Append(_files, series, default, [0, 1, 2]);
        byte[] bytes = _files[Path];
        long second = OffsetOf(bytes, 1);
        bytes[second + FrameFormat.HeaderBytes + 12] ^= 0x40;
        Load(_files, end, out SeriesFileReport report);
        SeriesFileDamage damage = Assert.Single(report.Damage);
        Assert.Equal(second, damage.Offset);
        Assert.Equal("the entry's checksum differs; its id field reads 2", damage.Reason);
    }

    [Fact]
    public void A_file_of_another_directory_or_number_yields_nothing()
    {
        using SeriesDictionary series = Filled(3);
        SeriesFileEnd end = Append(_files, series, default, [0, 1, 2]);
        int entries = 0;
        SeriesFileReport report = SeriesFile.Load(_files, Path, Guid.Empty, Number, end.Length, end.Crc, (_, _) => entries++);
        Assert.Equal(0, entries);
        Assert.Equal(2, report.DamageCount);
        SeriesFile.Load(_files, Path, Directory, Number + 1, end.Length, end.Crc, (_, _) => entries++);
        Assert.Equal(0, entries);
    }

    [Fact]
    public void A_newer_version_and_an_unknown_entry_type_are_refused_rather_than_skipped()
    {
        using SeriesDictionary series = Filled(1);
        SeriesFileEnd end = Append(_files, series, default, [0]);
        byte[] whole = _files[Path];
        uint salt = FrameFormat.Salt(Directory, "dict", Number);

        byte[] newer = [.. whole];
        newer[8] = 2;
        BitConverter.TryWriteBytes(newer.AsSpan(20), Crc32C.Of(BitConverter.GetBytes(salt), newer.AsSpan(0, 20)));
        _files[Path] = newer;
        NewerFormatException refused = Assert.Throws<NewerFormatException>(() => Load(_files, end, out _));
        Assert.Contains("was written in format version 2; this program reads up to 1", refused.Message, StringComparison.Ordinal);

        byte[] frame = new byte[FrameFormat.SizeOf(10)];
        FrameFormat.Write(frame, salt, 2, new byte[10]);
        _files[Path] = [.. whole, .. frame];
        var longer = new SeriesFileEnd(whole.Length + frame.Length, 0, false);
        refused = Assert.Throws<NewerFormatException>(() => Load(_files, longer, out _));
        Assert.Contains("entry type 2", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_entry_that_verifies_but_holds_no_labels_is_reported_and_not_handed_out()
    {
        using SeriesDictionary series = Filled(1);
        SeriesFileEnd end = Append(_files, series, default, [0]);
        byte[] frame = new byte[FrameFormat.SizeOf(11)];
        FrameFormat.Write(frame, FrameFormat.Salt(Directory, "dict", Number), 1, [9, 0, 0, 0, 0, 0, 0, 0, 0x0A, 0x05, 0x01]);
        _files[Path] = [.. _files[Path], .. frame];
        var longer = new SeriesFileEnd(end.Length + frame.Length, Crc32C.Of(_files[Path]), false);
        Assert.Single(Load(_files, longer, out SeriesFileReport report));
        Assert.Equal(end.Length, Assert.Single(report.Damage).Offset);
    }

    private static SeriesDictionary Filled(int count)
    {
        var series = new SeriesDictionary();
        for (int i = 0; i < count; i++)
        {
            byte[] run = Labels.Encode(("__name__", "metric"), ("instance", new string('x', i % 50) + i.ToString(provider: null)));
            series.GetOrAdd(run, Labels.Hash(run), out _);
        }

        return series;
    }

    private static SeriesFileEnd Append(MemoryFiles files, SeriesDictionary series, SeriesFileEnd end, uint[] ordinals) =>
        SeriesFile.Append(files, Path, Directory, Number, end.Length, end.Crc, series, ordinals);

    private static List<(ulong Id, byte[] Run)> Load(MemoryFiles files, SeriesFileEnd end, out SeriesFileReport report)
    {
        var entries = new List<(ulong Id, byte[] Run)>();
        report = SeriesFile.Load(files, Path, Directory, Number, end.Length, end.Crc, (id, run) => entries.Add((id, run.ToArray())));
        return entries;
    }

    private static long OffsetOf(byte[] file, int entry)
    {
        long offset = SeriesFile.HeaderBytes;
        for (int i = 0; i < entry; i++) offset += FrameFormat.SizeOf(BitConverter.ToUInt32(file, (int)offset));
        return offset;
    }
}
