using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using SharpFuzz;

namespace TsdbRemote.Fuzz;

/// <summary>The same program again, with the product's assemblies instrumented: it runs in a process of its own, so that what ends a process is a finding too.</summary>
/// <remarks>
/// The program's directory is copied, and SharpFuzz puts into each branch of the copies of our assemblies that it notes that it was taken. Nothing of what is built is changed. Before each input
/// the child writes it to a file that both have mapped: that is what is left of it when it ends by a stack overflow, a read of memory that is not there, or the watch over time.
/// </remarks>
internal static class Instrumented
{
    private const string DirectoryName = "TSDB_REMOTE_FUZZ_DIRECTORY";
    private const string LastInputName = "last-input";
    private const int LastInputBytes = 1 << 20;

    private static readonly string[] Assemblies = ["TsdbRemote.dll", "TsdbRemote.Storage.dll", "TsdbRemote.Blocks.dll"];

    /// <summary>Whether this process is the child.</summary>
    public static bool IsThis => Environment.GetEnvironmentVariable(DirectoryName) is not null;

    /// <summary>Starts the child and waits for it.</summary>
    /// <returns>What the process is to end with.</returns>
    public static int Start(string[] args)
    {
        // Beside the build, and so inside the repository, whose test data the targets begin with.
        DirectoryInfo directory = Directory.CreateDirectory(Path.Combine(AppContext.BaseDirectory, "..", $"instrumented-{Environment.ProcessId}"));
        try
        {
            foreach (string file in Directory.GetFiles(AppContext.BaseDirectory)) File.Copy(file, Path.Combine(directory.FullName, Path.GetFileName(file)));
            foreach (string assembly in Assemblies) Fuzzer.Instrument(Path.Combine(directory.FullName, assembly), static type => !type.StartsWith('<'), SharpFuzz.Options.Value);
            File.WriteAllBytes(Path.Combine(directory.FullName, LastInputName), new byte[LastInputBytes]);
            var start = new ProcessStartInfo("dotnet", [Path.Combine(directory.FullName, "TsdbRemote.Fuzz.dll"), .. args]);
            start.Environment[DirectoryName] = directory.FullName;
            using Process child = Process.Start(start)!;
            child.WaitForExit();
            if (child.ExitCode is not (0 or 1)) Console.WriteLine($"ended with {child.ExitCode}; the input in base 64: {Convert.ToBase64String(LastInput(directory.FullName))}");
            return child.ExitCode;
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>Where the child writes each input before it tries it.</summary>
    public static MemoryMappedViewAccessor OpenLastInput()
    {
        using var file = MemoryMappedFile.CreateFromFile(Path.Combine(Environment.GetEnvironmentVariable(DirectoryName)!, LastInputName));
        return file.CreateViewAccessor();
    }

    private static byte[] LastInput(string directory)
    {
        using var reader = new BinaryReader(File.OpenRead(Path.Combine(directory, LastInputName)));
        return reader.ReadBytes(reader.ReadInt32());
    }
}
