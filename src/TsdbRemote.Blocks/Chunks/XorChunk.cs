using System.Buffers.Binary;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Builds a Prometheus XOR chunk in a caller's buffer, sample by sample. Plain state, to live in an array of structs.</summary>
/// <remarks>
/// <code>
/// be16 sample count │ bit stream, most significant bit first, zero padded to a byte
/// sample 0   zigzag varint time                │ 64 raw value bits
/// sample 1   uvarint time - time0              │ value
/// sample n   delta of delta                    │ value
///   dod      0 → 0 · 10+14 bits · 110+17 · 1110+20 · 1111+64      (n bits hold -(2^(n-1)-1) .. 2^(n-1))
///   value    xor with the last: 0 → same · 10 → bits in the last window · 11 + 5 leading + 6 significant (0 = 64) + bits
/// </code>
/// Source: Pelkonen et al. 2015, §4.1, in Prometheus' form (tsdb/chunkenc/xor.go). The bytes are a valid chunk after each
/// append, but for the count if that is left for later. Not thread-safe. A default value is an empty chunk.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public struct XorChunkBuilder
{
    /// <summary>Room that one append may need beyond <see cref="ByteLength"/>: worst sample plus the word-wise writer's slack.</summary>
    public const int AppendSlack = 36;

    private const int CountBytes = 2;

    // The second sample is the longest: uvarint of 10 bytes, then 2 + 5 + 6 + 64 bits of value.
    private const int MaxSampleBytes = 20;

    private long _lastTimeMs;
    private ulong _lastDelta;
    private ulong _lastValueBits;
    private int _bitLength;
    private ushort _count;
    private XorWindow _window;

    /// <summary>Samples so far; at most 65,535.</summary>
    public readonly int Count => _count;

    /// <summary>Bytes of the chunk so far, the count included; 0 while empty.</summary>
    public readonly int ByteLength => (_bitLength + 7) >> 3;

    /// <summary>Bytes that no later sample changes.</summary>
    public readonly int WholeBytes => _bitLength >> 3;

    /// <summary>Time of the last sample in ms; undefined while empty.</summary>
    public readonly long LastTimeMs => _lastTimeMs;

    /// <summary>Value bits of the last sample; undefined while empty.</summary>
    public readonly ulong LastValueBits => _lastValueBits;

    /// <summary>
    /// Appends a sample whose time is above the last one's. The value goes into the last window if it fits, as Prometheus does it.
    /// </summary>
    /// <param name="chunk">
    /// The chunk's buffer from its first byte, with <see cref="AppendSlack"/> bytes beyond <see cref="ByteLength"/>.
    /// </param>
    /// <param name="timeMs">Milliseconds since the epoch.</param>
    /// <param name="valueBits">Value bits.</param>
    /// <exception cref="InvalidOperationException">The buffer is too short, or the chunk holds 65,535 samples already.</exception>
    public void Append(Span<byte> chunk, long timeMs, ulong valueBits)
    {
        AppendUncounted(chunk, 0, timeMs, valueBits);
        WriteCount(chunk);
    }

    /// <summary>
    /// As <see cref="Append(Span{byte}, long, ulong)"/>, but touches the chunk's end only: the chunk is whole once <see cref="WriteCount"/> was called.
    /// </summary>
    /// <param name="end">
    /// A buffer of the chunk's last bytes, with <see cref="AppendSlack"/> bytes beyond them.
    /// </param>
    /// <param name="offset">Place in the chunk of the buffer's first byte; not behind the one that the last sample ends in.</param>
    /// <param name="timeMs">Milliseconds since the epoch, above the last one's.</param>
    /// <param name="valueBits">Value bits.</param>
    /// <exception cref="InvalidOperationException">As above; the builder is spent if the buffer was too short.</exception>
    public void AppendUncounted(Span<byte> end, int offset, long timeMs, ulong valueBits)
    {
        if ((uint)offset > (uint)WholeBytes) ThrowNoRoom();
        _bitLength -= 8 * offset;
        ref byte start = ref AppendTime(end, timeMs);
        ulong xor = valueBits ^ _lastValueBits;
        if (_count == 0) BitWriter.PutWide(ref start, ref _bitLength, valueBits, 64);
        else XorCode.Put(ref start, ref _bitLength, xor, ref _window);
        _bitLength += 8 * offset;
        EndSample(timeMs, valueBits);
    }

    /// <summary>Writes the count of samples at the chunk's start.</summary>
    /// <param name="chunk">The chunk's buffer from its first byte.</param>
    public readonly void WriteCount(Span<byte> chunk) => BinaryPrimitives.WriteUInt16BigEndian(chunk, _count);

    /// <summary>Appends a sample whose window the caller has chosen: it is opened unless it is the last one already.</summary>
    /// <param name="chunk">As above.</param>
    /// <param name="timeMs">Milliseconds since the epoch, above the last one's.</param>
    /// <param name="valueBits">Value bits.</param>
    /// <param name="window">Wide enough; not looked at if this is the first sample or its value is the last one's.</param>
    /// <exception cref="ArgumentException">The window cuts bits off.</exception>
    /// <exception cref="InvalidOperationException">As above.</exception>
    public void Append(Span<byte> chunk, long timeMs, ulong valueBits, XorWindow window)
    {
        ref byte start = ref AppendTime(chunk, timeMs);
        ulong xor = valueBits ^ _lastValueBits;
        if (_count == 0) BitWriter.PutWide(ref start, ref _bitLength, valueBits, 64);
        else if (xor == 0) BitWriter.Put(ref start, ref _bitLength, 0, 1);
        else if (!window.Holds(xor)) ThrowNarrow(window);
        else if (window == _window) XorCode.PutInside(ref start, ref _bitLength, xor, window);
        else XorCode.PutOpening(ref start, ref _bitLength, xor, _window = window);
        EndSample(timeMs, valueBits);
        WriteCount(chunk);
    }

    /// <summary>Bytes of buffer that a chunk of so many samples can need while it is built, slack included.</summary>
    /// <param name="samples">1 to 65,535.</param>
    public static int MaxBytes(int samples) => CountBytes + MaxSampleBytes * samples + AppendSlack;

    /// <summary>Bits of a chunk whose only sample this is.</summary>
    internal static int FirstSampleBits(long timeMs) => 8 * (CountBytes + Varint.SizeOf(Varint.ZigZag(timeMs)) + sizeof(ulong));

    /// <summary>Bits of the second sample's time.</summary>
    internal static int SecondTimeBits(ulong delta) => 8 * Varint.SizeOf(delta);

    /// <summary>Bits of any later sample's time.</summary>
    internal static int TimeBits(long deltaOfDelta)
    {
        if (deltaOfDelta == 0) return 1;
        if (Fits(deltaOfDelta, 14)) return 16;
        if (Fits(deltaOfDelta, 17)) return 20;
        return Fits(deltaOfDelta, 20) ? 24 : 68;
    }

    private ref byte AppendTime(Span<byte> chunk, long timeMs)
    {
        // The writer below stores whole words without bounds checks, so this one check stays on in release builds.
        if (chunk.Length < ByteLength + AppendSlack || _count == ushort.MaxValue) ThrowNoRoom();
        ref byte start = ref MemoryMarshal.GetReference(chunk);
        Debug.Assert(_count == 0 || timeMs > _lastTimeMs, "times must ascend");
        ulong delta = (ulong)timeMs - (ulong)_lastTimeMs;
        if (_count >= 2) AppendDeltaOfDelta(ref start, (long)(delta - _lastDelta));
        else if (_count == 1) _bitLength += 8 * Varint.Write(chunk[ByteLength..], delta);
        else
        {
            _bitLength = 8 * (CountBytes + Varint.WriteZigZag(chunk[CountBytes..], timeMs));
            _window = XorWindow.None;
        }

        _lastDelta = delta;
        return ref start;
    }

    private void EndSample(long timeMs, ulong valueBits)
    {
        _lastTimeMs = timeMs;
        _lastValueBits = valueBits;
        _count++;
    }

    private void AppendDeltaOfDelta(ref byte start, long dod)
    {
        if (dod == 0) BitWriter.Put(ref start, ref _bitLength, 0, 1);
        else if (Fits(dod, 14)) BitWriter.Put(ref start, ref _bitLength, (0b10UL << 14) | ((ulong)dod & 0x3FFF), 16);
        else if (Fits(dod, 17)) BitWriter.Put(ref start, ref _bitLength, (0b110UL << 17) | ((ulong)dod & 0x1FFFF), 20);
        else if (Fits(dod, 20)) BitWriter.Put(ref start, ref _bitLength, (0b1110UL << 20) | ((ulong)dod & 0xFFFFF), 24);
        else
        {
            BitWriter.Put(ref start, ref _bitLength, 0b1111, 4);
            BitWriter.PutWide(ref start, ref _bitLength, (ulong)dod, 64);
        }
    }

    [DoesNotReturn]
    private static void ThrowNarrow(XorWindow window) =>
        throw new ArgumentException($"the value needs more than the window of {window.Leading} leading and {window.Trailing} trailing bits");

    [DoesNotReturn]
    private static void ThrowNoRoom() => throw new InvalidOperationException("no room for another sample in this chunk");

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Fits(long value, int bits) => value >= -((1L << (bits - 1)) - 1) && value <= 1L << (bits - 1);
}

/// <summary>Walks the samples of an XOR chunk. Any bytes are safe: what is not a chunk ends with <see cref="IsCorrupt"/>.</summary>
/// <remarks>
/// Use: <c>while (reader.MoveNext())</c> read <see cref="TimeMs"/> and <see cref="ValueBits"/>, or <see cref="ReadInto"/>; then check <see cref="IsCorrupt"/>.
/// </remarks>
public ref struct XorChunkReader
{
    private const int HeaderBytes = 2;
    private readonly int _count;
    private BitReader _bits;
    private int _read;
    private ulong _delta;
    private XorWindow _window;

    /// <summary>Starts before the first sample.</summary>
    public XorChunkReader(ReadOnlySpan<byte> chunk)
    {
        if (chunk.Length < HeaderBytes)
        {
            IsCorrupt = true;
            return;
        }

        _count = BinaryPrimitives.ReadUInt16BigEndian(chunk);
        _bits = new BitReader(chunk[HeaderBytes..]);
    }

    /// <summary>Samples that the chunk says it holds.</summary>
    public readonly int Count => _count;

    /// <summary>Reads a chunk of one sample, of which there are very many where flushes are far more frequent than usual.</summary>
    /// <param name="chunk">The bytes.</param>
    /// <param name="single">The sample.</param>
    /// <returns>False for every other chunk, and for what is none.</returns>
    public static bool TryReadSingle(ReadOnlySpan<byte> chunk, out Sample single)
    {
        single = default;
        int at = HeaderBytes;
        if (chunk.Length < HeaderBytes || BinaryPrimitives.ReadUInt16BigEndian(chunk) != 1) return false;
        if (!Varint.TryReadZigZag(chunk, ref at, out long timeMs) || chunk.Length - at < sizeof(ulong)) return false;
        single = new Sample(timeMs, BinaryPrimitives.ReadUInt64BigEndian(chunk[at..]));
        return true;
    }

    /// <summary>Time of the current sample in ms.</summary>
    public long TimeMs { readonly get; private set; }

    /// <summary>Value bits of the current sample.</summary>
    public ulong ValueBits { readonly get; private set; }

    /// <summary>True once the bytes turned out not to be an XOR chunk: they ended early, or times did not ascend.</summary>
    public bool IsCorrupt { readonly get; private set; }

    /// <summary>Steps to the next sample.</summary>
    /// <returns>False behind the last one, and for bytes that are no chunk; time and value are then meaningless.</returns>
    public bool MoveNext()
    {
        if (_read >= _count) return false;
        bool ok = _read switch
        {
            >= 2 => ReadNext(),
            1 => ReadSecond(),
            _ => ReadFirst(),
        };
        if (!ok || _bits.IsOverrun)
        {
            IsCorrupt = true;
            _read = _count;
            return false;
        }

        _read++;
        return true;
    }

    /// <summary>Reads samples from here on, as many as there are and fit: what <see cref="MoveNext"/> would step through, at half its price.</summary>
    /// <param name="samples">Receives them.</param>
    /// <returns>How many; fewer than fit behind the last one, and where the bytes turn out to be no chunk.</returns>
    public int ReadInto(Span<Sample> samples)
    {
        int read = 0;
        while (read < samples.Length)
        {
            if (_read >= 2) read += ReadRun(samples[read..]);
            if (read == samples.Length || !MoveNext()) break;
            samples[read++] = new Sample(TimeMs, ValueBits);
        }

        return read;
    }

    /// <summary>
    /// The common shapes of a sample, its state in registers and mostly one load for all of it; stops, with nothing of it taken, before a sample of any other
    /// shape, before the last word of the bytes and before damage, which are all <see cref="MoveNext"/>'s.
    /// </summary>
    private int ReadRun(Span<Sample> samples)
    {
        int most = Math.Min(samples.Length, _count - _read);
        long last = _bits.LastWordPosition;
        long position = _bits.Position;
        long timeMs = TimeMs;
        ulong value = ValueBits;
        ulong delta = _delta;
        XorWindow window = _window;
        int read = 0;
        for (; read < most && position <= last; read++)
        {
            long at = position + 1;
            ulong word = _bits.WordAt(position);
            ulong step = delta;
            int left = BitReader.PeekBits - 1;
            if ((long)word >= 0) word <<= 1;
            else
            {
                if ((word & (1UL << 62)) != 0) break;
                long raw = (long)(word << 2 >> 50);
                step += (ulong)(raw > 1L << 13 ? raw - (1L << 14) : raw);
                word <<= 16;
                at += 15;
                left -= 15;
            }

            long next = (long)((ulong)timeMs + step);
            if (next <= timeMs) break;
            if ((long)word >= 0) at++;
            else if (!TryReadChange(ref at, last, word, left, ref window, ref value)) break;
            position = at;
            delta = step;
            timeMs = next;
            samples[read] = new Sample(timeMs, value);
        }

        _read += read;
        _bits.Skip((int)(position - _bits.Position));
        TimeMs = timeMs;
        ValueBits = value;
        _delta = delta;
        _window = window;
        return read;
    }

    /// <summary>A value other than the last one.</summary>
    /// <param name="at">Position of its first bit; moves behind it.</param>
    /// <param name="last">Last position from which a whole word can be loaded.</param>
    /// <param name="word">The bits from there on.</param>
    /// <param name="left">How many of them are good.</param>
    /// <param name="window">The open window; changes only if the value is read.</param>
    /// <param name="value">The last value; then this one.</param>
    /// <returns>False if it is wider than this knows, or no value.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly bool TryReadChange(ref long at, long last, ulong word, int left, ref XorWindow window, ref ulong value)
    {
        XorWindow used = window;
        int head = XorWindow.FlagBits;
        if ((word & (1UL << 62)) != 0)
        {
            head += XorWindow.OpenBits;
            int leading = (int)(word >> 57) & 31;
            int opened = (int)(word >> 51) & 63;
            if (opened == 0 || leading + opened > 64) return false;
            used = new XorWindow((byte)leading, (byte)(64 - leading - opened));
        }

        at += head;
        word <<= head;
        int significant = used.Significant;
        if (significant > left - head)
        {
            if (at > last || significant > BitReader.PeekBits) return false;
            word = _bits.WordAt(at);
        }

        at += significant;
        value ^= word >> (64 - significant) << used.Trailing;
        window = used;
        return true;
    }

    private bool ReadFirst()
    {
        if (!_bits.TryReadVarint(out ulong time)) return false;
        TimeMs = Varint.UnZigZag(time);
        ValueBits = _bits.Read(64);
        return true;
    }

    private bool ReadSecond() => _bits.TryReadVarint(out _delta) && Step() && ReadValue();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool ReadNext()
    {
        ulong next = _bits.Peek();
        if ((long)next >= 0) _bits.Skip(1);
        else _delta += (ulong)ReadDeltaOfDelta(next);
        return Step() && ReadValue();
    }

    private long ReadDeltaOfDelta(ulong next)
    {
        int ones = BitOperations.LeadingZeroCount(~next);
        if (ones >= 4)
        {
            _bits.Skip(4);
            return (long)_bits.Read(64);
        }

        int bits = 11 + 3 * ones;   // 14, 17, 20
        long raw = (long)(next << (ones + 1) >> (64 - bits));
        _bits.Skip(ones + 1 + bits);
        return raw > 1L << (bits - 1) ? raw - (1L << bits) : raw;
    }

    /// <summary>Adds the delta modulo 2^64: the time ascends exactly if the sum does not wrap.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool Step()
    {
        long next = (long)((ulong)TimeMs + _delta);
        if (next <= TimeMs) return false;
        TimeMs = next;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool ReadValue()
    {
        ulong value = ValueBits;
        bool read = XorCode.TryRead(ref _bits, ref value, ref _window);
        ValueBits = value;
        return read;
    }
}
