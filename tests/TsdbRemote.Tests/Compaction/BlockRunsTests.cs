using CsCheck;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;

namespace TsdbRemote.Tests.Compaction;

/// <summary>Many blocks that overlap: in whatever parts they are merged, of two versions of an instant the newer stays.</summary>
public sealed class BlockRunsTests
{
    private const long WindowMs = 10;
    private const long NowMs = 10_000;
    private static readonly BlockCompactionPicker Picker = new(WindowMs, BlockDelayMs: 0, LateDelayMs: 10, RetentionMs: null);

    private static readonly Gen<Made> AnyBlock = Gen.Select(
        Gen.Int[0, 200], Gen.OneOf(Gen.Int[1, 10], Gen.Int[1, 100]), Gen.OneOf(Gen.Long[1, 10], Gen.Long[1, 1000]), Gen.Bool)
        .Select(static (start, length, bytes, isNew) => new Made(start, length, bytes, isNew));

    [Fact]
    public void Whatever_is_merged_reads_as_before_and_few_blocks_are_left()
    {
        var seen = new Seen();
        Gen.Select(AnyBlock.Array[2, 120], Gen.Int[0, 120], Gen.Int[0, 10], Gen.Int[0, 120], Gen.Frequency((4, Gen.Const(false)), (1, Gen.Const(true)))).Sample(
            (blocks, foreign, ofForeign, large, isAsked) => new Store(blocks, foreign, ofForeign, large, seen).Run(isAsked), iter: 2000);
        Assert.True(seen is { Parts: > 300, PartsOfForeign: > 2, Wholes: > 1000 }, $"{seen}");
    }

    [Fact]
    public void More_blocks_than_are_merged_at_once_are_merged_all_the_same()
    {
        var seen = new Seen();
        Gen.Select(AnyBlock.Array[1001, 1040], Gen.Int[0, 1040], Gen.Int[0, 10], Gen.Int[0, 1040]).Sample(
            (blocks, foreign, ofForeign, large) => new Store(blocks, foreign, ofForeign, large, seen).Run(isAsked: true), iter: 20);
        Assert.True(seen is { Parts: >= 20 }, $"{seen}");
    }

    /// <summary>The order of blocks that share a rank is told by nothing, so none of them may be merged over another.</summary>
    [Fact]
    public void Blocks_of_one_rank_are_merged_together_or_apart_in_time()
    {
        BlockFigures[] ofOneRank = [.. Enumerable.Range(0, 1100).Select(static i => new BlockFigures($"b{i:0000}", new TimeRange(i * 10, i * 10 + 9), 100, 1, Adopted: false))];
        var wide = new BlockFigures("wide", new TimeRange(0, 11_000), 100, -1, Adopted: true);
        BlockCompactionJob job = BlockRuns.PartOf(new BlockCompactionJob(new TimeRange(0, 11_000), [wide, .. ofOneRank]), most: 1000);
        Assert.Equal(ofOneRank[100..], job.Blocks);
        Assert.Equal(new TimeRange(1000, 10_999), job.Range);
    }

    private sealed record Made(int Start, int Length, long Bytes, bool IsNew);

    private sealed class Seen
    {
        private int _parts;
        private int _partsOfForeign;
        private int _wholes;

        public int Parts => _parts;

        public int PartsOfForeign => _partsOfForeign;

        public int Wholes => _wholes;

        public void Add(BlockCompactionJob job, bool isPart)
        {
            Interlocked.Increment(ref isPart ? ref _parts : ref _wholes);
            if (isPart && job.Blocks.All(static block => block.Adopted)) Interlocked.Increment(ref _partsOfForeign);
        }

        public override string ToString() => $"{Parts} parts, {PartsOfForeign} of them of foreign blocks alone, {Wholes} wholes";
    }

    /// <summary>Blocks with their samples: each instant has the name of the block that brought it.</summary>
    private sealed class Store
    {
        private readonly Dictionary<string, (BlockFigures Figures, Dictionary<long, int> Samples)> _blocks = [];
        private readonly Seen _seen;

        /// <param name="blocks">By rank, the oldest first.</param>
        /// <param name="foreign">So many of them are foreign.</param>
        /// <param name="ofForeign">So many more were made of foreign blocks alone: they share a rank, and do not overlap.</param>
        /// <param name="large">The place of one that is larger than all others together.</param>
        /// <param name="seen">Told what is done.</param>
        public Store(Made[] blocks, int foreign, int ofForeign, int large, Seen seen)
        {
            _seen = seen;
            for (int i = 0; i < blocks.Length; i++)
            {
                Made made = blocks[i];
                bool isForeign = i < foreign;
                Add(i, new TimeRange(made.Start, made.Start + made.Length - 1), i == large ? 1L << 40 : made.Bytes, isForeign ? i - foreign : i + 2, isForeign, made.IsNew ? NowMs : 0);
            }

            for (int i = 0; i < ofForeign; i++) Add(-1 - i, new TimeRange(i * 30, i * 30 + 19), 1 + i * 100, rank: 1, isForeign: false, madeMs: 0);
        }

        public void Run(bool isAsked)
        {
            Dictionary<long, int> expected = Read();
            HashSet<string> asked = isAsked ? [.. _blocks.Keys] : [];
            int jobs = 0;
            for (; Next(asked) is { } job; jobs++)
            {
                Assert.True(jobs < 2000, "it does not come to rest");
                Do(job, $"result{jobs}");
                if (job.Blocks.Any(block => asked.Contains(block.Ulid))) asked.Add($"result{jobs}");
                Assert.Equal(expected, Read());
            }

            Assert.All(_blocks.Values, one => Assert.InRange(Overlapping(one.Figures.Range).Count(), 1, isAsked ? 1 : BlockCompactionPicker.ManyOpenBlocks));
        }

        private BlockCompactionJob? Next(HashSet<string> asked) =>
            Picker.Next(_blocks.Values.Select(static one => one.Figures), static () => [], NowMs, static _ => false, static _ => false, asked: asked);

        private void Add(int number, TimeRange range, long bytes, long rank, bool isForeign, long madeMs)
        {
            var figures = new BlockFigures($"b{number}", range, bytes, rank, isForeign) { MadeMs = madeMs };
            Dictionary<long, int> samples = [];
            for (long time = range.MinMs; time <= range.MaxMs; time++)
            {
                if ((time + number) % 3 != 0 || time == range.MinMs) samples[time] = number;
            }

            _blocks.Add(figures.Ulid, (figures, samples));
        }

        private void Do(BlockCompactionJob job, string name)
        {
            BlockFigures[] there = [.. Overlapping(job.Range)];
            _seen.Add(job, there.Length > job.Blocks.Length);
            Dictionary<long, int> merged = [];
            foreach (BlockFigures input in job.Blocks.OrderBy(static block => block.Rank))
            {
                foreach ((long time, int value) in _blocks[input.Ulid].Samples) merged[time] = value;
                _blocks.Remove(input.Ulid);
            }

            long rank = BlockCompactionJob.RankOf(job.Blocks.Select(static block => block.Rank));
            Assert.DoesNotContain(Overlapping(job.Range), block => block.Rank == rank);
            _blocks.Add(name, (new BlockFigures(name, job.Range, job.Blocks.Sum(static block => block.Bytes), rank, Adopted: false), merged));
        }

        private IEnumerable<BlockFigures> Overlapping(TimeRange range) => _blocks.Values.Select(static one => one.Figures).Where(block => block.Range.Overlaps(range));

        private Dictionary<long, int> Read()
        {
            Dictionary<long, int> read = [];
            foreach ((_, Dictionary<long, int> samples) in _blocks.Values.OrderBy(static one => one.Figures.Rank))
            {
                foreach ((long time, int value) in samples) read[time] = value;
            }

            return read;
        }
    }
}
