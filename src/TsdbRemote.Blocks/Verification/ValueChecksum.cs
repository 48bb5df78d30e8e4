using System.Buffers.Binary;
using System.IO.Hashing;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Count and hash of samples, by which two homes of the same data are compared (rule 51).</summary>
/// <param name="Samples">Number of samples.</param>
/// <param name="Hash">XXH3 over labels, times and value bits, as <see cref="ValueChecksumBuilder"/> feeds it.</param>
public readonly record struct ValueChecksum(long Samples, ulong Hash);

/// <summary>Computes a <see cref="ValueChecksum"/> from series in label order and samples in time order.</summary>
/// <remarks>
/// <code>
/// series   u32 run length │ canonical label run (Model/Labels.cs)            only in front of the first sample; series without one do not count
/// float    u8 1 │ i64 time ms │ u64 value bits
/// other    u8 2 │ i64 time ms │ u64 words as the caller orders them
/// all numbers little-endian
/// </code>
/// How samples are cut into chunks does not matter. Values are taken as bits, never as doubles, so NaN payloads count. Not thread-safe.
/// </remarks>
public sealed class ValueChecksumBuilder
{
    private const int BufferBytes = 16 << 10;
    private const int FloatBytes = 1 + sizeof(long) + sizeof(ulong);
    private const byte FloatTag = 1;
    private const byte OtherTag = 2;

    private readonly XxHash3 _hash = new();
    private readonly byte[] _buffer = new byte[BufferBytes];
    private int _length;
    private long _samples;
    private byte[] _labels = [];
    private int _labelsLength;
    private bool _labelsPending;

    /// <summary>Turns to the next series.</summary>
    /// <param name="labelRun">Its canonical label run, above the one before.</param>
    public void BeginSeries(ReadOnlySpan<byte> labelRun)
    {
        if (_labels.Length < labelRun.Length) _labels = new byte[Math.Max(labelRun.Length, 2 * _labels.Length)];
        labelRun.CopyTo(_labels);
        _labelsLength = labelRun.Length;
        _labelsPending = true;
    }

    /// <summary>Adds a float sample.</summary>
    /// <param name="timeMs">Above the one before in this series, ms.</param>
    /// <param name="valueBits">IEEE 754 bits.</param>
    public void Add(long timeMs, ulong valueBits)
    {
        Span<byte> target = Next(FloatBytes);
        target[0] = FloatTag;
        BinaryPrimitives.WriteInt64LittleEndian(target[1..], timeMs);
        BinaryPrimitives.WriteUInt64LittleEndian(target[(1 + sizeof(long))..], valueBits);
        _samples++;
    }

    /// <summary>Begins a sample of another kind; its words follow by <see cref="AddWord"/>.</summary>
    /// <param name="timeMs">Above the one before in this series, ms.</param>
    public void BeginOther(long timeMs)
    {
        Span<byte> target = Next(1 + sizeof(long));
        target[0] = OtherTag;
        BinaryPrimitives.WriteInt64LittleEndian(target[1..], timeMs);
        _samples++;
    }

    /// <summary>Adds one word to the sample that <see cref="BeginOther"/> began.</summary>
    public void AddWord(ulong word) => BinaryPrimitives.WriteUInt64LittleEndian(Next(sizeof(ulong)), word);

    /// <summary>The checksum of all that was added so far.</summary>
    public ValueChecksum Finish()
    {
        Flush();
        return new ValueChecksum(_samples, _hash.GetCurrentHashAsUInt64());
    }

    private Span<byte> Next(int length)
    {
        if (_labelsPending) AppendLabels();
        if (BufferBytes - _length < length) Flush();
        Span<byte> target = _buffer.AsSpan(_length, length);
        _length += length;
        return target;
    }

    private void AppendLabels()
    {
        Flush();
        _labelsPending = false;
        Span<byte> length = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)_labelsLength);
        _hash.Append(length);
        _hash.Append(_labels.AsSpan(0, _labelsLength));
    }

    private void Flush()
    {
        _hash.Append(_buffer.AsSpan(0, _length));
        _length = 0;
    }
}
