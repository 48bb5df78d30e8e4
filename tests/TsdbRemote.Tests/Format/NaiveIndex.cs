using System.Buffers.Binary;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Format;

/// <summary>Writes an index the obvious way, from the description of the format alone: what the writer is compared with, and where hostile ones
/// come from.</summary>
internal sealed class NaiveIndex
{
    private readonly List<byte> _bytes = [];
    private long _hole;

    /// <summary>Where the symbols end, and with them what lies before a hole.</summary>
    public int SymbolsEnd { get; private set; }

    public int SeriesEnd { get; private set; }

    public int PostingsTable { get; private set; }

    public byte[] Bytes => [.. _bytes];

    private long Position => _bytes.Count + _hole;

    /// <summary>Writes an index.</summary>
    /// <param name="series">In label order.</param>
    /// <param name="hole">Bytes that the file is said to have between symbols and series, a multiple of 16.</param>
    public static NaiveIndex Of(IReadOnlyList<IndexedSeries> series, long hole = 0)
    {
        NaiveIndex index = new();
        index.Write(series, hole);
        return index;
    }

    /// <summary>An index of these symbols, one body of a series and these lists, whatever they are: every checksum is right.</summary>
    /// <param name="symbols">The section behind its length, checksum excluded.</param>
    /// <param name="body">The body of the only series.</param>
    /// <param name="lists">The bodies of lists, count and ids.</param>
    /// <param name="table">Makes the table's section from the offsets of the lists.</param>
    public static byte[] Raw(byte[] symbols, byte[] body, byte[][] lists, Func<long[], byte[]> table)
    {
        NaiveIndex index = new();
        index._bytes.AddRange([0xBA, 0xAA, 0xD7, 0x00, 2]);
        index.Section(symbols);
        index.SymbolsEnd = index._bytes.Count;
        index.Pad(16);
        index.AddVarint((ulong)body.Length);
        index._bytes.AddRange(body);
        index._bytes.AddRange(Be32(Crc32C.Of(body)));
        index.SeriesEnd = index._bytes.Count;
        index.Pad(4);
        var offsets = new List<long>();
        foreach (byte[] list in lists)
        {
            offsets.Add(index._bytes.Count);
            index.Section(list);
        }

        index.Finish(table([.. offsets]));
        return index.Bytes;
    }

    public static byte[] Be32(uint value)
    {
        byte[] bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] VarintOf(ulong value)
    {
        byte[] bytes = new byte[Varint.MaxBytes];
        return bytes[..Varint.Write(bytes, value)];
    }

    public static byte[] StringOf(byte[] utf8) => [.. VarintOf((ulong)utf8.Length), .. utf8];

    public static byte[] StringOf(string text) => StringOf(Encoding.UTF8.GetBytes(text));

    private void Write(IReadOnlyList<IndexedSeries> series, long hole)
    {
        _bytes.AddRange([0xBA, 0xAA, 0xD7, 0x00, 2]);
        List<byte[]> symbols = Distinct(series.SelectMany(static one => LabelsOf(one)).SelectMany(static label => (byte[][])[label.Name, label.Value]));
        Section([.. Be32((uint)symbols.Count), .. symbols.SelectMany(static symbol => StringOf(symbol))]);
        SymbolsEnd = _bytes.Count;
        _hole = hole;
        var ids = new List<(uint Id, IndexedSeries Series)>();
        foreach (IndexedSeries one in series)
        {
            Pad(16);
            ids.Add(((uint)(Position / 16), one));
            byte[] body = BodyOf(one, symbols);
            AddVarint((ulong)body.Length);
            _bytes.AddRange(body);
            _bytes.AddRange(Be32(Crc32C.Of(body)));
        }

        SeriesEnd = _bytes.Count;
        Pad(4);
        var entries = new List<byte>(Be32(1));
        int count = 1;
        entries.AddRange([2, 0, 0, .. VarintOf((ulong)Position)]);
        Section([.. Be32((uint)ids.Count), .. ids.SelectMany(static one => Be32(one.Id))]);
        foreach (byte[] name in Distinct(series.SelectMany(static one => LabelsOf(one)).Select(static label => label.Name)))
        {
            foreach (byte[] value in Distinct(series.Select(one => one.ValueOf(name)).Where(static value => value.Length > 0)))
            {
                entries.AddRange([2, .. StringOf(name), .. StringOf(value), .. VarintOf((ulong)Position)]);
                count++;
                uint[] having = [.. ids.Where(one => one.Series.ValueOf(name).AsSpan().SequenceEqual(value)).Select(static one => one.Id)];
                Section([.. Be32((uint)having.Length), .. having.SelectMany(Be32)]);
            }
        }

        Finish([.. Be32((uint)count), .. entries.Skip(4)]);
    }

    private void Finish(byte[] table)
    {
        PostingsTable = _bytes.Count;
        long tableAt = Position;
        Section(table);
        var toc = new List<byte>();
        foreach (long offset in (long[])[5, SymbolsEnd, SeriesEnd + _hole, tableAt, SeriesEnd + _hole, tableAt])
        {
            byte[] field = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(field, offset);
            toc.AddRange(field);
        }

        _bytes.AddRange([.. toc, .. Be32(Crc32C.Of([.. toc]))]);
    }

    private void Section(byte[] bytes) => _bytes.AddRange([.. Be32((uint)bytes.Length), .. bytes, .. Be32(Crc32C.Of(bytes))]);

    private void AddVarint(ulong value) => _bytes.AddRange(VarintOf(value));

    private void Pad(int alignment)
    {
        while (Position % alignment != 0) _bytes.Add(0);
    }

    private static byte[] BodyOf(IndexedSeries series, List<byte[]> symbols)
    {
        List<(byte[] Name, byte[] Value)> labels = LabelsOf(series);
        var body = new List<byte>(VarintOf((ulong)labels.Count));
        foreach ((byte[] name, byte[] value) in labels)
            body.AddRange([.. VarintOf((ulong)IndexOf(symbols, name)), .. VarintOf((ulong)IndexOf(symbols, value))]);
        body.AddRange(VarintOf((ulong)series.Chunks.Length));
        ChunkMeta? before = null;
        foreach (ChunkMeta chunk in series.Chunks)
        {
            body.AddRange(before is { } last ? VarintOf((ulong)(chunk.MinTimeMs - last.MaxTimeMs)) : VarintOf(Varint.ZigZag(chunk.MinTimeMs)));
            body.AddRange(VarintOf((ulong)(chunk.MaxTimeMs - chunk.MinTimeMs)));
            body.AddRange(before is { } previous ? VarintOf(Varint.ZigZag((long)(chunk.Reference - previous.Reference))) : VarintOf(chunk.Reference));
            before = chunk;
        }

        return [.. body];
    }

    private static int IndexOf(List<byte[]> symbols, byte[] text) => symbols.BinarySearch(text, Comparer);

    private static List<(byte[] Name, byte[] Value)> LabelsOf(IndexedSeries series)
    {
        var labels = new List<(byte[], byte[])>();
        var reader = new LabelRunReader(series.Run);
        while (reader.MoveNext()) labels.Add((reader.Name.ToArray(), reader.Value.ToArray()));
        return labels;
    }

    private static List<byte[]> Distinct(IEnumerable<byte[]> texts) =>
        [.. texts.DistinctBy(static text => Convert.ToHexString(text)).OrderBy(static text => text, Comparer)];

    private static Comparer<byte[]> Comparer { get; } = Comparer<byte[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b));
}
