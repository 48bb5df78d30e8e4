using Google.Protobuf;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Wire;
using TsdbRemote.Tests.Endpoints;
using TsdbRemote.TestSupport;
using OracleV1 = TsdbRemote.Tests.Wire.OracleV1;
using OracleV2 = TsdbRemote.Tests.Wire.OracleV2;

namespace TsdbRemote.Tests.Mutations;

/// <summary>Wrong requests go all the way: through log, MemTables, tables and a replay. None is answered as an error of ours, and nothing is read back that was not sent.</summary>
public sealed class StoredMutationTests
{
    private const int Count = 60_000;

    [Theory]
    [InlineData(WriteProtocol.V1)]
    [InlineData(WriteProtocol.V2)]
    public async Task Nothing_is_read_back_that_was_not_sent(WriteProtocol protocol)
    {
        var mutator = new Mutator([.. Enumerable.Range(0, 200).Select(seed => Body(protocol, new Random(seed)))]);
        var files = new CrashFileSystem();
        files.MakeDir("/disk");
        HashSet<(string Labels, long TimeMs, ulong Bits)> sent = [];
        await using (EngineHarness harness = EngineHarness.OpenStepwise(files))
        {
            for (long number = 0; number < Count; number++)
            {
                byte[] raw = mutator.Make(number).ToArray();
                NoteSent(protocol, raw, sent);
                WriteReport report = await harness.Engine.WriteAsync(protocol, SnappyBlock.Compress(raw));
                Assert.True(report.Status is WriteStatus.Written or WriteStatus.Rejected or WriteStatus.Malformed or WriteStatus.TooLarge, $"mutation {number}: {report.Status} {report.Message}");
                if (number % 20_000 == 10_000) harness.FlushByStep();
            }

            Assert.InRange(AssertSent(harness, sent), Count / 30, long.MaxValue);
            await harness.StopWithoutFlushAsync();
        }

        await using EngineHarness again = EngineHarness.OpenStepwise(files);
        AssertSent(again, sent);
    }

    /// <summary>A good request of a few series, so that many a mutation of it leaves something to be stored.</summary>
    private static byte[] Body(WriteProtocol protocol, Random random)
    {
        (string Labels, (long, double)[] Samples)[] series = [.. Enumerable.Range(0, 1 + random.Next(4)).Select(_ => (
            $"__name__=m{random.Next(9)},job=j{random.Next(3)}",
            Enumerable.Range(0, 1 + random.Next(4)).Select(i => ((long)(random.Next(9_000) * 1000 + i), (double)random.Next(1000))).ToArray()))];
        return protocol == WriteProtocol.V1
            ? Requests.V1([.. series.Select(static one => Requests.SeriesOf(one.Labels, one.Samples))]).ToByteArray()
            : Requests.V2Of(series).ToByteArray();
    }

    /// <summary>What another parser finds in a request; nothing if it finds it broken.</summary>
    private static void NoteSent(WriteProtocol protocol, byte[] raw, HashSet<(string, long, ulong)> sent)
    {
        try
        {
            if (protocol == WriteProtocol.V1)
            {
                foreach (OracleV1.TimeSeries series in OracleV1.WriteRequest.Parser.ParseFrom(raw).Timeseries)
                {
                    string labels = Canonical(series.Labels.Select(static label => (label.Name.ToByteArray(), label.Value.ToByteArray())));
                    foreach (OracleV1.Sample sample in series.Samples) sent.Add((labels, sample.Timestamp, BitConverter.DoubleToUInt64Bits(sample.Value)));
                }

                return;
            }

            OracleV2.Request request = OracleV2.Request.Parser.ParseFrom(raw);
            foreach (OracleV2.TimeSeries series in request.Timeseries)
            {
                if (series.LabelsRefs.Count % 2 != 0 || series.LabelsRefs.Any(reference => reference >= request.Symbols.Count)) continue;
                string labels = Canonical(series.LabelsRefs.Chunk(2).Select(pair => (request.Symbols[(int)pair[0]].ToByteArray(), request.Symbols[(int)pair[1]].ToByteArray())));
                foreach (OracleV2.Sample sample in series.Samples) sent.Add((labels, sample.Timestamp, BitConverter.DoubleToUInt64Bits(sample.Value)));
            }
        }
        catch (InvalidProtocolBufferException)
        {
            // Nothing of it may be stored.
        }
    }

    /// <returns>Samples read.</returns>
    private static long AssertSent(EngineHarness harness, HashSet<(string, long, ulong)> sent)
    {
        long read = 0;
        using ReadSnapshot snapshot = harness.Engine.AcquireSnapshot();
        using SeriesMerge cursor = snapshot.Select([Matcher.Create(MatcherType.Regex, "__name__", ".+")], TimeRange.All, CancellationToken.None);
        while (cursor.MoveNext())
        {
            List<(byte[], byte[])> labels = [];
            var reader = new LabelRunReader(cursor.Labels);
            while (reader.MoveNext()) labels.Add((reader.Name.ToArray(), reader.Value.ToArray()));
            string text = Canonical(labels);
            List<Sample> samples = [];
            foreach (SeriesChunk chunk in cursor.Chunks)
            {
                if (chunk.Encoding == ChunkEncoding.Xor) ChunkMerge.Decode(chunk, samples);
            }

            foreach (Sample sample in samples)
            {
                Assert.True(sent.Contains((text, sample.TimeMs, sample.ValueBits)), $"{Labels.Print(cursor.Labels)} has {sample}, which nobody sent");
                read++;
            }
        }

        return read;
    }

    /// <summary>Labels by name, those with an empty value left out.</summary>
    private static string Canonical(IEnumerable<(byte[] Name, byte[] Value)> labels) => string.Join(
        ',', labels.Where(static label => label.Value.Length > 0).Select(static label => $"{Convert.ToHexString(label.Name)}={Convert.ToHexString(label.Value)}").Order(StringComparer.Ordinal));
}
