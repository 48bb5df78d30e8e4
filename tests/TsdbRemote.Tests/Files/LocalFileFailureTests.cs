using System.Diagnostics;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>What the disk refuses, and who else holds it.</summary>
public sealed class LocalFileFailureTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly ScriptedDiskCalls _calls = new();
    private readonly LocalFileSystem _files;

    public LocalFileFailureTests() => _files = new LocalFileSystem(mmap: true, _calls);

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(Errno.InputOutput)]
    [InlineData(Errno.ReadOnly)] // the framework's own flush would call these three a success
    [InlineData(Errno.Invalid)]
    [InlineData(Errno.NotSupported)]
    public void After_a_failed_sync_a_file_takes_nothing_more(int errno)
    {
        using IFile file = _files.CreateNew(_directory["a"]);
        file.Write(0, [1]);
        _calls.Others.Enqueue(errno);
        Assert.Equal(errno, Assert.Throws<DiskException>(file.SyncData).Errno);
        Assert.Throws<DiskException>(file.SyncData);
        Assert.Throws<DiskException>(file.SyncAll);
        Assert.Throws<DiskException>(() => file.Write(1, [2]));
        Assert.Throws<DiskException>(() => file.WriteGather(1, [new byte[1]]));
        Assert.Equal(1, _calls.Syncs);
        Assert.Equal([1], _files.ReadAll(_directory["a"]));
    }

    [Fact]
    public void An_interrupted_sync_is_repeated()
    {
        using IFile file = _files.CreateNew(_directory["a"]);
        _calls.Others.Enqueue(Errno.Interrupted);
        _calls.Others.Enqueue(Errno.Interrupted);
        file.SyncAll();
        Assert.Equal(3, _calls.Syncs);
    }

    [Fact]
    public void A_failed_sync_of_a_directory_is_told()
    {
        _calls.Others.Enqueue(Errno.InputOutput);
        DiskException error = Assert.Throws<DiskException>(() => _files.SyncDir(_directory.Path));
        Assert.Equal((Errno.InputOutput, _directory.Path, "fsync"), (error.Errno, error.Path, error.Operation));
    }

    [Fact]
    public void A_full_disk_holds_up_no_lock()
    {
        _files.WriteNew(_directory["LOCK"], "the one before"u8);
        _calls.Gathers.Enqueue(-Errno.NoSpace);
        using IDisposable held = _files.Lock(_directory["LOCK"], "me");
        Assert.Throws<DirectoryLockedException>(() => _files.Lock(_directory["LOCK"], "other"));
        _calls.Gathers.Enqueue(-Errno.InputOutput);
        Assert.Equal(Errno.InputOutput, Assert.Throws<DiskException>(() => _files.Lock(_directory["LOCK2"], "me")).Errno);
    }

    [Fact]
    public void An_error_of_close_surfaces_for_a_written_file_only_and_once()
    {
        const int Nobodys = 1 << 30; // no such descriptor: close answers EBADF
        var written = new LocalFile(new FileHandle(Nobodys), "written", writable: true, mappable: false, _calls);
        Assert.Equal("close", Assert.Throws<DiskException>(written.Dispose).Operation);
        written.Dispose();
        new LocalFile(new FileHandle(Nobodys), "read", writable: false, mappable: false, _calls).Dispose();
    }

    [Fact]
    public void A_closed_file_cannot_be_used()
    {
        IFile file = _files.CreateNew(_directory["a"]);
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Length);
        Assert.Throws<ObjectDisposedException>(() => file.Write(0, [1]));
        Assert.Throws<ObjectDisposedException>(() => file.Read(0, new byte[1]));
    }

    [Fact]
    public void A_second_lock_names_the_first_holder_and_a_released_one_can_be_taken()
    {
        string me = LocalFileSystem.DescribeThisProcess();
        Assert.StartsWith($"pid {Environment.ProcessId}, started 20", me, StringComparison.Ordinal);
        using (_files.Lock(_directory["LOCK"], "somebody with a longer name than the next, who is " + me))
        {
            DirectoryLockedException refused = Assert.Throws<DirectoryLockedException>(() => _files.Lock(_directory["LOCK"], "other"));
            Assert.Contains(me, refused.Message, StringComparison.Ordinal);
        }

        using IDisposable again = _files.Lock(_directory["LOCK"], me);
        Assert.Equal(me, System.Text.Encoding.UTF8.GetString(_files.ReadAll(_directory["LOCK"])));
    }

    [Fact]
    public void A_lock_held_by_another_process_is_refused_until_that_process_ends()
    {
        _files.WriteNew(_directory["LOCK"], "pid 1, started long ago"u8);
        string[] arguments = ["-x", _directory["LOCK"], "sh", "-c", "echo held; read line"];
        var start = new ProcessStartInfo("flock", arguments) { RedirectStandardOutput = true, RedirectStandardInput = true };
        using Process holder = Process.Start(start)!;
        Assert.Equal("held", holder.StandardOutput.ReadLine());
        DirectoryLockedException refused = Assert.Throws<DirectoryLockedException>(() => _files.Lock(_directory["LOCK"], "me"));
        Assert.Equal("pid 1, started long ago", refused.Holder);
        Assert.Equal(23, _files.FileSize(_directory["LOCK"])); // what the holder wrote is untouched
        holder.StandardInput.Close();
        holder.WaitForExit();
        _files.Lock(_directory["LOCK"], "me").Dispose();
    }
}
