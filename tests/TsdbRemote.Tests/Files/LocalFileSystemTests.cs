using System.Diagnostics;
using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

public sealed class LocalFileSystemTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly LocalFileSystem _files = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_name_that_exists_is_not_created_again()
    {
        _files.WriteNew(_directory["a"], [1]);
        AssertErrno(Errno.Exists, () => _files.CreateNew(_directory["a"]));
        Assert.Equal([1], _files.ReadAll(_directory["a"]));
    }

    [Fact]
    public void An_absent_file_has_no_size_and_does_not_open()
    {
        _files.WriteNew(_directory["a"], []);
        Assert.Null(_files.FileSize(_directory["b"]));
        Assert.Null(_files.FileSize(_directory["a/b"]));
        Assert.Null(_files.FileSize(_directory.Path));
        AssertErrno(Errno.NoEntry, () => _files.OpenRead(_directory["b"]));
        AssertErrno(Errno.NoEntry, () => _files.OpenAppendable(_directory["b"]));
        AssertErrno(Errno.NotDirectory, () => _files.OpenRead(_directory["a/b"]));
    }

    [Fact]
    public void What_is_no_regular_file_is_refused_and_never_waited_for()
    {
        _files.MakeDir(_directory["dir"]);
        Run("mkfifo", _directory["fifo"]);
        AssertErrno(Errno.IsDirectory, () => _files.OpenRead(_directory["dir"]));
        AssertErrno(Errno.IsDirectory, () => _files.OpenAppendable(_directory["dir"]));
        AssertErrno(Errno.Invalid, () => _files.OpenRead(_directory["fifo"]));
        AssertErrno(Errno.Invalid, () => _files.OpenAppendable(_directory["fifo"]));
    }

    [Fact]
    public void A_reader_cannot_write()
    {
        _files.WriteNew(_directory["a"], [1]);
        using IFile file = _files.OpenRead(_directory["a"]);
        AssertErrno(Errno.BadHandle, () => file.Write(0, [2]));
        AssertErrno(Errno.BadHandle, () => file.SetLength(0));
        AssertErrno(Errno.BadHandle, () => file.Preallocate(10));
        Assert.Equal(1, file.Length);
    }

    [Fact]
    public void Reads_end_with_the_file()
    {
        _files.WriteNew(_directory["a"], [1, 2, 3]);
        using IFile file = _files.OpenRead(_directory["a"]);
        byte[] target = new byte[5];
        Assert.Equal(2, file.Read(1, target));
        Assert.Equal([2, 3, 0, 0, 0], target);
        Assert.Equal(0, file.Read(3, target));
        Assert.Equal(0, file.Read(1 << 20, target));
    }

    [Fact]
    public void Preallocated_space_is_zeros_of_full_length()
    {
        using IFile file = _files.CreateNew(_directory["a"]);
        file.Write(0, [1, 2, 3]);
        file.Preallocate(100_000);
        Assert.Equal(100_000, _files.FileSize(_directory["a"]));
        file.Preallocate(10);
        Assert.Equal([1, 2, 3, .. new byte[99_997]], _files.ReadAll(_directory["a"]));
        long blocks = Number(Run("stat", "-c", "%b", _directory["a"])); // of 512 bytes
        Assert.True(blocks * 512 >= 100_000, $"{blocks} blocks reserved");
    }

    [Fact]
    public void Preallocation_writes_zeros_where_the_file_system_cannot_reserve()
    {
        var calls = new ScriptedDiskCalls();
        calls.Others.Enqueue(Errno.Interrupted);
        calls.Others.Enqueue(Errno.NotSupported);
        using IFile file = new LocalFileSystem(true, calls).CreateNew(_directory["a"]);
        file.Write(0, [1, 2, 3]);
        file.Preallocate(150_001);
        Assert.Equal([1, 2, 3, .. new byte[149_998]], _files.ReadAll(_directory["a"]));
        Assert.True(calls.VectorsPerCall.Count > 1);
    }

    [Fact]
    public void Preallocation_on_a_full_disk_is_refused()
    {
        var calls = new ScriptedDiskCalls();
        calls.Others.Enqueue(Errno.NoSpace);
        using IFile file = new LocalFileSystem(true, calls).CreateNew(_directory["a"]);
        AssertErrno(Errno.NoSpace, () => file.Preallocate(10));
    }

    [Fact]
    public void A_length_can_be_cut_and_grown()
    {
        using IFile file = _files.CreateNew(_directory["a"]);
        file.Write(0, [1, 2, 3]);
        file.SetLength(1);
        file.SetLength(3);
        Assert.Equal([1, 0, 0], _files.ReadAll(_directory["a"]));
    }

    [Fact]
    public void Rename_replaces_and_an_open_reader_keeps_the_old_file()
    {
        _files.WriteNew(_directory["old"], [1]);
        _files.WriteNew(_directory["new"], [2]);
        using IFile reader = _files.OpenRead(_directory["old"]);
        _files.Rename(_directory["new"], _directory["old"]);
        _files.SyncDir(_directory.Path);
        byte[] read = new byte[1];
        reader.Read(0, read);
        Assert.Equal([1], read);
        Assert.Equal([2], _files.ReadAll(_directory["old"]));
        Assert.Null(_files.FileSize(_directory["new"]));
    }

    [Fact]
    public void Rename_to_another_file_system_fails_and_copies_nothing()
    {
        _files.WriteNew(_directory["a"], [1]);
        string elsewhere = $"/dev/shm/tsdbremote-{Guid.NewGuid():N}";
        DiskException error = AssertErrno(Errno.CrossDevice, () => _files.Rename(_directory["a"], elsewhere));
        Assert.Contains(elsewhere, error.Message, StringComparison.Ordinal);
        Assert.Null(_files.FileSize(elsewhere));
        Assert.Equal([1], _files.ReadAll(_directory["a"]));
    }

    [Fact]
    public void A_link_is_a_second_name_of_the_same_file()
    {
        _files.WriteNew(_directory["a"], [1]);
        _files.Link(_directory["a"], _directory["b"]);
        using (IFile file = _files.OpenAppendable(_directory["a"])) file.Write(0, [7]);
        _files.Unlink(_directory["a"]);
        Assert.Equal([7], _files.ReadAll(_directory["b"]));
        _files.WriteNew(_directory["c"], [1]);
        AssertErrno(Errno.Exists, () => _files.Link(_directory["b"], _directory["c"]));
        AssertErrno(Errno.NoEntry, () => _files.Unlink(_directory["a"]));
    }

    [Fact]
    public void A_directory_may_exist_already_but_not_as_a_file()
    {
        _files.MakeDir(_directory["dir"]);
        _files.MakeDir(_directory["dir"]);
        _files.WriteNew(_directory["file"], []);
        AssertErrno(Errno.Exists, () => _files.MakeDir(_directory["file"]));
        AssertErrno(Errno.NoEntry, () => _files.MakeDir(_directory["absent/dir"]));
        _files.WriteNew(_directory["dir/a"], []);
        AssertErrno(Errno.NotEmpty, () => _files.RemoveDir(_directory["dir"]));
        _files.Unlink(_directory["dir/a"]);
        _files.RemoveDir(_directory["dir"]);
        AssertErrno(Errno.NoEntry, () => _files.RemoveDir(_directory["dir"]));
    }

    [Fact]
    public void A_listing_is_in_ordinal_order_and_follows_no_link()
    {
        foreach (string name in (string[])["b", "A", "a", "ä", "Z"]) _files.WriteNew(_directory[name], new byte[name[0]]);
        _files.MakeDir(_directory["dir"]);
        Run("ln", "-s", _directory["dir"], _directory["s"]);
        DirectoryEntry[] entries = [.. _files.List(_directory.Path)];
        Assert.Equal(["A", "Z", "a", "b", "dir", "s", "ä"], entries.Select(static entry => entry.Name));
        Assert.Equal(["dir"], entries.Where(static entry => entry.IsDirectory).Select(static entry => entry.Name));
        Assert.Equal([65, 90, 97, 98, 0, 228], entries.Where(static entry => entry.Name != "s").Select(static entry => entry.Length));
        Assert.Empty(_files.List(_directory["absent"]));
        AssertErrno(Errno.NotDirectory, () => _files.List(_directory["a"]));
    }

    [Fact]
    public void A_directory_that_is_none_cannot_be_synced()
    {
        _files.WriteNew(_directory["a"], []);
        AssertErrno(Errno.NoEntry, () => _files.SyncDir(_directory["absent"]));
        AssertErrno(Errno.NotDirectory, () => _files.SyncDir(_directory["a"]));
    }

    [Fact]
    public void A_map_shows_the_file_and_outlives_its_name_and_handle()
    {
        _files.WriteNew(_directory["a"], [1, 2, 3]);
        IFile file = _files.OpenRead(_directory["a"]);
        using MappedFile map = file.TryMap()!;
        file.Dispose();
        _files.Unlink(_directory["a"]);
        Assert.Equal(3, map.Length);
        Assert.Equal([2, 3], map.Slice(1, 2).Span.ToArray());
    }

    [Fact]
    public void An_empty_file_and_a_file_system_told_not_to_give_no_map()
    {
        _files.WriteNew(_directory["empty"], []);
        _files.WriteNew(_directory["a"], [1]);
        using IFile empty = _files.OpenRead(_directory["empty"]);
        using IFile unmapped = new LocalFileSystem(mmap: false).OpenRead(_directory["a"]);
        Assert.Null(empty.TryMap());
        Assert.Null(unmapped.TryMap());
    }

    [Fact]
    public void Free_space_is_what_df_says()
    {
        long df = Number(Run("df", "-B1", "--output=avail", _directory.Path).Split('\n')[1]);
        Assert.InRange(_files.FreeSpace(_directory.Path), df - (df / 10), df + (df / 10)); // others write meanwhile
        AssertErrno(Errno.NoEntry, () => _files.FreeSpace(_directory["absent"]));
    }

    [Fact]
    public void The_temporary_directory_is_on_a_reliable_file_system_and_proc_is_no_network() =>
        Assert.Equal((null, null), (LocalFileSystem.UnreliableKind(_directory.Path), LocalFileSystem.UnreliableKind("/proc")));

    [Fact]
    public void A_child_process_inherits_no_open_file()
    {
        using IFile file = _files.CreateNew(_directory["a"]);
        using IDisposable held = _files.Lock(_directory["LOCK"], "me");
        Assert.DoesNotContain(_directory.Path, Run("ls", "-l", "/proc/self/fd"), StringComparison.Ordinal);
        Assert.Contains(Directory.EnumerateFileSystemEntries("/proc/self/fd"), handle => TargetOf(handle) == _directory["LOCK"]);
    }

    [Fact]
    public void A_path_that_the_system_would_cut_is_refused()
    {
        Assert.Throws<ArgumentException>(() => _files.CreateNew(_directory["a\0b"]));
        Assert.Throws<ArgumentException>(() => _files.Unlink(""));
        Assert.Empty(_files.List(_directory.Path));
    }

    // Other tests close theirs meanwhile.
    private static string? TargetOf(string handle)
    {
        try
        {
            return new FileInfo(handle).LinkTarget;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static DiskException AssertErrno(int errno, Action action)
    {
        DiskException error = Assert.Throws<DiskException>(action);
        Assert.Equal(errno, error.Errno);
        return error;
    }

    private static DiskException AssertErrno(int errno, Func<object> action) => AssertErrno(errno, () => { _ = action(); });

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }
}
