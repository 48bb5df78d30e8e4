using TsdbRemote.Storage.SSTables;

namespace TsdbRemote.Tests.SSTables;

public sealed class IndexBlockTests
{
    private const long Window = 1_700_000_000_000;

    [Fact]
    public void Stepping_to_an_id_finds_what_stepping_through_all_finds()
    {
        for (int seed = 0; seed < 2_000; seed++)
        {
            var random = new Random(seed);
            byte[] block = Build(random);
            ulong[] wanted = Wanted(random);
            Assert.Equal(OneByOne(block, wanted), ByStepping(block, wanted));
        }
    }

    [Fact]
    public void Stepping_to_an_id_sees_damage_as_stepping_through_all_does()
    {
        int corrupt = 0;
        for (int seed = 0; seed < 20_000; seed++)
        {
            var random = new Random(seed);
            byte[] block = Build(random);
            for (int flips = random.Next(1, 4); flips > 0; flips--) block[random.Next(block.Length)] = (byte)random.Next(256);
            if (random.Next(4) == 0) block = block[..random.Next(block.Length)];
            ulong[] wanted = Wanted(random);
            List<string> expected = OneByOne(block, wanted);
            Assert.Equal(expected, ByStepping(block, wanted));
            if (expected.LastOrDefault() == "corrupt") corrupt++;
        }

        Assert.InRange(corrupt, 500, 19_999);
    }

    private static byte[] Build(Random random)
    {
        using var writer = new IndexBlockWriter();
        ulong id = (ulong)random.Next(1, 500);
        writer.Begin(Window, id, random.Next(16, 1 << 24));
        int series = random.Next(1, 200);
        int longTimes = random.Next(3);
        for (int i = 0; i < series; i++)
        {
            if (i > 0) id += (ulong)(random.Next(20) == 0 ? random.Next(1, 1 << 15) : random.Next(1, 4));
            int chunks = random.Next(10) == 0 ? random.Next(2, 5) : 1;
            writer.AddSeries(id, chunks);
            long after = Window;
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                long min = after + (chunk == 0 ? 0 : 1) + random.Next(longTimes == 0 ? 100 : 7_000_000);
                long max = min + (longTimes == 2 ? random.Next(1 << 22) : 0);
                writer.AddChunk(after, min, max, random.Next(8) == 0 ? random.Next(2, 1 << 16) : random.Next(2, 300));
                after = max;
            }
        }

        return writer.Finish()[..^SSTableFormat.ChecksumBytes].ToArray();
    }

    private static ulong[] Wanted(Random random)
    {
        var ids = new SortedSet<ulong>();
        ulong id = (ulong)random.Next(500);
        for (int i = random.Next(1, 100); i > 0; i--) ids.Add(id += (ulong)random.Next(1, 40));
        return [.. ids];
    }

    private static List<string> OneByOne(byte[] block, ulong[] wanted)
    {
        var reader = new IndexBlockReader(block);
        List<string> found = [];
        while (reader.MoveNextSeries())
        {
            if (reader.SeriesId > wanted[^1]) return found;
            if (Array.BinarySearch(wanted, reader.SeriesId) >= 0) Note(ref reader, found);
        }

        found.Add(reader.IsCorrupt ? "corrupt" : "end");
        return found;
    }

    private static List<string> ByStepping(byte[] block, ulong[] wanted)
    {
        var reader = new IndexBlockReader(block);
        List<string> found = [];
        foreach (ulong id in wanted)
        {
            if (!reader.MoveTo(id))
            {
                found.Add(reader.IsCorrupt ? "corrupt" : "end");
                return found;
            }

            if (reader.SeriesId == id) Note(ref reader, found);
        }

        // Behind the last one asked for nothing is looked at but the series that shows it.
        if (!reader.MoveTo(wanted[^1] + 1)) found.Add(reader.IsCorrupt ? "corrupt" : "end");
        return found;
    }

    private static void Note(ref IndexBlockReader reader, List<string> found)
    {
        ulong id = reader.SeriesId;
        while (reader.MoveNextChunk(out IndexedChunk chunk)) found.Add($"{id}: {chunk}");
    }
}
