using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.MemTables;
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
    [InlineData(-1, 1)]
    [InlineData(0, 1)]
    [InlineData(1, 1)]
    [InlineData(3, 2)]
    [InlineData(8, 4)]
    public void Each_share_gets_all_records_in_their_order_after_they_were_resolved(int helperThreads, int shares)
    {
        var target = new Target(static _ => { });
        Run(helperThreads, target);
        Assert.Equal(shares, target.Shares.Count(static share => share.Count > 0));
        foreach (List<ulong> share in target.Shares.Take(shares)) Assert.Equal(Enumerable.Range(1, Records).Select(static i => (ulong)i), share);
        Assert.True(target.IsInOrder);
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
        using var pipeline = new ReplayPipeline(null, dictionary, new Target(_ => appended++));
        using PooledBuffer raw = PooledBuffer.Rent(1 << 10);
        RemoteWriteV1.EncodeSeries(raw, Labels.Encode(("__name__", "up"), ("same", new string('a', 3 << 20))), [Sample.Of(1000, 1)]);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        Assert.InRange(body.Length, 1, 256 << 10);
        for (ulong i = 1; i <= 4; i++) pipeline.Add(WalRecordKind.WriteV1, i, body.Span);
        Assert.Equal(2, appended);
        pipeline.Complete();
        Assert.Equal(4, appended);
    }

    private static void Run(int helperThreads, Action<ReplayedRecord> resolve) => Run(helperThreads, new Target(resolve));

    private static void Run(int helperThreads, Target target)
    {
        using ReadHelpers? helpers = helperThreads < 0 ? null : new ReadHelpers(helperThreads);
        List<Thread> threads = [.. Enumerable.Range(0, Math.Max(helperThreads, 0)).Select(_ => new Thread(helpers!.Run))];
        foreach (Thread thread in threads) thread.Start();
        try
        {
            using var dictionary = new SeriesDictionary();
            using var pipeline = new ReplayPipeline(helpers, dictionary, target);
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

    private sealed class Target(Action<ReplayedRecord> resolve) : IReplayTarget
    {
        private long _resolved;

        public List<ulong>[] Shares { get; } = [.. Enumerable.Range(0, ReplayPipeline.MaxShares).Select(static _ => new List<ulong>())];

        public bool IsInOrder { get; private set; } = true;

        public void Resolve(ReplayedRecord record)
        {
            resolve(record);
            Interlocked.Exchange(ref _resolved, (long)record.Sequence);
        }

        public void Append(ReplayedRecord record, SeriesShare share)
        {
            if (Interlocked.Read(ref _resolved) < (long)record.Sequence) IsInOrder = false;
            Shares[share.Index].Add(record.Sequence);
        }
    }
}
