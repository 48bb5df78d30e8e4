using System.Buffers.Binary;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Verification;

/// <summary>A native histogram at one instant; buckets are absolute counts, positive ones first.</summary>
internal sealed record ForgedHistogram(long TimeMs, long Count, long Zero, double Sum, params long[] Buckets)
{
    public bool IsStale { get; init; }

    public ulong SumBits => IsStale ? StaleMarker.Bits : BitConverter.DoubleToUInt64Bits(Sum);
}

/// <summary>A histogram chunk with every detail open to change.</summary>
internal sealed class HistogramForge
{
    public bool IsFloat { get; init; }

    public byte Flags { get; set; }

    public int ThresholdCode { get; set; } = 0x74;

    public long Schema { get; set; } = 3;

    public List<(ulong Length, long Offset)> Positive { get; } = [(2, 0), (1, 1)];

    public List<(ulong Length, long Offset)> Negative { get; } = [];

    public List<double> Bounds { get; } = [];

    public List<ForgedHistogram> Samples { get; } = [];

    public byte[] Build()
    {
        var bits = new BitText();
        Layout(bits);
        ForgedHistogram? last = null;
        var lastNumbers = Array.Empty<long>();
        var lastDeltas = Array.Empty<long>();
        foreach (ForgedHistogram sample in Samples)
        {
            long[] numbers = Numbers(sample, lastNumbers);
            long[] deltas = [.. numbers.Zip(lastNumbers, static (now, then) => now - then)];
            if (sample.IsStale && last is not null) deltas = [.. deltas.Take(3), .. lastDeltas.Skip(3)]; // a stale sample has no buckets to step
            if (last is null) First(bits, sample, numbers);
            else if (IsFloat) NextFloat(bits, sample, last, numbers, lastNumbers, deltas[0] - lastDeltas.ElementAtOrDefault(0));
            else NextInteger(bits, sample, last, [.. deltas.Select((delta, i) => delta - lastDeltas.ElementAtOrDefault(i))]);
            (last, lastNumbers, lastDeltas) = (sample, numbers, deltas);
        }

        byte[] header = [0, 0, Flags];
        BinaryPrimitives.WriteUInt16BigEndian(header, (ushort)Samples.Count);
        return [.. header, .. bits.Pack()];
    }

    private void Layout(BitText bits)
    {
        bits.Put((ulong)ThresholdCode, 8).VarbitInt(Schema);
        Spans(bits, Positive);
        Spans(bits, Negative);
        if (Schema != -53) return;
        bits.VarbitUint((ulong)Bounds.Count);
        foreach (double bound in Bounds)
        {
            if (bound >= 0 && bound * 1000 <= 33554430 && Math.Round(bound * 1000) / 1000 == bound) bits.VarbitUint((ulong)Math.Round(bound * 1000) + 1);
            else bits.Put("0").Double(bound);
        }
    }

    private static void Spans(BitText bits, List<(ulong Length, long Offset)> spans)
    {
        bits.VarbitUint((ulong)spans.Count);
        foreach ((ulong length, long offset) in spans) bits.VarbitUint(length).VarbitInt(offset);
    }

    /// <summary>Time, count, zero count and buckets as the chunk holds them: of integers the difference to the left neighbour.</summary>
    private long[] Numbers(ForgedHistogram sample, long[] last)
    {
        if (sample.IsStale && last.Length > 0) return [sample.TimeMs, 0, 0, .. last.Skip(3)];
        int positive = (int)Positive.Sum(static span => (long)span.Length);
        IEnumerable<long> buckets = sample.Buckets.Select(
            (count, i) => IsFloat || i == 0 || i == positive ? count : count - sample.Buckets[i - 1]);
        return [sample.TimeMs, sample.Count, sample.Zero, .. buckets];
    }

    private void First(BitText bits, ForgedHistogram sample, long[] numbers)
    {
        bits.VarbitInt(sample.TimeMs);
        if (IsFloat) bits.Double(sample.Count).Double(sample.Zero);
        else bits.VarbitUint((ulong)sample.Count).VarbitUint((ulong)sample.Zero);
        bits.Put(sample.SumBits, 64);
        foreach (long number in numbers.Skip(3))
        {
            if (IsFloat) bits.Double(number);
            else bits.VarbitInt(number);
        }
    }

    private static void NextInteger(BitText bits, ForgedHistogram sample, ForgedHistogram last, long[] steps)
    {
        foreach (long step in steps.Take(3)) bits.VarbitInt(step);
        bits.Xor(sample.SumBits, last.SumBits);
        if (sample.IsStale) return;
        foreach (long step in steps.Skip(3)) bits.VarbitInt(step);
    }

    private static void NextFloat(BitText bits, ForgedHistogram sample, ForgedHistogram last, long[] numbers, long[] lastNumbers, long step)
    {
        static ulong Bits(long number) => BitConverter.DoubleToUInt64Bits(number);
        bits.VarbitInt(step).Xor(Bits(numbers[1]), Bits(lastNumbers[1])).Xor(Bits(numbers[2]), Bits(lastNumbers[2]));
        bits.Xor(sample.SumBits, last.SumBits);
        if (sample.IsStale) return;
        for (int i = 3; i < numbers.Length; i++) bits.Xor(Bits(numbers[i]), Bits(lastNumbers[i]));
    }
}
