using System.Text;
using static TsdbRemote.Tests.Verification.BrokenRule;

namespace TsdbRemote.Tests.Verification;

/// <summary>Ways to break the index: rules 27 to 45.</summary>
internal static class BrokenIndex
{
    public static BrokenRule[] Rows { get; } =
    [
        Local(27, "no index", static f => f.Files = static (files, directory) => files.Unlink($"{directory}/index")),
        Local(27, "version 1", static f => f.Index.Version = 1),
        Local(27, "version 3", static f => f.Index.Version = 3),
        Local(27, "another magic", static f => f.EditFile("index", static bytes => [0, .. bytes[1..]])),
        Local(27, "56 bytes", static f => f.EditFile("index", static bytes => bytes[..56])),
        Local(28, "another checksum of the table of contents", static f => f.Index.CrcFault = "toc"),
        Local(28, "symbols at 6", static f => f.Index.Toc = static toc => toc[0] = 6),
        Local(28, "series that end before they begin", static f => f.Index.Toc = static toc => toc[2] = toc[1] - 1),
        Local(28, "postings before the end of the series", static f => f.Index.Toc = static toc => toc[4] = toc[2] - 1),
        Local(28, "a postings table behind the end", static f => f.Index.Toc = static toc => toc[5] = ulong.MaxValue),
        Local(29, "no LabelIndicesTable", static f => f.Index.Toc = static toc => toc[3] = 0),
        Local(29, "a LabelIndicesTable within the postings", static f => f.Index.Toc = static toc => toc[3] -= 4),
        Local(30, "four bytes behind the postings table", static f => f.Index.TrailingBytes = 4),
        Local(31, "another checksum of the symbols", static f => f.Index.CrcFault = "symbols"),
        Local(31, "symbols out of order", static f => f.Index.Symbols = static symbols => (symbols[3], symbols[4]) = (symbols[4], symbols[3])),
        Local(31, "a symbol twice", static f => f.Index.Symbols = static symbols => symbols.Add(symbols[^1])),
        Warning(31, "a symbol that nobody uses", static f => f.Index.Symbols = static symbols => symbols.Add([0xF0, 0x9F, 0x98, 0x80])),
        Local(31, "a symbol that is not UTF-8", static f => f.Index.Symbols = static symbols => symbols.Add([0xFF])),
        Local(31, "fewer symbols than are there", static f => f.Index.SymbolTable = static table => table.AddRange([1, 0x7A])),
        Local(31, "more symbols than are there", static f => f.Index.SymbolTable = static table => table[3]++),
        Local(31, "more symbols than there can be", static f => f.Index.SymbolTable = static table => table[0] = 0xFF),
        Local(32, "padding that is not zero", static f => f.Index.PaddingByte = 1),
        Local(32, "another checksum of a series", static f => f.Index.SeriesCrcFault = 2),
        Local(32, "a byte behind the chunks", static f => f.Index.Body = static (series, body) => AddTo(series, 1, body, 0)),
        Local(32, "a chunk more than there is", static f => f.Index.Body = static (series, body) =>
        {
            if (series == 1) body[5]++; // behind the label count and two labels
        }),
        Local(33, "series out of order", static f => (f.Series[1], f.Series[2]) = (f.Series[2], f.Series[1])),
        Local(33, "a series twice", static f => f.Series.Insert(2, Series([.. f.Series[1].Labels]))),
        Local(33, "a series without labels", static f => f.Series.Insert(0, Series())),
        Local(34, "labels out of order", static f => f.Series[4].Labels.Reverse()),
        Local(34, "a label twice", static f => f.Series[4].Labels.Add(f.Series[4].Labels[^1]), 43),
        Local(34, "labels that are longer together than any reader takes", static f =>
            f.Series.Add(Series(("job", new string('x', 600_000)), ("zone", new string('x', 600_000))))),
        Local(34, "an empty value", static f => f.Series[0].Labels[2] = ("zone", "")),
        Local(34, "an empty name", static f => f.Series[0].Labels.Insert(0, ("", "x"))),
        Local(34, "a symbol beyond the last", static f => f.Index.Body = static (series, body) =>
        {
            if (series == 2) body[2] = 0x7F;
        }),
        Warning(34, "no metric name", static f => f.Series.Add(Series(("job", "x")))),
        Local(35, "a series without chunks", static f => f.Series.Add(new ForgedSeries(("__name__", "z")))),
        Local(36, "a chunk within a record", static f => f.Series[0].Chunks[0].Reference = 9, 18),
        Local(36, "a chunk in the header", static f => f.Series[0].Chunks[0].Reference = 0, 18),
        Local(36, "a chunk in a segment that is not there", static f => f.Series[4].Chunks[1].Reference = 7UL << 32 | 8, 18),
        Local(36, "chunks that changed places", static f =>
        {
            f.Build();
            (ForgedChunk one, ForgedChunk other) = (f.Series[1].Chunks[0], f.Series[3].Chunks[0]);
            (one.Reference, other.Reference) = (other.Reference, one.Reference);
        }, 38),
        Local(37, "a chunk that begins where the last one ends", static f => f.Series[0].Chunks[1] = ForgedChunk.Xor(f.Series[0].Chunks[0].MaxMs, 9)),
        Local(37, "a chunk that ends before it begins", static f => BrokenChunks.Change(f, 4, 1, static c => c with { MaxMs = c.MinMs - 1 }), 38),
        Local(38, "another end than the last sample's", static f => BrokenChunks.Change(f, 0, 0, static c => c with { MaxMs = c.MaxMs + 1 })),
        Local(38, "another begin than the first sample's", static f => BrokenChunks.Change(f, 3, 0, static c => c with { MinMs = c.MinMs - 1 })),
        Local(39, "no list of all series", static f => f.Index.Lists = static lists => lists.RemoveAt(0)),
        Local(39, "a series that is not in the list of all", static f => f.Index.Lists = static lists => lists[0].Ids.RemoveAt(2)),
        Local(39, "no list at all", static f => f.Index.Lists = static lists => lists.Clear(), 43),
        Local(40, "another checksum of the postings table", static f => f.Index.CrcFault = "table"),
        Local(40, "entries out of order", static f => f.Index.Lists = static lists =>
        {
            int at = lists.IndexOf(Find(lists, "job", "api"));
            (lists[at], lists[at + 1]) = (lists[at + 1], lists[at]);
        }),
        Local(40, "an entry twice", static f => f.Index.Lists = static lists => lists.Add(new([.. lists[^1].Name], [.. lists[^1].Value], [.. lists[^1].Ids]))),
        Local(40, "three keys", static f => f.Index.Lists = static lists => lists[4].Keys = 3),
        Local(40, "a byte behind the entries", static f => f.Index.Table = static table => table.Add(0)),
        Local(40, "more entries than there are", static f => f.Index.Table = static table => table[3]++),
        Local(40, "more entries than there can be", static f => f.Index.Table = static table => table[0] = 0xFF),
        Local(41, "another checksum of a list", static f => f.Index.Lists = static lists => lists[3].CrcFault = 1),
        Local(41, "another length than its ids take", static f => f.Index.Lists = static lists => lists[3].LengthFault = 4, 42),
        Local(41, "ids out of order", static f => f.Index.Lists = static lists => Find(lists, "job", "api").Ids.Reverse(), 43),
        Local(41, "an id twice", static f => f.Index.Lists = static lists => Find(lists, "job", "custom").Ids.AddRange(Find(lists, "job", "custom").Ids), 43),
        Local(41, "an id that is no series", static f => f.Index.Lists = static lists => Find(lists, "job", "api").Ids.Insert(0, 1), 43),
        Local(41, "an empty list", static f => f.Index.Lists = static lists => Find(lists, "zone", "ü").Ids.Clear(), 43),
        Local(41, "a list at an odd place", static f => f.Index.Lists = static lists => lists[^1].Gap = 2, 42),
        Local(42, "four bytes between two lists", static f => f.Index.Lists = static lists => lists[2].Gap = 4),
        Local(42, "a list in the header", static f => f.Index.Lists = static lists => lists[2].Offset = 4),
        Local(42, "a list behind the file", static f => f.Index.Lists = static lists => lists[2].Offset = ulong.MaxValue),
        Local(43, "a pair without a list", static f => f.Index.Lists = static lists => lists.Remove(Find(lists, "job", "custom"))),
        Local(43, "a list without a pair", static f => f.Index.Lists = static lists =>
            lists.Insert(lists.Count - 1, new(Encoding.UTF8.GetBytes("job"), Encoding.UTF8.GetBytes("load"), [.. lists[0].Ids]))),
        Local(43, "a series that does not have the pair", static f => f.Index.Lists = static lists => Find(lists, "zone", "ü").Ids.Add(lists[0].Ids[1])),
        Local(43, "a series too few", static f => f.Index.Lists = static lists => Find(lists, "job", "api").Ids.RemoveAt(0)),
        Local(44, "a name that is no symbol", static f => f.Index.Lists = static lists =>
            lists.Add(new(Encoding.UTF8.GetBytes("zzz"), Encoding.UTF8.GetBytes("api"), [lists[0].Ids[0]])), 43),
        Local(45, "an id behind the series", static f => f.Index.Lists = static lists => Find(lists, "zone", "ü").Ids.Add(1000), 43),
        Local(45, "an id behind the series in the list of all", static f => f.Index.Lists = static lists => lists[0].Ids.Add(uint.MaxValue), 39),
    ];

    private static ForgedSeries Series(params (string, string)[] labels) =>
        new(labels) { Chunks = { ForgedChunk.Xor(BlockForge.StartMs, 2) } };

    private static void AddTo(int series, int wanted, List<byte> body, byte value)
    {
        if (series == wanted) body.Add(value);
    }

    private static ForgedList Find(List<ForgedList> lists, string name, string value) => lists.Single(
        list => Encoding.UTF8.GetString(list.Name) == name && Encoding.UTF8.GetString(list.Value) == value);
}
