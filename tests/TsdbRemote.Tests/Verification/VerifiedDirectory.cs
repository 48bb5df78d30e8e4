using System.Buffers.Binary;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Verification;
using TsdbRemote.Tests.Chunks;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Engine;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Verification;

/// <summary>A data directory that holds a file of every kind, and what is done to it.</summary>
internal static class VerifiedDirectory
{
    public const string Root = "/disk/data";
    private const long WindowMs = 7_200_000;
    private const int SeriesCount = 40;

    public static readonly long CurrentMs = TimeWindow.StartOf(1_700_000_000_000, WindowMs);

    /// <summary>Start of a window, ms; window 0 is the open one.</summary>
    public static long At(int window) => CurrentMs + window * WindowMs;

    public static ManualTime Clock()
    {
        var time = new ManualTime();
        time.Advance(TimeSpan.FromMilliseconds(CurrentMs) + TimeSpan.FromMinutes(100));
        return time;
    }

    /// <summary>Writes samples of all series into a window.</summary>
    public static void Write(EngineHarness engine, int window, int from, int count = 20)
    {
        WriteRequest request = Requests.V1([.. Enumerable.Range(0, SeriesCount).Select(i => Requests.SeriesOf(
            $"__name__=m,i={i}", [.. Enumerable.Range(from, count).Select(n => (At(window) + n * 15_000L, n * 1.25 + i))]))]);
        Assert.Equal(WriteStatus.Written, engine.Write(request).Status);
    }

    /// <summary>Blocks, tables of two levels, a window of late samples, a pending delete, exemplars, metadata; a sealed segment and one that is being written.</summary>
    public static EngineHarness Fill(IFileSystem disk, StorageOptions options, ManualTime time)
    {
        EngineHarness engine = EngineHarness.OpenStepwise(disk, options, time);
        WriteRequest told = Requests.V1(Requests.SeriesOf("__name__=told", (At(-3), 1)));
        told.Timeseries[0].Exemplars.Add(new Exemplar { Timestamp = At(-3), Value = 2, Labels = { new Label { Name = "trace_id", Value = "abcdef" } } });
        told.Metadata.Add(new MetricMetadata { MetricFamilyName = "told", Help = "What is told.", Type = MetricMetadata.Types.MetricType.Gauge });
        Assert.Equal(WriteStatus.Written, engine.Write(told).Status);
        Assert.Equal(WriteStatus.Written, engine.WriteOne("h", At(-3) + 5, HistogramGen.Integer(5, 1, 2)).Status);
        Write(engine, window: -3, from: 0);
        Write(engine, window: -2, from: 0);
        engine.CompactByStep();
        for (int flush = 0; flush < 6; flush++)
        {
            Write(engine, window: 0, from: flush * 20);
            engine.FlushByStep();
        }

        engine.TablesByStep();
        Write(engine, window: 0, from: 130);
        engine.FlushByStep();
        engine.DeleteByStep("m{i=\"3\"}", new TimeRange(At(-3), At(-2)));
        engine.FlushByStep();
        Write(engine, window: -3, from: 200, count: 3);
        engine.FlushByStep();
        Write(engine, window: 0, from: 200);
        _ = engine.Engine.FlushAsync(CancellationToken.None);
        engine.Engine.Step(flush: false);
        Write(engine, window: 0, from: 300);
        return engine;
    }

    /// <summary>The directory as a kill leaves it.</summary>
    public static CrashFileSystem Killed()
    {
        var disk = new CrashFileSystem("/disk");
        Fill(disk, EngineHarness.SmallOptions with { Integration = new IntegrationOptions { BlockCompaction = false } }, Clock());
        return disk.CrashClone(CrashPolicy.All, seed: 1);
    }

    /// <summary>Verifies, and sees to it that nothing is changed.</summary>
    public static VerifyReport Verify(CrashFileSystem disk, string root = Root)
    {
        long before = disk.OperationCount;
        string tree = disk.Dump();
        VerifyReport report = DirectoryVerifier.Verify(disk, root, progress: null, CancellationToken.None);
        Assert.Equal((before, tree), (disk.OperationCount, disk.Dump()));
        return report;
    }

    /// <summary>What a report says, for a failure message.</summary>
    public static string Text(VerifyReport report) => string.Join('\n', report.Findings);

    /// <summary>Paths of all files, relative to the data directory.</summary>
    public static IEnumerable<string> FilesOf(CrashFileSystem disk, string below = "") => disk.List($"{Root}/{below}").SelectMany(entry =>
        entry.IsDirectory ? FilesOf(disk, $"{below}{entry.Name}/") : [$"{below}{entry.Name}"]);

    public static void Flip(CrashFileSystem disk, string file, long offset, int bit)
    {
        using IFile opened = disk.OpenAppendable($"{Root}/{file}");
        byte[] one = new byte[1];
        Assert.Equal(1, opened.Read(offset, one));
        one[0] ^= (byte)(1 << bit);
        opened.Write(offset, one);
    }

    public static void Cut(CrashFileSystem disk, string file, long length)
    {
        using IFile opened = disk.OpenAppendable($"{Root}/{file}");
        opened.SetLength(length);
    }

    public static void Swap(CrashFileSystem disk, string one, string other)
    {
        disk.Rename($"{Root}/{one}", "/disk/aside");
        disk.Rename($"{Root}/{other}", $"{Root}/{one}");
        disk.Rename("/disk/aside", $"{Root}/{other}");
    }

    /// <summary>Places whose change a file of frames must show: not the zeros that fill a frame up, nor the room behind the last.</summary>
    public static List<long> BytesOfFrames(ReadOnlySpan<byte> file, int header)
    {
        const int FrameHeader = 9;
        List<long> places = [.. Enumerable.Range(0, header)];
        for (int at = header; at + FrameHeader <= file.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(file[at..]);
            if (length == 0) break;
            for (int i = 0; i < FrameHeader + length; i++) places.Add(at + i);
            at += (FrameHeader + length + 3) & ~3;
        }

        return places;
    }
}
