using CsCheck;
using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

public class BloomFilterTests
{
    [Fact]
    public void Every_id_that_went_in_passes() =>
        Gen.Select(Gen.ULong.Array[0, 300], Gen.Int[0, BloomFilter.MaxBitsPerKey]).Sample(
            (ids, bits) =>
            {
                byte[] filter = BloomFilter.Build(ids, bits);
                Assert.True(BloomFilter.IsWellFormed(filter));
                Assert.All(ids, id => Assert.True(BloomFilter.MayContain(filter, id)));
            },
            iter: 200);

    [Theory]
    [InlineData(0UL, 10, 0.013)]
    [InlineData(1UL << 40, 10, 0.013)]
    [InlineData(0UL, 16, 0.003)]
    [InlineData(0UL, 5, 0.12)]
    public void Few_of_the_absent_ids_pass(ulong first, int bits, double atMost)
    {
        const int Count = 100_000;
        ulong[] ids = [.. Enumerable.Range(0, Count).Select(i => first + 2 * (ulong)i)];
        byte[] filter = BloomFilter.Build(ids, bits);
        int passed = ids.Count(id => BloomFilter.MayContain(filter, id + 1));
        Assert.InRange(passed / (double)Count, 0.0001, atMost);
    }

    [Fact]
    public void A_filter_of_no_bits_lets_everything_pass()
    {
        Assert.True(BloomFilter.MayContain(BloomFilter.Build([1, 2, 3], 0), 4));
        Assert.True(BloomFilter.MayContain(default, 4));
    }

    [Fact]
    public void Distinct_ids_of_many_runs_come_out_once_and_ascending() =>
        Gen.ULong[0, 50].Array[0, 30].Array[0, 6].Sample(
            runs =>
            {
                DistinctIds ids = new();
                foreach (ulong[] run in runs)
                {
                    foreach (ulong id in run.Distinct().Order()) ids.Add(id);
                    ids.EndRun();
                }

                Assert.Equal(runs.SelectMany(run => run).Distinct().Order(), ids.Ids.ToArray());
            },
            iter: 500);
}
