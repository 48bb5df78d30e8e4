using System.Text;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.SSTables;
using TsdbRemote.Storage.Verification;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Verification;

/// <summary>Every kind of file: a bit flipped, its end cut, itself removed, another put in its place, something beside it that nobody names.</summary>
public sealed class DirectoryDamageTests
{
    private const int Flips = 60;
    private static readonly CrashFileSystem Whole = Killed();
    private readonly CrashFileSystem _disk = Whole.CrashClone(CrashPolicy.All, seed: 1);

    /// <summary>
    /// Kinds of files, each by what its path begins and ends with. <c>meta.json</c> of blocks is not among them: the format has no checksum, and of much of it
    /// (the level, sources, parents, hints, Thanos' section) nothing else knows. What is known is tried field by field.
    /// </summary>
    public static TheoryData<string, string> Kinds => new()
    {
        { "MANIFEST", "MANIFEST" },
        { "MANIFEST.prev", "" },
        { "METADATA", "" },
        { "EXEMPLARS", "" },
        { "series/", ".dict" },
        { "tables/", ".sst" },
        { "tables/1699", ".sst" },
        { "blocks/", "/index" },
        { "blocks/", "/000001" },
        { "blocks/", "/tombstones" },
        { "wal/", ".log" },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_flipped_bit_is_found_and_its_file_named(string begin, string end)
    {
        string file = FileOf(begin, end);
        byte[] bytes = _disk.ReadAll($"{Root}/{file}");
        List<long> places = begin switch
        {
            "METADATA" or "EXEMPLARS" => BytesOfFrames(bytes, header: 16),
            "wal/" => BytesOfFrames(bytes, header: 64),
            _ => [.. Enumerable.Range(0, bytes.Length)],
        };
        var random = new Random(7);
        for (int flip = 0; flip < Flips; flip++)
        {
            long at = places[random.Next(places.Count)];
            int bit = random.Next(8);
            Flip(_disk, file, at, bit);
            AssertNamed(file, $"bit {bit} of byte {at}");
            Flip(_disk, file, at, bit);
        }

        Assert.True(Verify(_disk).IsSound);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_cut_is_found_and_its_file_named(string begin, string end)
    {
        string file = FileOf(begin, end);
        byte[] bytes = _disk.ReadAll($"{Root}/{file}");

        // The last bytes of a segment only fill its seal up.
        foreach (long length in (long[])[0, 1, 20, bytes.Length / 2, bytes.Length - 5, begin == "wal/" ? bytes.Length - 4 : bytes.Length - 1])
        {
            if (length >= bytes.Length || length < 0) continue;
            Cut(_disk, file, length);
            AssertNamed(file, $"cut to {length}");
            using IFile opened = _disk.OpenAppendable($"{Root}/{file}");
            opened.Write(0, bytes);
        }

        Assert.True(Verify(_disk).IsSound);
    }

    [Theory]
    [InlineData("MANIFEST", "MANIFEST")]
    [InlineData("series/", ".dict")]
    [InlineData("tables/", ".sst")]
    [InlineData("tables/1699", ".sst")]
    [InlineData("blocks/", "/index")]
    [InlineData("blocks/", "/000001")]
    [InlineData("blocks/", "/meta.json")]
    [InlineData("wal/", ".log")]
    public void A_file_that_is_gone_is_found(string begin, string end)
    {
        string file = FileOf(begin, end);
        _disk.Unlink($"{Root}/{file}");
        AssertNamed(file, "removed");
    }

    [Fact]
    public void A_block_that_is_gone_is_found()
    {
        string block = _disk.List($"{Root}/blocks")[0].Name;
        _disk.Rename($"{Root}/blocks/{block}", "/disk/aside");
        AssertNamed($"blocks/{block}", "removed");
    }

    [Theory]
    [InlineData("ulid", "\"01M87K85AJTSJCZBCX46AVGB98\"")]
    [InlineData("minTime", "5")]
    [InlineData("maxTime", "1999999999999")]
    [InlineData("numSamples", "7")]
    [InlineData("numSeries", "7")]
    [InlineData("numChunks", "7")]
    [InlineData("level", "0")]
    [InlineData("version", "2")]
    [InlineData("directory", "\"00000000-0000-0000-0000-000000000001\"")]
    [InlineData("generation", "1000000")]
    [InlineData("rank", "99")]
    public void A_field_of_a_blocks_meta_that_something_else_knows_is_held_against_that(string field, string value)
    {
        string file = FileOf("blocks/", "/meta.json");
        string json = Encoding.UTF8.GetString(_disk.ReadAll($"{Root}/{file}"));
        string changed = new Regex($"(\"{field}\": )[^,\n]+").Replace(json, $"${{1}}{value}", count: 1);
        Assert.NotEqual(json, changed);
        _disk.Unlink($"{Root}/{file}");
        _disk.WriteNew($"{Root}/{file}", Encoding.UTF8.GetBytes(changed));
        AssertNamed(file, $"{field} changed");
    }

    [Fact]
    public void A_damaged_filter_of_a_table_is_a_warning()
    {
        string file = FileOf("tables/", ".sst");
        byte[] bytes = _disk.ReadAll($"{Root}/{file}");
        Assert.Null(SSTableFooter.TryRead(bytes.AsSpan(bytes.Length - SSTableFormat.FooterBytes), bytes.Length, out SSTableFooter footer, out _));
        Flip(_disk, file, footer.BloomOffset, 1);
        VerifyReport report = Verify(_disk);
        Assert.Equal(0, report.Errors);
        VerifyFinding finding = Assert.Single(report.Findings, static finding => finding.Severity == VerifySeverity.Warning);
        Assert.Equal((file, footer.BloomOffset), (finding.File, finding.Offset));
        Assert.Contains("nothing is lost", finding.Meaning, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("notes.txt")]
    [InlineData("chunks/notes.txt")]
    [InlineData("index.old")]
    [InlineData("wal/00000001")]
    public void A_stray_in_a_block_is_found(string name)
    {
        string block = $"blocks/{_disk.List($"{Root}/blocks")[0].Name}";
        if (name.StartsWith("wal/", StringComparison.Ordinal)) _disk.MakeDir($"{Root}/{block}/wal");
        _disk.WriteNew($"{Root}/{block}/{name}", new byte[100]);
        VerifyFinding finding = Assert.Single(Verify(_disk).Findings, static finding => finding.Severity != VerifySeverity.Note);
        Assert.Equal((VerifySeverity.Warning, $"{block}/{name.Split("/0")[0]}"), (finding.Severity, finding.File));
    }

    [Theory]
    [InlineData("blocks/thanos.shipper.json")]
    [InlineData("blocks/*/no-compact-mark.json")]
    [InlineData("blocks/*/deletion-mark.json")]
    [InlineData("blocks/*/meta.json.tmp")]
    [InlineData("blocks/*/chunks/000002.tmp")]
    public void What_others_put_beside_blocks_and_what_writers_leave_in_them_are_notes(string file)
    {
        file = file.Replace("*", _disk.List($"{Root}/blocks")[0].Name, StringComparison.Ordinal);
        _disk.WriteNew($"{Root}/{file}", new byte[100]);
        VerifyReport report = Verify(_disk);
        Assert.True(report.IsSound, Text(report));
        Assert.Contains(report.Findings, finding => finding.File == file);
    }

    [Theory]
    [InlineData("note.txt")]
    [InlineData("wal/0000003.log")]
    [InlineData("wal/x")]
    [InlineData("series/a.dict")]
    [InlineData("tables/1.sst.bak")]
    [InlineData("tables/007.sst")]
    [InlineData("blocks/readme")]
    [InlineData("snapshots/file")]
    [InlineData("tables/9999.sst")]
    public void A_stray_is_found(string file)
    {
        _disk.WriteNew($"{Root}/{file}", new byte[100]);
        VerifyFinding finding = Assert.Single(Verify(_disk).Findings, static finding => finding.Severity != VerifySeverity.Note);
        Assert.Equal((VerifySeverity.Warning, file), (finding.Severity, finding.File));
    }

    [Fact]
    public void A_table_in_the_directory_of_another_window_is_a_stray()
    {
        string file = FileOf("tables/1699", ".sst");
        string stray = $"tables/{file.Split('/')[^1]}";
        _disk.Link($"{Root}/{file}", $"{Root}/{stray}");
        VerifyFinding finding = Assert.Single(Verify(_disk).Findings, static finding => finding.Severity != VerifySeverity.Note);
        Assert.Equal((VerifySeverity.Warning, stray), (finding.Severity, finding.File));
    }

    [Theory]
    [InlineData("tables/", ".sst")]
    [InlineData("wal/", ".log")]
    [InlineData("blocks/", "/index")]
    [InlineData("blocks/", "/000001")]
    [InlineData("blocks/", "/meta.json")]
    public void Two_files_that_changed_places_are_found(string begin, string end)
    {
        string[] files = [.. FilesOf(_disk).Where(file => file.StartsWith(begin, StringComparison.Ordinal) && file.EndsWith(end, StringComparison.Ordinal)).Take(2)];
        Swap(_disk, files[0], files[1]);
        foreach (string file in files) AssertNamed(file, "swapped");
    }

    [Fact]
    public void Two_blocks_that_changed_places_are_found()
    {
        string[] blocks = [.. _disk.List($"{Root}/blocks").Take(2).Select(static entry => $"blocks/{entry.Name}")];
        Swap(_disk, blocks[0], blocks[1]);
        foreach (string block in blocks) AssertNamed(block, "swapped");
    }

    [Theory]
    [InlineData("MANIFEST", "MANIFEST.prev")]
    [InlineData("METADATA", "EXEMPLARS")]
    public void Two_files_of_the_root_that_changed_places_are_found(string one, string other)
    {
        Swap(_disk, one, other);
        AssertNamed(one, "swapped");
    }

    [Fact]
    public void A_damaged_chunk_of_a_table_costs_itself_and_the_others_are_counted()
    {
        string file = FileOf("tables/", ".sst");
        long samples = Verify(_disk).Counts.TableSamples;
        Flip(_disk, file, 40, 2);
        VerifyReport report = Verify(_disk);
        VerifyFinding finding = Assert.Single(report.Findings, static finding => finding.Severity == VerifySeverity.Error);
        Assert.Equal((file, 16L), (finding.File, finding.Offset));
        Assert.Contains("everything else is served", finding.Meaning, StringComparison.Ordinal);
        Assert.InRange(report.Counts.TableSamples, samples - 120, samples - 1);
    }

    [Fact]
    public void A_damaged_manifest_says_whether_the_one_before_stands_in()
    {
        Flip(_disk, "MANIFEST", 30, 1);
        VerifyFinding finding = Assert.Single(Verify(_disk).Findings, static finding => finding.File == "MANIFEST");
        Assert.Contains("MANIFEST.prev", finding.Meaning, StringComparison.Ordinal);
        Flip(_disk, "MANIFEST.prev", 30, 1);
        VerifyReport report = Verify(_disk);
        Assert.Contains(report.Findings, static finding => finding.File == "MANIFEST" && finding.Meaning.Contains("a start is refused", StringComparison.Ordinal));
        Assert.True(report.Counts.Tables > 0, "tables are checked by themselves");
        Assert.NotEmpty(report.NotChecked);
    }

    [Fact]
    public void What_the_disk_cannot_read_is_a_finding_and_the_rest_is_checked()
    {
        string file = FileOf("tables/", ".sst");
        var faults = new FaultInjector(_disk);
        faults.Add(new FaultRule(new Fault.Error(DiskException.InputOutput), FileOperationKind.Read) { Path = $"*{file}", Sticky = true });
        VerifyReport report = DirectoryVerifier.Verify(faults, Root, progress: null, CancellationToken.None);
        VerifyFinding finding = Assert.Single(report.Findings, static finding => finding.Severity == VerifySeverity.Error);
        Assert.Equal(file, finding.File);
        Assert.True(report.Counts.Blocks > 0);
    }

    private string FileOf(string begin, string end) => FilesOf(_disk).First(file =>
        end == "" ? file == begin : file.StartsWith(begin, StringComparison.Ordinal) && file.EndsWith(end, StringComparison.Ordinal));

    private void AssertNamed(string file, string done)
    {
        VerifyReport report = Verify(_disk);
        string block = file.StartsWith("blocks/", StringComparison.Ordinal) ? string.Join('/', file.Split('/')[..2]) : file;
        Assert.True(
            report.Findings.Any(finding => finding.Severity != VerifySeverity.Note && (finding.File == file || finding.File.StartsWith(block, StringComparison.Ordinal))),
            $"{file}, {done}: {Text(report)}");
        Assert.All(report.Findings, static finding => Assert.True(finding.What.Length > 0 && finding.Meaning.Length > 0));
    }
}
