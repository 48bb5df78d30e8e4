using System.Diagnostics;
using System.Runtime.InteropServices;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Torture;

/// <summary>A file system of its own that is soon full; it takes root to make one.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly TempDirectory _directory = new();

    private SmallDisk(int megabytes)
    {
        Root = _directory["small"];
        Directory.CreateDirectory(Root);
        Run("mount", "-t", "tmpfs", "-o", $"size={megabytes}m", "none", Root);
    }

    public string Root { get; }

    public static SmallDisk Mount(int megabytes) => new(megabytes);

    public void Dispose()
    {
        Run("umount", "-l", Root);
        _directory.Dispose();
    }

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}");
    }

    /// <summary>Skipped where nothing can be mounted.</summary>
    public sealed class MountFactAttribute : FactAttribute
    {
        public MountFactAttribute()
        {
            if (!RuntimeInformation.IsOSPlatform(OSPlatform.Linux) || !IsPossible.Value) Skip = "nothing can be mounted here: needs root";
        }

        private static readonly Lazy<bool> IsPossible = new(static () =>
        {
            string directory = Directory.CreateTempSubdirectory("tsdb-remote-mount-").FullName;
            using Process mount = Process.Start(new ProcessStartInfo("mount", ["-t", "tmpfs", "-o", "size=1m", "none", directory]) { RedirectStandardError = true })!;
            mount.WaitForExit();
            if (mount.ExitCode == 0) Run("umount", "-l", directory);
            Directory.Delete(directory);
            return mount.ExitCode == 0;
        });
    }
}
