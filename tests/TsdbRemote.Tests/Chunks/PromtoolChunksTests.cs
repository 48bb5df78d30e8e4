using System.Buffers.Binary;
using System.Globalization;
using System.Text.RegularExpressions;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Chunks;

/// <summary>The codec against a chunk segment that promtool wrote (Data/promtool-chunks).</summary>
public class PromtoolChunksTests
{
    [Fact]
    public void Every_chunk_decodes_and_encodes_to_identical_bytes()
    {
        List<byte[]> chunks = ReadSegment();
        Assert.Equal(13, chunks.Count);
        foreach (byte[] chunk in chunks)
        {
            Sample[]? samples = ChunkSamples.Decode(chunk);
            Assert.NotNull(samples);
            Assert.Equal(chunk, ChunkSamples.Encode(samples));
        }
    }

    [Fact]
    public void The_chunks_hold_the_samples_of_the_input()
    {
        IEnumerable<string> expected = File.ReadLines(Repository.TestData("promtool-chunks/input.om"))
            .Where(static line => !line.StartsWith('#'))
            .Select(static line => Regex.Match(line, @"^(?<name>\w+\{[^}]*\}) (?<value>\S+) (?<seconds>\d+)\.(?<ms>\d{3})$"))
            .OrderBy(static match => match.Groups["name"].Value, StringComparer.Ordinal)   // series order of the segment; stable by time
            .Select(static match => $"{match.Groups["seconds"].Value}{match.Groups["ms"].Value} {ParseBits(match.Groups["value"].Value):x}");
        IEnumerable<string> actual = ReadSegment()
            .SelectMany(static chunk => ChunkSamples.Decode(chunk)!)
            .Select(static sample => $"{sample.TimeMs} {sample.ValueBits:x}");
        Assert.Equal(expected, actual);
    }

    private static ulong ParseBits(string value) => value switch
    {
        "NaN" => StaleMarker.NormalNaN,
        "+Inf" => BitConverter.DoubleToUInt64Bits(double.PositiveInfinity),
        "-Inf" => BitConverter.DoubleToUInt64Bits(double.NegativeInfinity),
        _ => BitConverter.DoubleToUInt64Bits(double.Parse(value, CultureInfo.InvariantCulture)),
    };

    private static List<byte[]> ReadSegment()
    {
        byte[] file = File.ReadAllBytes(Repository.TestData("promtool-chunks/000001"));
        Assert.Equal("85bd40dd01000000", Convert.ToHexStringLower(file.AsSpan(0, 8)));
        var chunks = new List<byte[]>();
        int at = 8;
        while (at < file.Length)
        {
            Assert.True(Varint.TryRead(file, ref at, out ulong length));
            ReadOnlySpan<byte> body = file.AsSpan(at, 1 + (int)length);
            Assert.Equal((byte)ChunkEncoding.Xor, body[0]);
            at += body.Length;
            Assert.Equal(Crc32C.Of(body), BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at)));
            at += sizeof(uint);
            chunks.Add(body[1..].ToArray());
        }

        return chunks;
    }
}
