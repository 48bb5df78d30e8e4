using TsdbRemote.Blocks.Files;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.Tests.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Engine;

/// <summary>Metadata that cannot be kept, on a disk that was full.</summary>
public sealed class LeftOutMetadataTests
{
    /// <summary>The disk was full once, and there is room again: a request whose metadata is left out has nothing to do with what failed then.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("long")]
    public void After_a_full_disk_has_healed_samples_beside_metadata_that_is_left_out_are_taken(string family)
    {
        var time = new ManualTime();
        var crash = new CrashFileSystem("/disk");
        var disk = new FaultInjector(crash);
        EngineHarness engine = EngineHarness.OpenStepwise(disk, EngineHarness.SmallOptions, time);
        WriteReport first = engine.Write(Told("a", "one"));
        Assert.Equal(WriteStatus.Written, first.Status);
        FaultRule full = disk.Add(new FaultRule(new Fault.Error(DiskException.NoSpace), FileOperationKind.WriteGather) { Path = "wal/*.log" });
        WriteReport refused = engine.Write(Told("a", "two"));
        Assert.Equal(WriteStatus.Unavailable, refused.Status);
        disk.Remove(full);
        for (int i = 0; i < 20; i++)
        {
            time.Advance(TimeSpan.FromMinutes(2));
            engine.Engine.Step();
        }

        WriteReport plain = engine.Write(Requests.V1(Requests.SeriesOf("__name__=a", (5, 1))));
        Assert.Equal((WriteStatus.Written, null), (plain.Status, plain.Message)); // healed
        WriteRequest request = Requests.V1(Requests.SeriesOf("__name__=a", (6, 1)));
        request.Metadata.Add(Told(family == "long" ? new string('n', 1100) : "", "x").Metadata[0]);
        for (int i = 0; i < 3; i++)
        {
            WriteReport report = engine.Write(request);
            Assert.Equal((i, WriteStatus.Written, null), (i, report.Status, report.Message));
        }
    }

    private static WriteRequest Told(string family, string help)
    {
        WriteRequest request = Requests.V1(Requests.SeriesOf("__name__=a", (1, 1)));
        request.Metadata.Add(new MetricMetadata { MetricFamilyName = family, Help = help });
        return request;
    }
}
