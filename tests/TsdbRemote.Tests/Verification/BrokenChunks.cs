using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using static TsdbRemote.Tests.Verification.BrokenRule;

namespace TsdbRemote.Tests.Verification;

/// <summary>Ways to break segments and XOR chunks: rules 13 to 22.</summary>
internal static class BrokenChunks
{
    private const long StartMs = BlockForge.StartMs;

    public static BrokenRule[] Rows { get; } =
    [
        Local(13, "a gap in the numbers", static f => f.Files = static (files, directory) =>
            files.Rename($"{directory}/chunks/000002", $"{directory}/chunks/000003")),
        Local(13, "a short name", static f => f.Files = static (files, directory) =>
            files.Rename($"{directory}/chunks/000002", $"{directory}/chunks/2")),
        Local(13, "a third segment of three bytes", static f => f.Files = static (files, directory) =>
            files[$"{directory}/chunks/000003"] = [0x85, 0xBD, 0x40]),
        Local(13, "no segments", static f => f.Files = static (files, directory) =>
        {
            files.Unlink($"{directory}/chunks/000001");
            files.Unlink($"{directory}/chunks/000002");
        }, 36),
        Warning(13, "a foreign file", static f => f.Files = static (files, directory) => files[$"{directory}/chunks/notes"] = []),
        Local(14, "another magic", static f => f.EditFile("chunks/000002", static bytes => [0x86, .. bytes[1..]])),
        Local(14, "version 2", static f => f.EditFile("chunks/000001", static bytes => [.. bytes[..4], 2, .. bytes[5..]])),
        Local(14, "padding that is not zero", static f => f.EditFile("chunks/000001", static bytes => [.. bytes[..7], 1, .. bytes[8..]])),
        Local(15, "another checksum", static f => Change(f, 0, 0, static chunk => chunk with { CrcFault = 1 })),
        Local(15, "another checksum of the last record", static f => Change(f, 4, 1, static chunk => chunk with { CrcFault = 0x80000000 })),
        Local(15, "another checksum and an index that cannot be read", static f =>
        {
            Change(f, 1, 0, static chunk => chunk with { CrcFault = 1 });
            f.Index.CrcFault = "toc";
        }, 28),
        Local(16, "encoding 0", static f => Change(f, 0, 0, static chunk => chunk with { Encoding = 0 })),
        Local(16, "encoding 4", static f => Change(f, 0, 0, static chunk => chunk with { Encoding = 4 })),
        Local(17, "zeros behind the last record", static f => f.Segment = static (_, bytes) => bytes.AddRange(new byte[100])),
        Local(17, "a last record that is cut", static f => f.Segment = static (name, bytes) =>
            bytes.RemoveRange(bytes.Count - (name == "000001" ? 1 : 0), name == "000001" ? 1 : 0)),
        Local(18, "a record that nobody names", static f => f.Segment = static (_, bytes) => bytes.AddRange(Record(ForgedChunk.Xor(StartMs, 3)))),
        Local(18, "a record before the first that nobody names", static f =>
        {
            byte[] record = Record(ForgedChunk.Xor(StartMs, 3));
            f.Build();
            foreach (ForgedChunk chunk in f.Series.Take(4).SelectMany(static series => series.Chunks)) chunk.Reference += (ulong)record.Length;
            f.EditFile("chunks/000001", bytes => [.. bytes[..8], .. record, .. bytes[8..]]);
        }),
        Local(18, "a record that is named twice", static f =>
        {
            f.Build();
            f.Series[0].Chunks[1].Reference = f.Series[0].Chunks[0].Reference;
        }, 7, 36, 38),
        Local(19, "no samples", static f => Data(f, static data => [0, 0, .. data[2..]])),
        Local(19, "one sample more than there are", static f => Data(f, static data => [data[0], (byte)(data[1] + 1), .. data[2..]])),
        Local(19, "one sample fewer than there are", static f => Data(f, static data => [data[0], (byte)(data[1] - 1), .. data[2..]]), 38),
        Local(19, "a chunk of one byte", static f => Data(f, static _ => [0])),
        Local(19, "a chunk that is cut", static f => Data(f, static data => data[..^2])),
        Local(19, "padding that is not zero", static f => Change(f, 4, 1, static chunk => chunk with { Data = [.. chunk.Data, 0x10] })),
        Local(19, "two zero bytes too many", static f => Data(f, static data => [.. data, 0, 0])),
        Warning(19, "one zero byte too many", static f => Data(f, static data => [.. data, 0])),
        Local(20, "an instant twice", static f => Replace(f, ForgedChunk.Xor(Sample.Of(StartMs, 1), Sample.Of(StartMs, 2)))),
        Local(20, "a step back", static f => Replace(
            f, ForgedChunk.Xor(Sample.Of(StartMs, 1), Sample.Of(StartMs + 9, 2), Sample.Of(StartMs + 8, 2), Sample.Of(StartMs + 99, 2)))),
        Warning(21, "481 samples", static f => Replace(f, Dense(481, 1))),
        Warning(21, "17,000 bytes", static f => Replace(f, Dense(2400, 0x9E3779B97F4A7C15))),
        Local(21, "17 MiB", static f => Data(f, static _ => new byte[17 << 20])),
        Local(22, "a window before any was opened", static f => Replace(f, TwoSamples(static bits => bits.Put("10").Put(7, 64)))),
        Local(22, "a window of 71 bits", static f => Replace(f, TwoSamples(static bits => bits.Put("11").Put(31, 5).Put(40, 6).Put(7, 40)))),
    ];

    internal static void Change(BlockForge forge, int series, int chunk, Func<ForgedChunk, ForgedChunk> change) =>
        forge.Series[series].Chunks[chunk] = change(forge.Series[series].Chunks[chunk]);

    private static void Data(BlockForge forge, Func<byte[], byte[]> change) => Change(forge, 0, 0, chunk => chunk with { Data = change(chunk.Data) });

    private static void Replace(BlockForge forge, ForgedChunk chunk) => Change(forge, 0, 0, _ => chunk);

    private static ForgedChunk Dense(int count, ulong step) =>
        ForgedChunk.Xor([.. Enumerable.Range(0, count).Select(i => new Sample(StartMs + i, (ulong)i * step))]);

    private static ForgedChunk TwoSamples(Action<BitText> secondValue)
    {
        BitText bits = new BitText().Put(2, 16).Varint(StartMs).Double(1).Uvarint(1000);
        secondValue(bits);
        return new ForgedChunk(1, bits.Pack(), StartMs, StartMs + 1000);
    }

    private static byte[] Record(ForgedChunk chunk)
    {
        byte[] covered = [chunk.Encoding, .. chunk.Data];
        return [.. ForgedIndex.Uvarint((ulong)chunk.Data.Length), .. covered, .. ForgedIndex.Be32(Crc32C.Of(covered))];
    }
}
