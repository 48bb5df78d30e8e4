namespace TsdbRemote.Tests.Wire;

/// <summary>Writes random protobuf messages in every legal spelling, and damages them. The caller's seed decides everything.</summary>
internal sealed class OddWire(Random random, double oddness)
{
    private static readonly string[] Names = ["__name__", "job", "instance", "le", "", "ünïcode", "a"];

    public Random Random => random;

    public bool Odd() => random.NextDouble() < oddness;

    public byte[] Varint(ulong value)
    {
        var bytes = new List<byte>();
        for (; value >= 0x80; value >>= 7) bytes.Add((byte)(value | 0x80));
        bytes.Add((byte)value);
        int padding = Odd() ? random.Next(0, 10 - bytes.Count + 1) : 0;
        for (int i = 0; i < padding; i++)
        {
            bytes[^1] |= 0x80;
            bytes.Add(0);
        }

        return [.. bytes];
    }

    public byte[] Number(int field, ulong value) => [.. Varint((ulong)field << 3), .. Varint(value)];

    public byte[] Fixed64(int field, ulong value) => [.. Varint(((ulong)field << 3) | 1), .. BitConverter.GetBytes(value)];

    public byte[] Bytes(int field, byte[] content) => [.. Varint(((ulong)field << 3) | 2), .. Varint((ulong)content.Length), .. content];

    /// <summary>A message of these fields, now and then in another order and with unknown fields between them.</summary>
    public byte[] Message(List<byte[]> fields)
    {
        while (Odd()) fields.Insert(random.Next(fields.Count + 1), Unknown(depth: 0));
        if (Odd())
        {
            byte[][] shuffled = [.. fields];
            random.Shuffle(shuffled);
            fields = [.. shuffled];
        }

        return [.. fields.SelectMany(static field => field)];
    }

    public byte[] Packed(int field, IReadOnlyList<ulong> values)
    {
        if (!Odd()) return Bytes(field, [.. values.SelectMany(Varint)]);
        int cut = random.Next(values.Count + 1);
        IEnumerable<byte> unpacked = values.Take(cut).SelectMany(value => Number(field, value));
        return [.. unpacked, .. Bytes(field, [.. values.Skip(cut).SelectMany(Varint)])];
    }

    public byte[] Text()
    {
        if (random.Next(3) > 0) return System.Text.Encoding.UTF8.GetBytes(Names[random.Next(Names.Length)]);
        byte[] text = new byte[random.Next(0, random.Next(8) switch { 0 => 300, 1 or 2 => 80, _ => 12 })];
        random.NextBytes(text);
        return text;
    }

    public ulong ValueBits() => random.Next(4) switch
    {
        0 => 0,
        1 => BitConverter.DoubleToUInt64Bits(random.Next(1000)),
        2 => 0x7ff0000000000002,
        _ => (ulong)random.NextInt64(),
    };

    public ulong Time() => random.Next(8) switch
    {
        0 => 0,
        1 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
        2 => (ulong)random.Next(300),
        _ => 1_700_000_000_000UL + (ulong)random.Next(),
    };

    public byte[] Sample(bool isV2)
    {
        var fields = new List<byte[]>();
        ulong value = ValueBits();
        ulong time = Time();
        if (value != 0 || Odd()) fields.Add(Fixed64(1, value));
        if (time != 0 || Odd()) fields.Add(Number(2, time));
        if (isV2 && Odd()) fields.Add(Number(3, Time()));
        return Message(fields);
    }

    /// <summary>A histogram of either kind, often of both, whole or not.</summary>
    public byte[] Histogram()
    {
        bool isFloat = random.Next(2) == 0;
        var fields = new List<byte[]> { Count(isFloat) };
        if (random.Next(4) > 0) fields.Add(Fixed64(3, ValueBits()));
        if (random.Next(4) > 0) fields.Add(Number(4, Schema()));
        if (random.Next(2) > 0) fields.Add(Fixed64(5, ValueBits()));
        if (random.Next(2) > 0) fields.Add(isFloat ^ Odd() ? Fixed64(7, ValueBits()) : Number(6, (ulong)random.Next(5)));
        for (int field = 8; field <= 11; field += 3)
        {
            int buckets = 0;
            for (int i = random.Next(3); i > 0; i--)
            {
                int length = random.Next(5);
                buckets += length;
                fields.Add(Bytes(field, Message([Number(1, (ulong)random.Next(10)), Number(2, (ulong)length)])));
            }

            if (Odd()) buckets = random.Next(8);
            if (!isFloat || Odd()) fields.Add(Packed(field + 1, [.. Enumerable.Range(0, buckets).Select(_ => Odd() ? (ulong)random.NextInt64() : 2UL)]));
            if (isFloat || Odd()) fields.Add(PackedDoubles(field + 2, buckets));
        }

        if (random.Next(2) > 0) fields.Add(Number(14, (ulong)random.Next(Odd() ? 300 : 4)));
        fields.Add(Number(15, Time()));
        if (Odd()) fields.Add(PackedDoubles(16, random.Next(4)));
        if (Odd()) fields.Add(Bytes(16, new byte[random.Next(3) == 0 ? 7 : 16]));   // 7 is no list of doubles
        if (Odd()) fields.Add(Number(17, Time()));
        if (Odd()) fields.Add(Count(random.Next(2) == 0));      // the last one decides over the kind
        return Message(fields);
    }

    private byte[] Count(bool isFloat) => isFloat ? Fixed64(2, ValueBits()) : Number(1, (ulong)random.Next(20));

    private ulong Schema() => Odd() ? (ulong)random.NextInt64() : (ulong)random.Next(120);

    private byte[] PackedDoubles(int field, int count)
    {
        byte[][] values = [.. Enumerable.Range(0, count).Select(_ => BitConverter.GetBytes(ValueBits()))];
        int cut = Odd() ? random.Next(count + 1) : 0;
        byte[] unpacked = [.. values.Take(cut).SelectMany(value => Fixed64(field, BitConverter.ToUInt64(value)))];
        return [.. unpacked, .. Bytes(field, [.. values.Skip(cut).SelectMany(static value => value)])];
    }

    /// <summary>A field that nobody knows: each wire type, groups within groups.</summary>
    public byte[] Unknown(int depth)
    {
        int field = random.Next(4) == 0 ? random.Next(1, 1 << 29) : random.Next(20, 60);
        switch (random.Next(depth < 4 ? 5 : 4))
        {
            case 0: return Number(field, (ulong)random.NextInt64());
            case 1: return Fixed64(field, (ulong)random.NextInt64());
            case 2: return Bytes(field, Text());
            case 3: return [.. Varint(((ulong)field << 3) | 5), 1, 2, 3, 4];
            default:
                var inside = new List<byte>();
                for (int i = random.Next(3); i > 0; i--) inside.AddRange(Unknown(depth + 1));
                return [.. Varint(((ulong)field << 3) | 3), .. inside, .. Varint(((ulong)field << 3) | 4)];
        }
    }

    /// <summary>Bit flips, random bytes, a cut, a splice: up to three of them, often none.</summary>
    public byte[] Damage(byte[] body)
    {
        for (int i = random.Next(4); i > 0 && body.Length > 0; i--)
        {
            int at = random.Next(body.Length);
            switch (random.Next(5))
            {
                case 0:
                    body = body[..at];
                    break;
                case 1:
                    int from = random.Next(body.Length);
                    body = [.. body[..at], .. body[from..random.Next(from, body.Length)], .. body[at..]];
                    break;
                case 2:
                    body = [.. body];
                    body[at] = (byte)random.Next(256);
                    break;
                default:
                    body = [.. body];
                    body[at] ^= (byte)(1 << random.Next(8));
                    break;
            }
        }

        return body;
    }

    public byte[] RequestV1()
    {
        var fields = new List<byte[]>();
        for (int i = random.Next(4); i > 0; i--) fields.Add(Bytes(1, SeriesV1()));
        if (Odd()) fields.Add(Bytes(3, Message([Number(1, (ulong)random.Next(9)), Bytes(2, Text()), Bytes(4, Text()), Bytes(5, Text())])));
        if (Odd()) fields.Add(Number(2, 1));
        return Message(fields);
    }

    public byte[] RequestV2()
    {
        var fields = new List<byte[]>();
        int symbols = random.Next(12);
        for (int i = 0; i < symbols; i++) fields.Add(Bytes(4, i == 0 && !Odd() ? [] : Text()));
        for (int i = random.Next(4); i > 0; i--) fields.Add(Bytes(5, SeriesV2(symbols)));
        return Message(fields);
    }

    private byte[] SeriesV1()
    {
        var fields = new List<byte[]>();
        for (int i = random.Next(5); i > 0; i--) fields.Add(Bytes(1, Label()));
        for (int i = random.Next(4); i > 0; i--) fields.Add(Bytes(2, Sample(isV2: false)));
        for (int i = random.Next(8) - 5; i > 0; i--) fields.Add(Bytes(3, Exemplar(() => Bytes(1, Label()))));
        for (int i = random.Next(8) - 5; i > 0; i--) fields.Add(Bytes(4, Histogram()));
        return Message(fields);
    }

    private byte[] Exemplar(Func<byte[]> labels)
    {
        var fields = new List<byte[]>();
        for (int i = random.Next(3); i > 0; i--) fields.Add(labels());
        if (random.Next(4) > 0) fields.Add(Fixed64(2, ValueBits()));
        if (random.Next(4) > 0) fields.Add(Number(3, Time()));
        return Message(fields);
    }

    private byte[] Label()
    {
        var fields = new List<byte[]> { Bytes(1, Text()), Bytes(2, Text()) };
        if (Odd()) fields.RemoveAt(random.Next(2));
        return Message(fields);
    }

    private byte[] SeriesV2(int symbols)
    {
        var fields = new List<byte[]> { Packed(1, Refs(symbols)) };
        for (int i = random.Next(3); i > 0; i--) fields.Add(Bytes(2, Sample(isV2: true)));
        for (int i = random.Next(8) - 5; i > 0; i--) fields.Add(Bytes(3, Histogram()));
        for (int i = random.Next(8) - 5; i > 0; i--) fields.Add(Bytes(4, Exemplar(() => Packed(1, Refs(symbols)))));
        if (random.Next(2) == 0) fields.Add(Bytes(5, Message([Number(1, (ulong)random.Next(9)), Number(3, Ref(symbols))])));
        if (Odd()) fields.Add(Bytes(5, Message([Number(4, Ref(symbols))])));      // the second piece of a message that came before
        if (Odd()) fields.Add(Number(6, Time()));      // the start time of rc.3 and before
        return Message(fields);
    }

    private ulong[] Refs(int symbols)
    {
        ulong[] refs = new ulong[2 * random.Next(4) + (random.Next(12) == 0 ? 1 : 0)];
        for (int i = 0; i < refs.Length; i++) refs[i] = Ref(symbols);
        return refs;
    }

    private ulong Ref(int symbols)
    {
        if (random.Next(25) == 0) return (ulong)random.NextInt64();    // its low 32 bits count
        return (ulong)random.Next(Math.Max(symbols, 1));
    }
}
