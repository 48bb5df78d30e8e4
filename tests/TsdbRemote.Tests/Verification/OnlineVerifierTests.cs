using TsdbRemote.Blocks;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Verification;
using TsdbRemote.TestSupport;
using static TsdbRemote.Tests.Verification.VerifiedDirectory;

namespace TsdbRemote.Tests.Verification;

/// <summary>What is said of a directory beside a store that says it has committed something: here one that only says so.</summary>
public sealed class OnlineVerifierTests
{
    private static readonly CrashFileSystem Whole = Killed();
    private readonly CrashFileSystem _disk = Whole.CrashClone(CrashPolicy.All, seed: 1);
    private readonly ManifestState _committed;
    private readonly SayingStore _store;

    public OnlineVerifierTests()
    {
        _committed = Manifest.TryLoad(_disk, Root, out _)!;
        _store = new SayingStore(_committed);
    }

    [Fact]
    public void What_the_store_says_it_committed_is_sound()
    {
        VerifyReport report = Check();
        Assert.True(report is { IsSound: true, IsOnline: true }, Text(report));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(0)]
    [InlineData(1)]
    public void A_manifest_of_another_directory_is_found(int ahead)
    {
        Put(_committed with { DirectoryId = Guid.NewGuid(), Generation = _committed.Generation + ahead });
        AssertFound("of data directory");
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public void A_manifest_of_another_generation_is_found(int ahead)
    {
        Put(_committed with { Generation = _committed.Generation + ahead });
        AssertFound($"generation {_committed.Generation + ahead}");
    }

    [Fact]
    public void A_manifest_of_the_same_generation_that_says_something_else_is_found()
    {
        Put(_committed with { NextTableId = _committed.NextTableId + 1 });
        AssertFound("differs");
        Put(_committed with { Tables = _committed.Tables.RemoveAt(0) });
        AssertFound("differs");
        Put(_committed with { DeletedBlocks = [TestBlocks.Name(1).ToString()] });
        AssertFound("differs");
    }

    [Fact]
    public void A_manifest_that_is_gone_is_found()
    {
        _disk.Unlink($"{Root}/MANIFEST");
        AssertFound("is missing");
    }

    [Fact]
    public void A_commit_that_was_under_way_when_the_file_was_read_is_waited_for_and_no_finding()
    {
        ManifestState next = _committed with { Generation = _committed.Generation + 1, NextTableId = _committed.NextTableId + 1 };
        Put(next);
        _store.Settles = next;
        VerifyReport report = Check();
        Assert.True(report.IsSound, Text(report));
    }

    [Fact]
    public void What_a_start_adds_to_what_it_read_is_no_finding()
    {
        _store.Manifest = _committed with
        {
            DeletedBlocks = [TestBlocks.Name(1).ToString()],
            Blocks = [.. _committed.Blocks.Select(static block => block with { MinTimeMs = block.MinTimeMs, MaxTimeMs = block.MaxTimeMs })],
        };
        Put(_committed with { Blocks = [.. _committed.Blocks.Select(static block => block with { MinTimeMs = null, MaxTimeMs = null })] });
        VerifyReport report = Check();
        Assert.True(report.IsSound, Text(report));
    }

    [Fact]
    public void A_block_out_of_service_that_is_deleted_under_its_check_is_no_finding()
    {
        string block = _committed.Blocks[0].Ulid;
        bool isDeleted = false;
        VerifyReport report = Check(progress =>
        {
            if (isDeleted || progress.File != $"blocks/{block}") return;
            isDeleted = true;
            _store.Manifest = _committed with { Blocks = _committed.Blocks.RemoveAt(0) };
            BlockDirectory.RemoveTree(_disk, $"{Root}/blocks/{block}");
        });
        Assert.True(isDeleted);
        Assert.True(report.IsSound, Text(report));
        Assert.Contains(report.NotChecked, left => left.StartsWith($"blocks/{block}: ", StringComparison.Ordinal));
        Assert.Equal(_committed.Blocks.Length - 1, report.Counts.Blocks);
    }

    private VerifyReport Check(Action<VerifyProgress>? progress = null) =>
        DirectoryVerifier.Verify(new VerifyRun(_disk, new DataLayout(Root), _store, progress, CancellationToken.None));

    private void AssertFound(string what)
    {
        VerifyReport report = Check();
        Assert.Contains(
            report.Findings,
            finding => finding is { Severity: VerifySeverity.Error, File: "MANIFEST" } && finding.What.Contains(what, StringComparison.Ordinal));
    }

    private void Put(ManifestState state)
    {
        _disk.Unlink($"{Root}/MANIFEST");
        _disk.WriteNew($"{Root}/MANIFEST", ManifestText.Write(state));
    }

    /// <summary>Serves nothing, so that nothing can be held, and has no log.</summary>
    private sealed class SayingStore(ManifestState committed) : ILiveStore
    {
        public ManifestState Manifest { get; set; } = committed;

        public ManifestState? Settles { get; set; }

        public long ActiveSegment => long.MaxValue;

        public ManifestState Settle() => Settles ?? Manifest;

        public IDisposable? HoldTable(long tableId) => null;

        public IDisposable? HoldBlock(string ulid) => null;
    }
}
