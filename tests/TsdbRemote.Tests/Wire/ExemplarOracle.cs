using Google.Protobuf;
using Google.Protobuf.Collections;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Wire;

/// <summary>Exemplars as the generated parsers read them, against those of the hand decoders.</summary>
internal static class ExemplarOracle
{
    public static void Compare(OracleV1.WriteRequest expected, WriteBatch batch)
    {
        int next = 0;
        foreach (OracleV1.Exemplar exemplar in expected.Timeseries.SelectMany(static series => series.Exemplars))
            Compare([.. exemplar.Labels.Select(static label => (label.Name, label.Value))], Sample.Of(exemplar.Timestamp, exemplar.Value), batch, batch.Exemplars[next++]);
    }

    public static void Compare(OracleV2.Request expected, WriteBatch batch)
    {
        int next = 0;
        foreach (OracleV2.Exemplar exemplar in expected.Timeseries.SelectMany(static series => series.Exemplars))
        {
            ExemplarEntry entry = batch.Exemplars[next++];
            bool isGood = exemplar.LabelsRefs.Count % 2 == 0 && exemplar.LabelsRefs.All(reference => reference < expected.Symbols.Count);
            Assert.Equal(isGood, entry.IsGood);

            // Of a request without symbols every series has a problem, and nobody reads its exemplars.
            if (isGood && expected.Symbols.Count > 0) Compare(Labels(exemplar.LabelsRefs, expected.Symbols), Sample.Of(exemplar.Timestamp, exemplar.Value), batch, entry);
        }
    }

    private static List<(ByteString Name, ByteString Value)> Labels(RepeatedField<uint> refs, RepeatedField<ByteString> symbols) =>
        [.. Enumerable.Range(0, refs.Count / 2).Select(i => (symbols[(int)refs[2 * i]], symbols[(int)refs[(2 * i) + 1]]))];

    private static void Compare(List<(ByteString Name, ByteString Value)> labels, Sample at, WriteBatch batch, in ExemplarEntry entry)
    {
        using PooledBuffer run = PooledBuffer.Rent(16);
        run.Append("rest of another"u8);
        labels = [.. labels.Where(static label => label.Value.Length > 0)];
        bool isWhole = batch.TryReadExemplar(entry, run, out Sample read);
        Assert.Equal(at, read);
        if (!isWhole)
        {
            Assert.InRange(labels.Sum(static label => label.Name.Length + label.Value.Length), 1280, int.MaxValue);
            return;
        }

        var found = new List<(ByteString, ByteString)>();
        var reader = new LabelRunReader(run.Span);
        while (reader.MoveNext()) found.Add((ByteString.CopyFrom(reader.Name), ByteString.CopyFrom(reader.Value)));
        Assert.False(reader.IsMalformed);
        Assert.Equal(labels, found);
    }
}
