using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>A chunk segment.</summary>
/// <param name="Name">Name inside the block, such as <c>chunks/000001</c>.</param>
/// <param name="Size">Length in bytes.</param>
internal readonly record struct Segment(string Name, long Size);

/// <summary>Names, sizes and headers of the chunk segments: rules 13 and 14.</summary>
/// <remarks>
/// <code>
/// 85 BD 40 DD │ version u8 1 │ 00 00 00 │ records
/// </code>
/// </remarks>
internal static class SegmentRules
{
    /// <summary>Bytes before the first record.</summary>
    public const int HeaderBytes = 8;

    private const string DirectoryName = "chunks";
    private const long MaxBytes = 512L << 20;

    private static ReadOnlySpan<byte> Header => [0x85, 0xBD, 0x40, 0xDD, 1, 0, 0, 0];

    /// <summary>Finds and checks the segments.</summary>
    /// <returns>
    /// The segments in the order in which readers number them: by the number that their name is, however it is spelt.
    /// </returns>
    public static List<Segment> List(VerifyContext context)
    {
        var numbered = new List<(ulong Number, Segment File)>();
        foreach (DirectoryEntry entry in context.Files.List(context.PathOf(DirectoryName)))
        {
            string name = $"{DirectoryName}/{entry.Name}";
            bool isNumber = ulong.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number);
            if (isNumber && !entry.IsDirectory) numbered.Add((number, new Segment(name, entry.Length)));
            else context.Findings.Warning(13, name, 0, $"is no segment; readers pass over it");
        }

        List<Segment> segments = [.. numbered.OrderBy(static file => file.Number).Select(static file => file.File)];
        if (segments.Count == 0) context.Findings.Error(13, DirectoryName, 0, $"there is no segment");
        for (int i = 0; i < segments.Count; i++)
            Check(context, segments[i], string.Create(CultureInfo.InvariantCulture, $"{DirectoryName}/{i + 1:D6}"));
        return segments;
    }

    private static void Check(VerifyContext context, Segment segment, string expected)
    {
        if (segment.Name != expected) context.Findings.Error(13, segment.Name, 0, $"readers take this file for {expected}");
        if (segment.Size is < HeaderBytes or > MaxBytes)
            context.Findings.Error(13, segment.Name, 0, $"has {segment.Size} bytes; {HeaderBytes} to {MaxBytes} are allowed");
        if (segment.Size < HeaderBytes) return;
        using FileSource? source = context.TryOpen(segment.Name);
        if (source is null) return;
        using SequentialFile file = new(source, 0, Math.Min(HeaderBytes, source.Length), context.Cancel);
        ReadOnlySpan<byte> header = file.Peek(HeaderBytes);
        if (!header.SequenceEqual(Header))
        {
            string found = Convert.ToHexStringLower(header);
            context.Findings.Error(14, segment.Name, 0, $"begins with {found}; {Convert.ToHexStringLower(Header)} expected");
        }
    }
}
