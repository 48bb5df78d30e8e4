using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Reading;
using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Engine;

public sealed class ReplayPipelineTests
{
    private const int Records = 203;
    private const int Broken = 77;

    [Theory]
    [InlineData(-1)]
    [InlineData(0)]
    [InlineData(3)]
    public void Records_are_appended_in_their_order_each_with_what_it_decodes_to(int helperThreads)
    {
        var appended = new List<(ulong Sequence, bool IsDecoded, long TimeMs)>();
        Run(helperThreads, record => appended.Add((record.Sequence, record.IsDecoded, record.IsDecoded ? record.Scratch.Batch.Samples[0].TimeMs : record.Body.Length)));
        Assert.Equal(Enumerable.Range(1, Records).Select(static i => ((ulong)i, i != Broken, i == Broken ? 3L : 1000 + i)), appended);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(3)]
    public void A_failure_ends_it(int helperThreads)
    {
        int appended = 0;
        Assert.Throws<InvalidDataException>(() => Run(helperThreads, record =>
        {
            if (record.Sequence == 50) throw new InvalidDataException();
            appended++;
        }));
        Assert.Equal(49, appended);
    }

    [Fact]
    public void Records_that_unpack_to_much_are_not_held_by_the_dozen()
    {
        using var dictionary = new SeriesDictionary();
        int appended = 0;
        using var pipeline = new ReplayPipeline(null, dictionary, _ => appended++);
        using PooledBuffer raw = PooledBuffer.Rent(1 << 10);
        RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "up"), ("same", new string('a', 3 << 20))), [Sample.Of(1000, 1)]);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        Assert.InRange(body.Length, 1, 256 << 10);
        for (ulong i = 1; i <= 3; i++) pipeline.Add(WalRecordKind.WriteV1, i, body.Span);
        Assert.Equal(1, appended);
        pipeline.Complete();
        Assert.Equal(3, appended);
    }

    private static void Run(int helperThreads, Action<ReplayedRecord> append)
    {
        using ReadHelpers? helpers = helperThreads < 0 ? null : new ReadHelpers(helperThreads);
        List<Thread> threads = [.. Enumerable.Range(0, Math.Max(helperThreads, 0)).Select(_ => new Thread(helpers!.Run))];
        foreach (Thread thread in threads) thread.Start();
        try
        {
            using var dictionary = new SeriesDictionary();
            using var pipeline = new ReplayPipeline(helpers, dictionary, append);
            for (int i = 1; i <= Records; i++) pipeline.Add(WalRecordKind.WriteV1, (ulong)i, Body(i));
            pipeline.Complete();
        }
        finally
        {
            helpers?.Stop();
            foreach (Thread thread in threads) thread.Join();
        }
    }

    // Some long ones, so that groups are full of bytes before they are full of records.
    private static byte[] Body(int record)
    {
        if (record == Broken) return [1, 2, 3];
        using PooledBuffer raw = PooledBuffer.Rent(1 << 10);
        string noise = record % 20 == 0 ? string.Concat(Enumerable.Range(0, 100_000).Select(i => (char)('a' + (i * record * 7919 >> 7) % 26))) : "short";
        RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "up"), ("noise", noise)), [Sample.Of(1000 + record, record)]);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        return body.Span.ToArray();
    }
}
