using CsCheck;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>What each kind of crash may leave, case by case.</summary>
public sealed class CrashFileSystemTests
{
    private const int Page = 4096;

    private readonly CrashFileSystem _disk = new("d", "e");

    [Fact]
    public void Data_that_was_not_synced_is_lost_in_a_power_cut_and_kept_in_a_kill()
    {
        using IFile file = Durable("d/a", [1, 2, 3]);
        file.Write(1, [9]);
        file.Write(3, [4]);
        Assert.Equal([1, 2, 3], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
        Assert.Equal([1, 9, 3, 4], After(CrashPolicy.All).ReadAll("d/a"));
    }

    [Fact]
    public void Closing_a_file_syncs_nothing()
    {
        Durable("d/a", [1]).Dispose();
        using (IFile file = _disk.OpenAppendable("d/a")) file.Write(0, [2]);
        Assert.Equal([1], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
    }

    [Fact]
    public void A_synced_file_whose_name_was_not_is_gone()
    {
        _disk.WriteNew("d/a", [1], sync: true);
        Assert.Null(After(CrashPolicy.OnlySynced).FileSize("d/a"));
        Assert.Null(After(CrashPolicy.DataOnly).FileSize("d/a"));
        Assert.Equal([1], After(CrashPolicy.EntryOnly).ReadAll("d/a"));
        _disk.SyncDir("d");
        Assert.Equal([1], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
    }

    [Fact]
    public void A_synced_directory_whose_own_name_was_not_takes_all_below_it_along()
    {
        _disk.MakeDir("d/sub");
        _disk.WriteNew("d/sub/a", [1], sync: true);
        _disk.SyncDir("d/sub");
        Assert.Empty(After(CrashPolicy.OnlySynced).List("d"));
        _disk.SyncDir("d");
        Assert.Equal([1], After(CrashPolicy.OnlySynced).ReadAll("d/sub/a"));
    }

    [Fact]
    public void An_unlink_without_a_directory_sync_comes_back()
    {
        Durable("d/a", [1]).Dispose();
        _disk.Unlink("d/a");
        Assert.Equal([1], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
        _disk.SyncDir("d");
        Assert.Null(After(CrashPolicy.OnlySynced).FileSize("d/a"));
    }

    [Fact]
    public void A_rename_without_a_directory_sync_leaves_the_old_or_the_new_and_both_happen()
    {
        Durable("d/a", [1]).Dispose();
        Durable("d/a.tmp", [2]).Dispose();
        _disk.Rename("d/a.tmp", "d/a");
        HashSet<string> seen = [];
        for (int seed = 0; seed < 30; seed++)
        {
            CrashFileSystem after = _disk.CrashClone(CrashPolicy.RandomPages(0.5), seed);
            seen.Add($"{after.ReadAll("d/a")[0]} {after.FileSize("d/a.tmp")}");
        }

        Assert.Equal(["1 1", "2 "], seen.Order(StringComparer.Ordinal));
        Assert.Equal([1], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
        Assert.Equal([2], After(CrashPolicy.All).ReadAll("d/a"));
    }

    [Fact]
    public void A_rename_between_directories_never_loses_the_file()
    {
        Durable("d/a", [1]).Dispose();
        _disk.Rename("d/a", "e/b");
        CrashFileSystem neither = After(CrashPolicy.OnlySynced);
        Assert.Equal((1, null), (neither.FileSize("d/a"), neither.FileSize("e/b")));

        CrashFileSystem target = After(CrashPolicy.All);
        target.SyncDir("e");
        target = target.CrashClone(CrashPolicy.OnlySynced, 0);
        Assert.Equal((1, 1), (target.FileSize("d/a"), target.FileSize("e/b")));

        _disk.SyncDir("d");
        CrashFileSystem source = After(CrashPolicy.OnlySynced);
        Assert.Equal((null, 1), (source.FileSize("d/a"), source.FileSize("e/b")));
        for (int seed = 0; seed < 20; seed++)
        {
            CrashFileSystem some = neither.CrashClone(CrashPolicy.All, seed);
            some.Rename("d/a", "e/b");
            some = some.CrashClone(CrashPolicy.RandomPages(0.5), seed);
            Assert.NotEqual(some.FileSize("d/a"), some.FileSize("e/b"));
        }
    }

    [Fact]
    public void A_data_sync_keeps_a_length_only_as_far_as_data_needs_it()
    {
        using IFile file = Durable("d/a", [1, 2, 3]);
        file.Preallocate(10_000);
        file.Write(3, [4]);
        file.SyncData();
        Assert.Equal([1, 2, 3, 4], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
        Assert.Equal(10_000, file.Length);
        file.SyncAll();
        Assert.Equal(10_000, After(CrashPolicy.OnlySynced).FileSize("d/a"));
        file.SetLength(2);
        file.SyncData();
        Assert.Equal([1, 2], After(CrashPolicy.OnlySynced).ReadAll("d/a"));
    }

    [Fact]
    public void Pages_reach_the_disk_in_any_order_and_a_missing_one_reads_as_zeros()
    {
        using IFile file = Durable("d/a", []);
        for (int page = 0; page < 3; page++) file.Write(page * Page, Filled(Page, (byte)(page + 1)));
        HashSet<string> seen = [];
        for (int seed = 0; seed < 100; seed++)
        {
            byte[] bytes = _disk.CrashClone(CrashPolicy.RandomPages(0.5), seed).ReadAll("d/a");
            seen.Add(string.Concat(bytes.Where(static (_, i) => i % Page == 0)));
        }

        Assert.Equal(["", "003", "02", "023", "1", "103", "12", "123"], seen.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_torn_page_is_cut_at_a_sector_and_garbage_fills_only_what_was_empty()
    {
        using IFile file = Durable("d/a", Filled(700, 1));
        file.Write(700, Filled(3000, 2));
        HashSet<string> seen = [];
        for (int seed = 0; seed < 200; seed++)
        {
            byte[] bytes = _disk.CrashClone(CrashPolicy.TornSector, seed).ReadAll("d/a");
            Assert.Equal(Filled(700, 1), bytes[..700]);
            Assert.True(bytes.Length == 700 || bytes.Length == 3700 || bytes.Length % 512 == 0, $"{bytes.Length}");
            int written = bytes.AsSpan(700).IndexOfAnyExcept((byte)2);
            if (written > 0) Assert.Equal(0, (written + 700) % 512);
            seen.Add(written < 0 ? "cut" : bytes.AsSpan(700 + written).IndexOfAnyExcept((byte)0) < 0 ? "zeros" : "garbage");
        }

        Assert.Equal(["cut", "garbage", "zeros"], seen.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Size_only_grows_a_file_with_zeros()
    {
        using IFile file = Durable("d/a", [1, 2]);
        file.Write(1, [7, 8, 9]);
        Assert.Equal([1, 2, 0, 0], After(CrashPolicy.SizeOnly).ReadAll("d/a"));
    }

    [Fact]
    public void A_name_can_be_kept_without_its_data_and_data_without_the_name()
    {
        using IFile file = Durable("d/a", [1]);
        _disk.WriteNew("d/a.tmp", [2]);
        _disk.Rename("d/a.tmp", "d/a");
        file.Write(0, [3]);
        Assert.Empty(After(CrashPolicy.EntryOnly).ReadAll("d/a"));
        Assert.Equal([3], After(CrashPolicy.DataOnly).ReadAll("d/a"));
    }

    [Fact]
    public void An_unlink_can_overtake_an_earlier_rename()
    {
        Durable("d/MANIFEST", [1]).Dispose();
        Durable("d/MANIFEST.tmp", [2]).Dispose();
        Durable("d/table", [3]).Dispose();
        _disk.Rename("d/MANIFEST.tmp", "d/MANIFEST");
        _disk.Unlink("d/table");
        CrashFileSystem after = After(CrashPolicy.Reordered);
        Assert.Equal([1], after.ReadAll("d/MANIFEST"));
        Assert.Null(after.FileSize("d/table"));
    }

    [Fact]
    public void Each_file_and_directory_is_left_in_a_state_of_its_own()
    {
        using IFile one = Durable("d/a", [0]);
        using IFile other = Durable("d/b", [0]);
        foreach (byte value in (byte[])[1, 2])
        {
            one.Write(0, [value]);
            other.Write(0, [value]);
        }

        _disk.WriteNew("e/c", [3]);
        HashSet<(byte, byte, bool)> left = [];
        for (int seed = 0; seed < 300; seed++)
        {
            CrashFileSystem after = _disk.CrashClone(CrashPolicy.PerFile, seed);
            left.Add((after.ReadAll("d/a")[0], after.ReadAll("d/b")[0], after.FileSize("e/c") is not null));
        }

        // Every combination: neither file waits for the other, nor for a name elsewhere.
        Assert.Equal(3 * 3 * 2, left.Count);
    }

    [Fact]
    public void What_survived_a_kill_is_still_not_on_disk()
    {
        using IFile file = Durable("d/a", [1]);
        file.Write(0, [2]);
        _disk.WriteNew("d/b", [3], sync: true);
        CrashFileSystem killed = After(CrashPolicy.All);
        Assert.Equal([2], killed.ReadAll("d/a"));
        CrashFileSystem powerCut = killed.CrashClone(CrashPolicy.OnlySynced, 0);
        Assert.Equal([1], powerCut.ReadAll("d/a"));
        Assert.Null(powerCut.FileSize("d/b"));
        using (IFile reopened = killed.OpenAppendable("d/a")) reopened.SyncAll();
        killed.SyncDir("d");
        powerCut = killed.CrashClone(CrashPolicy.OnlySynced, 0);
        Assert.Equal([2], powerCut.ReadAll("d/a"));
        Assert.Equal([3], powerCut.ReadAll("d/b"));
    }

    [Fact]
    public void Two_names_of_a_file_stay_one_file_after_a_crash()
    {
        using IFile file = Durable("d/a", [1]);
        _disk.Link("d/a", "d/b");
        _disk.SyncDir("d");
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            CrashFileSystem after = After(policy);
            using (IFile one = after.OpenAppendable("d/a")) one.Write(0, [5]);
            Assert.Equal([5], after.ReadAll("d/b"));
        }
    }

    [Fact]
    public void Clones_and_their_origin_do_not_see_each_other()
    {
        using IFile file = Durable("d/a", [1]);
        foreach (CrashPolicy policy in CrashPolicy.Every)
        {
            CrashFileSystem clone = After(policy);
            using (IFile other = clone.OpenAppendable("d/a")) other.Write(0, Filled(Page, 8));
            clone.Unlink("d/a");
            clone.WriteNew("d/b", [2]);
            Assert.Equal([1], _disk.ReadAll("d/a"));
            Assert.Null(_disk.FileSize("d/b"));
        }

        CrashFileSystem before = After(CrashPolicy.All);
        file.Write(0, [4]);
        Assert.Equal([1], before.ReadAll("d/a"));
    }

    [Fact]
    public void The_hook_sees_the_disk_before_each_change_and_can_forbid_it()
    {
        List<string> seen = [];
        _disk.BeforeOperation = (number, operation) =>
        {
            seen.Add($"{number} {operation}: {_disk.CrashClone(CrashPolicy.All, 0).FileSize("d/a")}");
            if (operation.Kind == FileOperationKind.Unlink) throw new InvalidOperationException("no");
        };
        long before = _disk.OperationCount;
        using (IFile file = _disk.CreateNew("d/a"))
        {
            file.Write(0, [1, 2]);
            file.SyncData();
        }

        _disk.SyncDir("d");
        Assert.Throws<InvalidOperationException>(() => _disk.Unlink("d/a"));
        Assert.Equal(5, _disk.OperationCount - before);
        Assert.Equal(
            ["1 CreateNew d/a: ", "2 Write d/a [0, +2): 0", "3 SyncData d/a: 2", "4 SyncDir d: 2", "5 Unlink d/a: 2"], seen);
        Assert.Equal(2, _disk.FileSize("d/a"));
    }

    [Fact]
    public void A_lock_holds_on_its_own_disk_and_no_clone_inherits_it()
    {
        using IDisposable held = _disk.Lock("d/LOCK", "me");
        Assert.Equal("me", Assert.Throws<DirectoryLockedException>(() => _disk.Lock("/d/LOCK", "you")).Holder);
        foreach (CrashPolicy policy in CrashPolicy.Every) After(policy).Lock("d/LOCK", "you").Dispose();
        held.Dispose();
        _disk.Lock("d/LOCK", "you").Dispose();
    }

    [Fact]
    public void Files_give_a_map_only_when_told_to()
    {
        using IFile file = Durable("d/a", [1, 2]);
        Assert.Null(file.TryMap());
        _disk.Mappable = true;
        using MappedFile map = file.TryMap()!;
        Assert.Equal([1, 2], map.Slice(0, 2).Span.ToArray());
    }

    [Fact]
    public void A_dump_shows_what_is_not_on_disk()
    {
        using IFile file = Durable("d/a", [1]);
        file.Write(1, [2]);
        _disk.WriteNew("d/b", []);
        string[] lines = _disk.Dump().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(
            [" d/", "   a  2 B now, 1 B on disk, 1 changes pending", "  +b  0 B now, 0 B on disk, 0 changes pending", " e/"], lines);
    }

    private static byte[] Filled(int length, byte value)
    {
        byte[] bytes = new byte[length];
        Array.Fill(bytes, value);
        return bytes;
    }

    private CrashFileSystem After(CrashPolicy policy) => _disk.CrashClone(policy, 1);

    private IFile Durable(string path, byte[] bytes)
    {
        IFile file = _disk.CreateNew(path);
        file.Write(0, bytes);
        file.SyncAll();
        _disk.SyncDir(path[..path.LastIndexOf('/')]);
        return file;
    }
}
