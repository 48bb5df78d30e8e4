using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Series;
using TsdbRemote.Tests.Exemplars;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Framing;

/// <summary>The files beside the manifest: what was written is read, and nothing else is.</summary>
public sealed class SideFileTests
{
    private const string Path = "/disk/EXEMPLARS";
    private static readonly Guid Directory = new("0f5b3b0e-6f0a-4c1e-9d69-3f4e2a1b7c55");

    [Fact]
    public void Exemplars_come_back_in_their_order()
    {
        CrashFileSystem disk = Written(out ExemplarRing ring);
        var again = new ExemplarRing(1 << 20);
        ExemplarFile.Load(disk, Path, Directory, again);
        Assert.Equal(ring.Print(), again.Print());
        Assert.Equal(Print(ring), Print(again));
        Assert.Equal(7, again.Stats.Count);
    }

    [Fact]
    public void A_smaller_ring_takes_the_newest()
    {
        CrashFileSystem disk = Written(out ExemplarRing ring);
        var again = new ExemplarRing(3 * 520);
        ExemplarFile.Load(disk, Path, Directory, again);
        Assert.InRange(again.Stats.Count, 1, 5);
        Assert.Equal(Print(ring)[^(int)again.Stats.Count..], Print(again));
    }

    [Fact]
    public void Files_longer_than_a_window_are_read_whole()
    {
        var disk = new CrashFileSystem("/disk");
        int left = 3000;
        SideFile.Write(disk, Path, ExemplarFile.Kind, Directory, record =>
        {
            if (left == 0) return false;
            record.Append(new byte[1 + (left-- * 7919 % 5000)]);
            return true;
        });
        Assert.InRange(disk.FileSize(Path) ?? 0, 4 << 20, long.MaxValue);
        var sizes = new List<int>();
        SideFile.Load(disk, Path, ExemplarFile.Kind, Directory, record =>
        {
            sizes.Add(record.Length);
            return true;
        });
        Assert.Equal(Enumerable.Range(1, 3000).Reverse().Select(static i => 1 + (i * 7919 % 5000)), sizes);
    }

    [Fact]
    public void Metadata_comes_back_and_any_word_of_the_log_stands_above_it()
    {
        var disk = new CrashFileSystem("/disk");
        var known = new MetricMetadata();
        for (int type = 0; type < 8; type++) known.Set(System.Text.Encoding.UTF8.GetBytes($"metric_{type}"), type, "What it is: \"ü\"\n."u8, type == 3 ? "seconds"u8 : default);
        MetadataFile.Write(disk, "/disk/METADATA", Directory, known);
        var again = new MetricMetadata();
        again.Set("metric_1"u8, 2, "newer"u8, default, order: 1);
        MetadataFile.Load(disk, "/disk/METADATA", Directory, again);
        Assert.Equal(known.List().Where(static family => family.Key != "metric_1"), again.List().Where(static family => family.Key != "metric_1"));
        Assert.True(again.TryGet("metric_1", out MetricDescription? newer));
        Assert.Equal(new MetricDescription(MetricType.Gauge, "newer", ""), newer);
    }

    [Fact]
    public void Whatever_bit_flips_only_what_stood_before_it_is_taken()
    {
        CrashFileSystem disk = Written(out ExemplarRing ring);
        byte[] whole = Bytes(disk, Path);
        string[] all = Print(ring);
        for (int bit = 0; bit < whole.Length * 8; bit++)
        {
            byte[] damaged = [.. whole];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            AssertTakesAPrefix(damaged, all, whole);
        }
    }

    [Fact]
    public void A_file_that_ends_early_or_goes_on_is_damaged()
    {
        CrashFileSystem disk = Written(out ExemplarRing ring);
        byte[] whole = Bytes(disk, Path);
        for (int length = 0; length < whole.Length; length++) AssertTakesAPrefix(whole[..length], Print(ring), whole);
        AssertTakesAPrefix([.. whole, 0, 0, 0, 0], Print(ring), whole);
    }

    [Fact]
    public void A_file_of_another_directory_or_kind_is_damaged()
    {
        CrashFileSystem disk = Written(out _);
        var ring = new ExemplarRing(1 << 20);
        Assert.Throws<CorruptFileException>(() => ExemplarFile.Load(disk, Path, Guid.NewGuid(), ring));
        Assert.Throws<CorruptFileException>(() => MetadataFile.Load(disk, Path, Directory, new MetricMetadata()));
        Assert.Equal(0, ring.Stats.Count);
    }

    [Fact]
    public void A_later_version_is_refused_and_not_taken_for_damage()
    {
        var disk = new CrashFileSystem("/disk");
        SideFile.Write(disk, Path, ExemplarFile.Kind with { Version = 2 }, Directory, static _ => false);
        Assert.Throws<NewerFormatException>(() => ExemplarFile.Load(disk, Path, Directory, new ExemplarRing(1)));
    }

    private static void AssertTakesAPrefix(byte[] damaged, string[] all, byte[] whole)
    {
        var disk = new CrashFileSystem("/disk");
        using (IFile file = disk.CreateNew(Path)) file.Write(0, damaged);
        var ring = new ExemplarRing(1 << 20);

        // Zeros behind a frame are not covered by its checksum, and mean nothing.
        Exception? failure = Record.Exception(() => ExemplarFile.Load(disk, Path, Directory, ring));
        if (failure is null) Assert.Equal(whole.Length, damaged.Length);
        else Assert.IsType<CorruptFileException>(failure);
        Assert.Equal(all[..(int)ring.Stats.Count], Print(ring));
        if (failure is null) Assert.Equal(all.Length, ring.Stats.Count);
    }

    private static CrashFileSystem Written(out ExemplarRing ring)
    {
        ring = new ExemplarRing(1 << 20);
        byte[][] series = [Labels.Encode(("__name__", "a"), ("job", "ü")), Labels.Encode(("__name__", "b"))];
        for (int i = 0; i < 7; i++)
            ring.Offer(series[i % 3 % 2], new Exemplar(i == 4 ? [] : Labels.Encode(("trace_id", $"{i * 1237}")), Sample.Of(i - 3, i * 0.5)));
        var disk = new CrashFileSystem("/disk");
        Assert.Equal(ring.Version, ExemplarFile.Write(disk, Path, Directory, ring));
        return disk;
    }

    private static byte[] Bytes(CrashFileSystem disk, string path)
    {
        using IFile file = disk.OpenRead(path);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    private static string[] Print(ExemplarRing ring) => [.. ring.All(out _).Select(static held => HeldExemplars.Print(held.Series, held.Exemplar))];
}
