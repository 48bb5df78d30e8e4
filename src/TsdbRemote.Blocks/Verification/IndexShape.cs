using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Where the parts of an index stand, as its table of contents says: rules 27 to 30.</summary>
/// <remarks>
/// <code>
/// BA AA D7 00 │ version u8 2 │ symbols │ series │ (label indices) │ postings │ (label table) │ postings table │ six be64 │ crc32c be32
/// </code>
/// </remarks>
/// <param name="Symbols">Symbol table.</param>
/// <param name="Series">End of the symbol table.</param>
/// <param name="LabelIndices">End of the series.</param>
/// <param name="LabelIndicesTable">End of the postings lists; 0 if the writer left it out.</param>
/// <param name="Postings">Before the first postings list.</param>
/// <param name="PostingsTable">Postings offset table.</param>
/// <param name="TocOffset">The table of contents itself.</param>
internal sealed record IndexShape(
    long Symbols, long Series, long LabelIndices, long LabelIndicesTable, long Postings, long PostingsTable, long TocOffset)
{
    /// <summary>Name of the file.</summary>
    public const string File = "index";

    /// <summary>Series entries stand at multiples of this; their id is the multiple.</summary>
    public const int SeriesAlignment = 16;

    private const int HeaderBytes = 5;
    private const int TocBytes = 6 * sizeof(ulong) + sizeof(uint);
    private const long MaxBytes = (long)SeriesAlignment * uint.MaxValue;

    /// <summary>Reads header and table of contents.</summary>
    /// <returns>Null if the parts cannot be found; that has been reported.</returns>
    public static IndexShape? TryRead(FileSource index, VerifyContext context)
    {
        Findings findings = context.Findings;
        if (index.Length is < HeaderBytes + TocBytes or > MaxBytes)
        {
            findings.Error(27, File, 0, $"has {index.Length} bytes; {HeaderBytes + TocBytes} to {MaxBytes} are allowed");
            return null;
        }

        PooledBuffer? scratch = null;
        try
        {
            ReadOnlySpan<byte> header = index.Read(0, HeaderBytes, ref scratch);
            if (!header.SequenceEqual((ReadOnlySpan<byte>)[0xBA, 0xAA, 0xD7, 0, 2]))
            {
                findings.Error(27, File, 0, $"begins with {Convert.ToHexStringLower(header)}; baaad70002 expected");
                return null;
            }

            ReadOnlySpan<byte> toc = index.Read(index.Length - TocBytes, TocBytes, ref scratch);
            if (Crc32C.Of(toc[..^sizeof(uint)]) == BinaryPrimitives.ReadUInt32BigEndian(toc[^sizeof(uint)..]))
                return Check(toc, index, findings);
            findings.Error(28, File, index.Length - TocBytes, $"checksum of the table of contents differs");
            return null;
        }
        finally
        {
            scratch?.Dispose();
        }
    }

    private static IndexShape? Check(ReadOnlySpan<byte> toc, FileSource index, Findings findings)
    {
        Span<ulong> at = stackalloc ulong[6];
        for (int i = 0; i < at.Length; i++) at[i] = BinaryPrimitives.ReadUInt64BigEndian(toc[(i * sizeof(ulong))..]);
        long end = index.Length - TocBytes;
        if (at[3] == 0) findings.Error(29, File, end, $"LabelIndicesTable is 0: Mimir takes it for the end of the last postings list");
        ulong listsEnd = at[3] == 0 ? at[4] : at[3];
        bool inOrder = at[0] == HeaderBytes && at[0] < at[1] && at[1] <= at[2] && at[2] <= at[4] && at[4] <= listsEnd && listsEnd <= at[5]
            && at[5] < (ulong)end;
        if (!inOrder)
        {
            findings.Error(
                28, File, end,
                $"the parts are out of order: symbols {at[0]}, series {at[1]}, label indices {at[2]}, postings {at[4]}, "
                + $"label table {at[3]}, postings table {at[5]}, end {end}");
            return null;
        }

        return new IndexShape((long)at[0], (long)at[1], (long)at[2], (long)at[3], (long)at[4], (long)at[5], end);
    }
}
