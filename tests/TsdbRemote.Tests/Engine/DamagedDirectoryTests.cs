using System.Diagnostics;
using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// T47, T48: whatever becomes of one file of a data directory, a start and a read of everything end in one of three ways: all is there; something is not, and the file is named; or it is
/// refused, and the file is named. Nothing is read that was not written, nothing hangs, and no other exception comes out.
/// </summary>
/// <remarks><c>FLIPS=20000</c> in the environment flips so many bits in each kind of file instead of a few.</remarks>
public sealed class DamagedDirectoryTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly int Flips = int.TryParse(Environment.GetEnvironmentVariable("FLIPS"), CultureInfo.InvariantCulture, out int flips) ? flips : 40;
    private static readonly CrashFileSystem Whole = Killed();
    private static readonly Dictionary<string, List<LaneSample>> All = Open(Whole.CrashClone(CrashPolicy.All, seed: 1)).ReadMixed();

    private static readonly string LastSegment = FilesOf(Whole).Where(static file => file.StartsWith("wal/", StringComparison.Ordinal)).Max(StringComparer.Ordinal)!;

    public static TheoryData<string> Files => [.. FilesOf(Whole).Where(static file => file != "LOCK").GroupBy(KindOf).Select(static kind => kind.First())];

    [Theory]
    [MemberData(nameof(Files))]
    public void T47_a_flipped_bit_costs_nothing_or_is_named(string file)
    {
        long length = Whole.FileSize($"{Root}/{file}") ?? 0;
        var random = new Random(11);
        for (int flip = 0; flip < Flips && length > 0; flip++)
        {
            long at = random.NextInt64(length);
            int bit = random.Next(8);
            CrashFileSystem disk = Whole.CrashClone(CrashPolicy.All, seed: 1);
            Flip(disk, file, at, bit);
            AssertHarmlessOrNamed(disk, file, string.Create(CultureInfo.InvariantCulture, $"{file}: bit {bit} of byte {at}"));
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void T48_a_cut_costs_nothing_or_is_named(string file)
    {
        long length = Whole.FileSize($"{Root}/{file}") ?? 0;
        var random = new Random(12);
        foreach (long cut in Enumerable.Range(0, Flips / 4).Select(_ => random.NextInt64(length + 1)).Prepend(length - 1).Prepend(0).Where(cut => cut >= 0 && cut < length))
        {
            CrashFileSystem disk = Whole.CrashClone(CrashPolicy.All, seed: 1);
            Cut(disk, file, cut);

            // A segment that was being written when the process was killed may end anywhere: nobody can tell that it was longer (docs/reliability.md).
            if (file == LastSegment) Assert.Null(Unsent(Open(disk).ReadMixed()));
            else AssertHarmlessOrNamed(disk, file, string.Create(CultureInfo.InvariantCulture, $"{file}: cut at {cut}"));
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public async Task T48_something_else_in_its_place_is_named_and_never_waited_for(string file)
    {
        foreach (string kind in (string[])["a directory", "a pipe", "a link to what never ends", "a link to nothing"])
        {
            using var directory = new TempDirectory();
            string root = directory["data"];
            foreach (string name in FilesOf(Whole))
            {
                string path = Path.Combine(root, name);
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                await File.WriteAllBytesAsync(path, Whole.ReadAll($"{Root}/{name}"));
            }

            Replace(Path.Combine(root, file), kind);
            var files = new LocalFileSystem(mmap: false);
            Task<string?> end = Task.Run(() => Problem(files, root, file));
            Assert.Null(await end.WaitAsync(Patience) is { } problem ? $"{file} is {kind}: {problem}" : null);
        }
    }

    private static void Replace(string path, string kind)
    {
        File.Delete(path);
        if (kind == "a directory") Directory.CreateDirectory(path);
        else if (kind == "a pipe") Process.Start("mkfifo", [path]).WaitForExit();
        else File.CreateSymbolicLink(path, kind == "a link to nothing" ? "/nowhere/at/all" : "/dev/zero");
    }

    private static EngineHarness Open(IFileSystem files, string root = Root) => EngineHarness.OpenStepwise(files, EngineHarness.SmallOptions with { DataDir = root }, Clock());

    private static void AssertHarmlessOrNamed(CrashFileSystem disk, string file, string what) => Assert.Null(Problem(disk, Root, file) is { } problem ? $"{what}: {problem}" : null);

    /// <returns>What is wrong with how it ended; null if nothing is.</returns>
    private static string? Problem(IFileSystem files, string root, string file)
    {
        EngineHarness? engine = null;
        try
        {
            engine = Open(files, root);
            Dictionary<string, List<LaneSample>> read = engine.ReadMixed();
            if (Unsent(read) is { } wrong) return $"{wrong} is read and was never written";
            EngineStats stats = engine.Engine.Stats();
            bool isTorn = stats.TornTails > 0 && file.StartsWith("wal/", StringComparison.Ordinal);
            bool isWhole = All.Sum(static series => series.Value.Count) == read.Sum(static series => series.Value.Count);
            return isWhole || isTorn || IsNamed(string.Join('\n', stats.Damages), file) ? null : $"something is missing, and nobody says why; {string.Join('\n', stats.Damages)}";
        }
        catch (Exception refused) when (refused is DataDirectoryException or CorruptFileException or DiskException or LogRefusedException)
        {
            return IsNamed(refused.Message, file) ? null : $"refused, and the file is not named: {refused.Message}";
        }
        finally
        {
            if (engine is not null)
            {
                engine.StopWithoutFlushAsync().GetAwaiter().GetResult();
                engine.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
        }
    }

    private static string? Unsent(Dictionary<string, List<LaneSample>> read)
    {
        foreach ((string series, List<LaneSample> samples) in read)
        {
            if (!All.TryGetValue(series, out List<LaneSample>? known)) return series;
            Dictionary<long, LaneSample> byTime = known.ToDictionary(static sample => sample.TimeMs);
            foreach (LaneSample sample in samples)
            {
                if (!byTime.TryGetValue(sample.TimeMs, out LaneSample? right) || !right.IsSame(sample)) return $"{series} at {sample.TimeMs}";
            }
        }

        return null;
    }

    // The file, or the block that it is a part of.
    private static bool IsNamed(string text, string file) => text.Contains(file.StartsWith("blocks/", StringComparison.Ordinal) ? file.Split('/')[1] : file, StringComparison.Ordinal);

    private static string KindOf(string file) => file.Split('/') switch
    {
        ["blocks", _, "chunks", _] => "chunks",
        ["blocks", _, string part] => part,
        ["tables", _, _] => "a table of a window",
        [string folder, _] => folder + (folder == "wal" ? file[^5] : ""),
        _ => file,
    };
}
