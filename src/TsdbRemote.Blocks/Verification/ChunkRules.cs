using System.Buffers.Binary;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Checks the contents of chunks: rules 16 and 19 to 26. Keeps scratch memory between chunks. Not thread-safe.</summary>
internal sealed class ChunkRules(Findings findings)
{
    private const int MaxSamples = 480;
    private const int MaxBytes = 16_000;

    private readonly HistogramRules _histograms = new(findings);

    /// <summary>Checks a chunk whose checksum holds.</summary>
    /// <param name="encoding">How it is encoded, as its record says.</param>
    /// <param name="data">Its bytes.</param>
    /// <param name="place">Where it is.</param>
    /// <param name="values">Receives the samples; null if nobody wants them.</param>
    /// <returns>Null if it cannot be decoded.</returns>
    public ChunkFacts? Check(byte encoding, ReadOnlySpan<byte> data, in ChunkPlace place, ValueChecksumBuilder? values)
    {
        if (encoding is not (1 or 2 or 3))
        {
            findings.Error(16, place.File, place.Offset, $"the chunk of {place.Series} has encoding {encoding}; 1, 2 and 3 can be read everywhere");
            return null;
        }

        int count = data.Length < sizeof(ushort) ? 0 : BinaryPrimitives.ReadUInt16BigEndian(data);
        if (count == 0)
        {
            findings.Error(19, place.File, place.Offset, $"the chunk of {place.Series} holds no sample");
            return null;
        }

        if (count > MaxSamples || data.Length > MaxBytes)
        {
            findings.Warning(
                21, place.File, place.Offset,
                $"the chunk of {place.Series} holds {count} samples in {data.Length} bytes; readers budget {MaxSamples} and {MaxBytes}");
        }

        return encoding == 1
            ? XorRules.Check(data, count, place, findings, values)
            : _histograms.Check(data, count, isFloat: encoding == 3, place, values);
    }
}
