using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Tests.Verification;

/// <summary>One postings list and its entry in the table.</summary>
internal sealed class ForgedList(byte[] name, byte[] value, List<uint> ids)
{
    public byte[] Name { get; set; } = name;

    public byte[] Value { get; set; } = value;

    public List<uint> Ids { get; } = ids;

    public ulong Keys { get; set; } = 2;

    /// <summary>What the table says; null: where the list stands.</summary>
    public ulong? Offset { get; set; }

    /// <summary>Bytes before the list that belong to no list.</summary>
    public int Gap { get; set; }

    public uint CrcFault { get; set; }

    public uint LengthFault { get; set; }
}

/// <summary>The index of a forged block: index v2 as Prometheus 3.7 writes it, with a hook at each step.</summary>
internal sealed class ForgedIndex
{
    public byte Version { get; set; } = 2;

    public Action<List<byte[]>> Symbols { get; set; } = static _ => { };

    /// <summary>Changes the table's bytes between length and checksum.</summary>
    public Action<List<byte>> SymbolTable { get; set; } = static _ => { };

    /// <summary>Changes the body of a series, by its number.</summary>
    public Action<int, List<byte>> Body { get; set; } = static (_, _) => { };

    public byte PaddingByte { get; set; }

    public Action<List<ForgedList>> Lists { get; set; } = static _ => { };

    /// <summary>Changes the postings table's bytes between length and checksum.</summary>
    public Action<List<byte>> Table { get; set; } = static _ => { };

    /// <summary>Bytes between postings table and table of contents.</summary>
    public int TrailingBytes { get; set; }

    public Action<ulong[]> Toc { get; set; } = static _ => { };

    /// <summary>Flips the checksum of: symbols, table, toc.</summary>
    public string CrcFault { get; set; } = "";

    /// <summary>Flips the checksum of the entry of a series.</summary>
    public int SeriesCrcFault { get; set; } = -1;

    public byte[] Build(List<ForgedSeries> series)
    {
        List<byte> file = [0xBA, 0xAA, 0xD7, 0x00, Version];
        ulong[] toc = new ulong[6];
        toc[0] = (ulong)file.Count;
        List<byte[]> symbols = Sorted(series.SelectMany(static one => one.Labels).SelectMany(static label => (string[])[label.Name, label.Value]));
        Symbols(symbols);
        WriteSymbols(file, symbols);
        toc[1] = (ulong)file.Count;
        for (int i = 0; i < series.Count; i++) WriteSeries(file, i, series[i], symbols);
        toc[2] = toc[4] = (ulong)file.Count;
        while (file.Count % 4 != 0) file.Add(0);
        List<ForgedList> lists = MakeLists(series);
        WriteLists(file, lists);
        toc[3] = toc[5] = (ulong)file.Count;
        WriteTable(file, lists);
        file.AddRange(new byte[TrailingBytes]);
        Toc(toc);
        byte[] contents = [.. toc.SelectMany(Be64)];
        return [.. file, .. contents, .. Be32(Crc32C.Of(contents) ^ Fault("toc"))];
    }

    public static byte[] Be32(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] Uvarint(ulong value)
    {
        byte[] bytes = new byte[TsdbRemote.Blocks.Encoding.Varint.MaxBytes];
        return bytes[..TsdbRemote.Blocks.Encoding.Varint.Write(bytes, value)];
    }

    public static byte[] Varint(long value) => Uvarint(TsdbRemote.Blocks.Encoding.Varint.ZigZag(value));

    public static byte[] Text(byte[] bytes) => [.. Uvarint((ulong)bytes.Length), .. bytes];

    private static byte[] Be64(ulong value) => [.. Be32((uint)(value >> 32)), .. Be32((uint)value)];

    private static List<byte[]> Sorted(IEnumerable<string> texts)
    {
        List<byte[]> sorted = [.. texts.Distinct().Select(System.Text.Encoding.UTF8.GetBytes)];
        sorted.Sort(static (left, right) => left.AsSpan().SequenceCompareTo(right));
        return sorted;
    }

    private void WriteSymbols(List<byte> file, List<byte[]> symbols)
    {
        List<byte> table = [.. Be32((uint)symbols.Count), .. symbols.SelectMany(Text)];
        SymbolTable(table);
        file.AddRange([.. Be32((uint)table.Count), .. table, .. Be32(Crc32C.Of(table.ToArray()) ^ Fault("symbols"))]);
    }

    private void WriteSeries(List<byte> file, int number, ForgedSeries series, List<byte[]> symbols)
    {
        while (file.Count % 16 != 0) file.Add(PaddingByte);
        series.Id = (uint)(file.Count / 16);
        List<byte> body = [.. Uvarint((ulong)series.Labels.Count)];
        foreach ((string name, string value) in series.Labels) body.AddRange([.. Symbol(name, symbols), .. Symbol(value, symbols)]);
        body.AddRange(Uvarint((ulong)series.Chunks.Count));
        ForgedChunk? last = null;
        foreach (ForgedChunk chunk in series.Chunks)
        {
            body.AddRange(last is null ? Varint(chunk.MinMs) : Uvarint((ulong)(chunk.MinMs - last.MaxMs)));
            body.AddRange(Uvarint((ulong)(chunk.MaxMs - chunk.MinMs)));
            body.AddRange(last is null ? Uvarint(chunk.Reference!.Value) : Varint((long)(chunk.Reference!.Value - last.Reference!.Value)));
            last = chunk;
        }

        Body(number, body);
        uint fault = number == SeriesCrcFault ? 1u : 0;
        file.AddRange([.. Uvarint((ulong)body.Count), .. body, .. Be32(Crc32C.Of(body.ToArray()) ^ fault)]);
    }

    private static byte[] Symbol(string text, List<byte[]> symbols)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(text);
        return Uvarint((ulong)symbols.FindIndex(symbol => symbol.AsSpan().SequenceEqual(bytes)));
    }

    private List<ForgedList> MakeLists(List<ForgedSeries> series)
    {
        List<ForgedList> lists = [new([], [], [.. series.Select(static one => one.Id)])];
        foreach (byte[] name in Sorted(series.SelectMany(static one => one.Labels).Select(static label => label.Name)))
        {
            string nameText = System.Text.Encoding.UTF8.GetString(name);
            IEnumerable<(string Name, string Value)> labels = series.SelectMany(static one => one.Labels).Where(label => label.Name == nameText);
            foreach (byte[] value in Sorted(labels.Select(static label => label.Value)))
            {
                string valueText = System.Text.Encoding.UTF8.GetString(value);
                lists.Add(new(name, value, [.. series.Where(one => one.Labels.Contains((nameText, valueText))).Select(static one => one.Id)]));
            }
        }

        Lists(lists);
        return lists;
    }

    private static void WriteLists(List<byte> file, List<ForgedList> lists)
    {
        foreach (ForgedList list in lists)
        {
            file.AddRange(new byte[list.Gap]);
            list.Offset ??= (ulong)file.Count;
            byte[] body = [.. Be32((uint)list.Ids.Count), .. list.Ids.SelectMany(Be32)];
            file.AddRange([.. Be32((uint)body.Length + list.LengthFault), .. body, .. Be32(Crc32C.Of(body) ^ list.CrcFault)]);
        }
    }

    private void WriteTable(List<byte> file, List<ForgedList> lists)
    {
        List<byte> table = [.. Be32((uint)lists.Count)];
        foreach (ForgedList list in lists)
            table.AddRange([.. Uvarint(list.Keys), .. Text(list.Name), .. Text(list.Value), .. Uvarint(list.Offset!.Value)]);
        Table(table);
        file.AddRange([.. Be32((uint)table.Count), .. table, .. Be32(Crc32C.Of(table.ToArray()) ^ Fault("table"))]);
    }

    private uint Fault(string part) => CrcFault == part ? 1u : 0;
}
