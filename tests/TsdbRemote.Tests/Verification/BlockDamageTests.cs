using CsCheck;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Verification;
using TsdbRemote.Tests.SSTables;

namespace TsdbRemote.Tests.Verification;

public class BlockDamageTests
{
    private const long MostAllocated = 64 << 20;

    private static readonly string[] Names = ["meta.json", "index", "tombstones", "chunks/000001", "chunks/000002"];

    [Fact]
    public void Every_flipped_bit_of_a_checksummed_file_is_an_error()
    {
        BlockForge forge = BlockForge.Local();
        MemoryFileSystem files = forge.Build();
        foreach (string name in (string[])["index", "tombstones", "chunks/000001", "chunks/000002"])
        {
            string path = $"{forge.Directory}/{name}";
            byte[] good = files[path];
            for (int i = 0; i < good.Length; i++)
            {
                byte[] flipped = [.. good];
                flipped[i] ^= (byte)(1 << (i % 8));
                files[path] = flipped;
                Assert.False(Verify(files, forge).IsAcceptable, $"{name} at {i}");
            }

            files[path] = good;
            files.Trace.Clear();
        }
    }

    [Fact]
    public void A_file_cut_anywhere_is_an_error()
    {
        BlockForge forge = BlockForge.Local();
        MemoryFileSystem files = forge.Build();
        foreach (string name in Names)
        {
            string path = $"{forge.Directory}/{name}";
            byte[] good = files[path];
            for (int length = 0; length < good.Length; length++)
            {
                files[path] = good[..length];
                Assert.False(Verify(files, forge).IsAcceptable, $"{name} cut at {length}");
            }

            files[path] = good;
            files.Trace.Clear();
        }
    }

    [Fact]
    public void Any_bytes_in_any_file_end_in_a_report_within_bounded_memory() =>
        Gen.Select(Gen.OneOf(0, 1, 2, 3, 4), Gen.Int[0, 4000], Gen.Byte.Array[1, 12]).Array[1, 4].Sample(
            static damage =>
            {
                BlockForge forge = BlockForge.Thanos();
                MemoryFileSystem files = forge.Build();
                foreach ((int file, int at, byte[] bytes) in damage)
                {
                    byte[] target = files[$"{forge.Directory}/{Names[file]}"];
                    for (int i = 0; i < bytes.Length; i++) target[(at + i) % target.Length] = bytes[i];
                }

                Verify(files, forge);
            },
            time: 2);

    /// <summary>Checksums made right behind the damage, so that it reaches the parts that believe them.</summary>
    [Fact]
    public void Damage_with_right_checksums_ends_in_a_report_too() =>
        Gen.Select(Gen.OneOf(0, 1, 2, 3, 4, 5), Gen.Int[0, 400], Gen.Byte.Array[1, 12], Gen.Int[0, 4]).Array[1, 3].Sample(
            static damage =>
            {
                BlockForge forge = BlockForge.Local();
                foreach ((int part, int at, byte[] bytes, int number) in damage) Damage(forge, part, at, bytes, number);
                _ = forge.Build();
                Verify(forge.Build(), forge);
            },
            time: 2);

    [Fact]
    public void A_block_of_lies_about_lengths_takes_no_memory_for_them()
    {
        byte[] huge = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
        for (int part = 0; part <= 5; part++)
        {
            for (int at = 0; at < 120; at++)
            {
                BlockForge forge = BlockForge.Local();
                Damage(forge, part, at, huge, 1);
                Verify(forge.Build(), forge);
            }
        }
    }

    [Fact]
    public void An_error_of_the_disk_is_an_exception()
    {
        BlockForge forge = BlockForge.Local();
        MemoryFileSystem files = forge.Build();
        Verify(files, forge);
        foreach (string call in files.Trace.Distinct().ToArray())
        {
            files.FailOn = call;
            Assert.Throws<DiskException>(() => Verify(files, forge));
            Assert.Equal(0, files.OpenFiles);
        }
    }

    [Fact]
    public void Who_gives_up_gets_no_report()
    {
        BlockForge forge = BlockForge.Local();
        using CancellationTokenSource source = new();
        forge.Options = forge.Options with
        {
            ExternalProof = (_, cancel) =>
            {
                source.Cancel();
                cancel.ThrowIfCancellationRequested();
                return [];
            },
        };
        MemoryFileSystem files = forge.Build();
        Assert.Throws<OperationCanceledException>(() => BlockVerifier.Verify(files, forge.Directory, forge.Options, source.Token));
        files.Trace.Clear();
        Assert.Throws<OperationCanceledException>(() => BlockVerifier.Verify(files, forge.Directory, forge.Options, source.Token));
        Assert.Empty(files.Trace);
        Assert.Equal(0, files.OpenFiles);
    }

    [Fact]
    public void Of_a_thousand_faults_the_first_hundred_and_one_of_each_rule_are_kept_and_all_are_counted()
    {
        BlockForge forge = BlockForge.Local();
        for (int i = 0; i < 1000; i++)
            forge.Series.Add(new ForgedSeries(("job", $"x{i:D4}")) { Chunks = { ForgedChunk.Xor(BlockForge.StartMs, 2) with { MaxMs = BlockForge.EndMs } } });
        forge.Tombstones.Add((0, 1, 0, 1));
        BlockReport report = Verify(forge.Build(), forge);
        Assert.Equal(1001, report.Errors);
        Assert.Equal(1000, report.Warnings);
        Assert.Equal(101, report.Findings.Count);
        Assert.Equal(46, report.Findings[^1].Rule);
    }

    private static void Damage(BlockForge forge, int part, int at, byte[] bytes, int number)
    {
        void Overwrite(List<byte> target)
        {
            for (int i = 0; i < bytes.Length && target.Count > 0; i++) target[(at + i) % target.Count] = bytes[i];
        }

        switch (part)
        {
            case 0: forge.Index.SymbolTable += Overwrite; break;
            case 1: forge.Index.Table += Overwrite; break;
            case 2:
                forge.Index.Body += (series, body) =>
                {
                    if (series == number) Overwrite(body);
                };
                break;
            case 3:
                BrokenChunks.Change(forge, number, 0, chunk =>
                {
                    List<byte> data = [.. chunk.Data];
                    Overwrite(data);
                    return chunk with { Data = [.. data] };
                });
                break;
            case 4: forge.Index.Toc += toc => toc[at % toc.Length] = bytes[0]; break;
            default: forge.Segment += (_, segment) => Overwrite(segment); break;
        }
    }

    private static BlockReport Verify(MemoryFileSystem files, BlockForge forge)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        BlockReport report = BlockVerifier.Verify(files, forge.Directory, forge.Options, CancellationToken.None);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostAllocated);
        return report;
    }
}
