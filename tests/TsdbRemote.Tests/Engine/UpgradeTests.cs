using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Levels;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Engine;

/// <summary>T92: data directories of every version that there was are opened with all that they hold, and a directory of a later version is refused as it is.</summary>
public sealed class UpgradeTests
{
    public static TheoryData<string> Versions
    {
        get
        {
            GoldenDirectory.RewriteIfAsked();
            return [.. GoldenDirectory.All];
        }
    }

    /// <summary>Each file of the newest, with the version of its format that this program reads.</summary>
    public static TheoryData<string, int> Files
    {
        get
        {
            GoldenDirectory.RewriteIfAsked();
            var files = new TheoryData<string, int>();

            // MANIFEST.prev is older than MANIFEST, and read only where that is damaged.
            foreach (string file in GoldenDirectory.FilesIn(GoldenDirectory.All.Last()).Where(static file => file != Manifest.PreviousFileName))
                files.Add(file, file.EndsWith("/index", StringComparison.Ordinal) ? 2 : 1);
            return files;
        }
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public void T92_a_directory_of_an_earlier_version_is_opened_and_every_sample_is_read_as_it_was_written(string version)
    {
        CrashFileSystem disk = GoldenDirectory.CopyOf(version);
        EngineHarness engine = GoldenDirectory.Open(disk);
        Assert.Empty(engine.Engine.Stats().Damages);
        Assert.Equal(GoldenDirectory.ExpectedOf(version), GoldenDirectory.Read(engine));

        // Rewritten by this version, it reads the same again.
        engine.CompactByStep();
        Assert.Equal(GoldenDirectory.ExpectedOf(version), GoldenDirectory.Read(engine));
        engine = GoldenDirectory.Open(disk.CrashClone(CrashPolicy.All, seed: 1));
        Assert.Equal(GoldenDirectory.ExpectedOf(version), GoldenDirectory.Read(engine));
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public void T92_nothing_is_found_in_a_directory_of_an_earlier_version(string version)
    {
        var report = Verify(GoldenDirectory.CopyOf(version));
        Assert.True(report.IsSound, Text(report));
        Assert.True(report.Counts is { Dictionaries: > 0, Tables: > 1, Blocks: > 0, Segments: > 1, Records: > 0 }, $"{report.Counts}");
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void T92_a_file_of_a_later_version_is_refused_by_its_name_and_both_versions_and_nothing_is_changed(string file, int known)
    {
        CrashFileSystem disk = GoldenDirectory.CopyOf(GoldenDirectory.All.Last());
        MakeNewer(disk, file);
        string before = ContentsOf(disk);
        DataDirectoryException refused = Assert.Throws<DataDirectoryException>(() => GoldenDirectory.Open(disk));
        Assert.Contains($"{Root}/{file}", refused.Message, StringComparison.Ordinal);
        Assert.Contains(
            string.Create(CultureInfo.InvariantCulture, $"was written in format version {known + 1}; this program reads up to {known}"), refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, ContentsOf(disk));
        Assert.Contains(Verify(disk).Findings, finding => $"{finding}".Contains("was written in format version", StringComparison.Ordinal));
    }

    /// <summary>A later program was killed before it named a table, or put a block there: neither is moved to quarantine for being newer.</summary>
    [Fact]
    public void T92_what_nobody_names_yet_is_left_where_it_is_if_a_later_program_wrote_it()
    {
        string name = GoldenDirectory.All.Last();
        string table = GoldenDirectory.FilesIn(name).First(static file => file.EndsWith(".sst", StringComparison.Ordinal));
        CrashFileSystem disk = GoldenDirectory.CopyOf(name);
        MakeNewer(disk, table);
        byte[] newer = disk.ReadAll($"{Root}/{table}");
        disk = GoldenDirectory.CopyOf(name);
        disk.WriteNew($"{Root}/tables/900.sst", newer);
        string before = ContentsOf(disk);
        Assert.Contains("/tables/900.sst", Assert.Throws<DataDirectoryException>(() => GoldenDirectory.Open(disk)).Message, StringComparison.Ordinal);
        Assert.Equal(before, ContentsOf(disk));

        disk = GoldenDirectory.CopyOf(name);
        EngineHarness engine = GoldenDirectory.Open(disk);
        string index = GoldenDirectory.FilesIn(name).First(static file => file.EndsWith("/index", StringComparison.Ordinal));
        CrashFileSystem other = GoldenDirectory.CopyOf(name);
        MakeNewer(other, index);
        string from = index[..^"/index".Length];
        const string To = "blocks/01HV0000000000000000000000";
        disk.MakeDir($"{Root}/{To}");
        disk.MakeDir($"{Root}/{To}/chunks");
        foreach (string file in GoldenDirectory.FilesIn(name).Where(file => file.StartsWith(from, StringComparison.Ordinal)))
        {
            byte[] bytes = other.ReadAll($"{Root}/{file}");
            if (file.EndsWith(".json", StringComparison.Ordinal)) bytes = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes).Replace(from["blocks/".Length..], To["blocks/".Length..], StringComparison.Ordinal));
            disk.WriteNew($"{Root}/{To}{file[from.Length..]}", bytes);
        }

        for (int look = 0; look < 4; look++) engine.Engine.StepBlocks();
        Assert.NotNull(disk.FileSize($"{Root}/{To}/index"));
        Assert.Contains("01HV0000000000000000000000", Assert.Single(engine.Engine.Stats().Damages), StringComparison.Ordinal);
    }

    /// <summary>All that the data directory holds, but for the lock, which each process writes.</summary>
    private static string ContentsOf(CrashFileSystem disk) => string.Join(
        '\n', FilesOf(disk).Where(static file => file != "LOCK").Select(file => $"{file} {Convert.ToHexString(disk.ReadAll($"{Root}/{file}"))}"));

    /// <summary>Gives a file the next version of its format, its own checksums made right.</summary>
    private static void MakeNewer(CrashFileSystem disk, string file)
    {
        string path = $"{Root}/{file}";
        Guid directory = Manifest.TryLoad(disk, Root, out _)!.DirectoryId;
        byte[] bytes = disk.ReadAll(path);
        switch (file.Split('/'))
        {
            case ["MANIFEST"]: bytes = NewerManifest(bytes); break;
            case ["METADATA" or "EXEMPLARS"]: Raise(bytes, versionAt: 8, crcAt: 12, FrameFormat.Salt(directory, file, number: 0)); break;
            case ["series", { } name]: Raise(bytes, versionAt: 8, crcAt: 20, FrameFormat.Salt(directory, "dict", DataLayout.NumberOf(name, ".dict")!.Value)); break;
            case ["wal", _]: Raise(bytes, versionAt: 8, crcAt: 60, salt: null); break;
            case ["tables", ..]: RaiseTable(bytes); break;
            case ["blocks", _, "meta.json"]: bytes = Replace(bytes, "\"version\": 1", "\"version\": 2"); break;
            case ["blocks", _, "index" or "tombstones"] or ["blocks", _, "chunks", _]: bytes[4]++; break;
            default: Assert.Fail($"{file}: say here how its format tells its version, or why it has none"); break;
        }

        disk.Unlink(path);
        disk.WriteNew(path, bytes);
    }

    private static void Raise(byte[] bytes, int versionAt, int crcAt, uint? salt)
    {
        bytes[versionAt]++;
        byte[] prefix = salt is { } value ? BitConverter.GetBytes(value) : [];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(crcAt), Crc32C.Of(prefix, bytes.AsSpan(0, crcAt)));
    }

    private static void RaiseTable(byte[] bytes)
    {
        bytes[4]++;
        Span<byte> footer = bytes.AsSpan(bytes.Length - 60);
        BinaryPrimitives.WriteUInt64LittleEndian(footer[40..], System.IO.Hashing.XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - 60)));
        footer[48]++;
        BinaryPrimitives.WriteUInt32LittleEndian(footer[52..], Crc32C.Of(footer[..52]));
    }

    private static byte[] NewerManifest(byte[] bytes)
    {
        const string Line = "crc32c: ";
        byte[] body = Replace(bytes[..^(Line.Length + 9)], "\"format_version\": 1", "\"format_version\": 2");
        return [.. body, .. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{Line}{Crc32C.Of(body):x8}\n"))];
    }

    private static byte[] Replace(byte[] bytes, string old, string with)
    {
        string text = Encoding.UTF8.GetString(bytes);
        Assert.Contains(old, text, StringComparison.Ordinal);
        return Encoding.UTF8.GetBytes(text.Replace(old, with, StringComparison.Ordinal));
    }
}
