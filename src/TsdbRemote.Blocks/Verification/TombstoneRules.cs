using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>The tombstones of a block: rule 46.</summary>
/// <remarks>
/// <code>
/// 01 30 BA 30 │ version u8 1 │ entries: series id uvarint, min varint, max varint │ crc32c of the entries, be32
/// </code>
/// </remarks>
internal static class TombstoneRules
{
    private const string File = "tombstones";
    private const int HeaderBytes = 5;
    private const int MaxEntryBytes = 3 * Varint.MaxBytes;

    /// <summary>Checks the file; none at all is as good as an empty one.</summary>
    /// <param name="context">The verification.</param>
    /// <param name="series">Ids that exist; null if they are not known.</param>
    /// <returns>Number of intervals; null if they cannot be counted.</returns>
    public static long? Check(VerifyContext context, BitSet? series)
    {
        using FileSource? source = context.TryOpen(File);
        if (source is null) return 0;
        Findings findings = context.Findings;
        if (source.Length < HeaderBytes + sizeof(uint))
        {
            findings.Error(46, File, 0, $"has {source.Length} bytes; {HeaderBytes + sizeof(uint)} are the least");
            return null;
        }

        using SequentialFile file = new(source, 0, source.Length, context.Cancel);
        ReadOnlySpan<byte> header = file.Peek(HeaderBytes);
        if (!header.SequenceEqual((ReadOnlySpan<byte>)[0x01, 0x30, 0xBA, 0x30, 1]))
        {
            findings.Error(46, File, 0, $"begins with {Convert.ToHexStringLower(header)}; 0130ba3001 expected");
            return null;
        }

        long end = source.Length - sizeof(uint);
        using SequentialFile entries = new(source, HeaderBytes, end, context.Cancel);
        uint crc = ~entries.CrcToEnd(uint.MaxValue);
        file.MoveTo(end);
        if (crc != BinaryPrimitives.ReadUInt32BigEndian(file.Peek(sizeof(uint))))
        {
            findings.Error(46, File, end, $"checksum differs");
            return null;
        }

        entries.MoveTo(HeaderBytes);
        long? count = Walk(entries, findings, series);
        if (count > 0 && context.Options.Shipping != ShippingTarget.None)
            findings.Error(46, File, 0, $"{count} intervals are deleted here only: no reader of a bucket applies them");
        return count;
    }

    private static long? Walk(SequentialFile file, Findings findings, BitSet? series)
    {
        long count = 0;
        while (file.Remaining > 0)
        {
            long at = file.Position;
            int read = 0;
            ReadOnlySpan<byte> bytes = file.Peek(MaxEntryBytes);
            if (!Varint.TryRead(bytes, ref read, out ulong id) || !Varint.TryReadZigZag(bytes, ref read, out long minMs)
                || !Varint.TryReadZigZag(bytes, ref read, out long maxMs))
            {
                findings.Error(46, File, at, $"entry {count} cannot be read");
                return null;
            }

            file.Skip(read);
            count++;
            if (minMs > maxMs) findings.Error(46, File, at, $"the interval of series {id} ends at {maxMs} ms, before it begins at {minMs}");
            if (series is not null && !(id <= uint.MaxValue && series.Has((long)id)))
                findings.Error(46, File, at, $"series {id}, of which an interval is deleted, does not exist");
        }

        return count;
    }
}
