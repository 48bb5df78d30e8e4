using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Model;
using Layout = TsdbRemote.Blocks.Chunks.HistogramChunkFormat;

namespace TsdbRemote.Blocks.Chunks;

/// <content>Parks a chunk that is being built, so that one builder serves many series.</content>
public sealed partial class HistogramChunkBuilder
{
    /// <summary>Bytes that <see cref="SaveState"/> writes now. The chunk's own bytes are the last of them.</summary>
    public int StateBytes =>
        Unsafe.SizeOf<StateHead>()
        + Lanes.Length * Unsafe.SizeOf<HistogramLane>()
        + (_positive.Count + _negative.Count) * Unsafe.SizeOf<BucketSpan>()
        + _bounds.Count * sizeof(double)
        + ByteLength;

    /// <summary>Writes all that the next append needs to go on.</summary>
    /// <remarks>
    /// <code>head │ lanes │ positive spans │ negative spans │ bounds │ chunk      native byte order: for memory only</code>
    /// What was found of a refused sample is not part of it: save before an append that may be refused, or after one that was not.
    /// </remarks>
    /// <param name="destination">At least <see cref="StateBytes"/>.</param>
    /// <exception cref="ArgumentException">Less than that.</exception>
    public void SaveState(Span<byte> destination)
    {
        var head = new StateHead
        {
            FirstTimeMs = FirstTimeMs,
            LastTimeMs = LastTimeMs,
            Delta = _delta,
            ZeroThreshold = _zeroThreshold,
            Size = _size,
            BitLength = _bitLength,
            Schema = _schema,
            PositiveCount = _positiveCount,
            NegativeCount = _negativeCount,
            PositiveSpans = _positive.Count,
            NegativeSpans = _negative.Count,
            Bounds = _bounds.Count,
            Count = _count,
            IsFloat = _isFloat ? (byte)1 : (byte)0,
        };
        MemoryMarshal.Write(destination, in head);
        destination = destination[Unsafe.SizeOf<StateHead>()..];
        destination = Put(destination, (ReadOnlySpan<HistogramLane>)Lanes);
        destination = Put(destination, (ReadOnlySpan<BucketSpan>)CollectionsMarshal.AsSpan(_positive));
        destination = Put(destination, (ReadOnlySpan<BucketSpan>)CollectionsMarshal.AsSpan(_negative));
        destination = Put(destination, (ReadOnlySpan<double>)CollectionsMarshal.AsSpan(_bounds));
        Bytes.CopyTo(destination);
    }

    /// <summary>Goes on with a chunk that any builder of the same options has saved; what this one held is forgotten.</summary>
    /// <param name="source">What <see cref="SaveState"/> wrote, unchanged; more may follow. Never bytes from a file or a network.</param>
    /// <exception cref="ArgumentException">Less than was written.</exception>
    public void LoadState(ReadOnlySpan<byte> source)
    {
        StateHead head = MemoryMarshal.Read<StateHead>(source);
        source = source[Unsafe.SizeOf<StateHead>()..];
        ForgetRefusal();
        (FirstTimeMs, LastTimeMs, _delta, _zeroThreshold) = (head.FirstTimeMs, head.LastTimeMs, head.Delta, head.ZeroThreshold);
        (_size, _bitLength, _schema, _count, _isFloat) = (head.Size, head.BitLength, head.Schema, head.Count, head.IsFloat != 0);
        (_positiveCount, _negativeCount) = (head.PositiveCount, head.NegativeCount);
        int lanes = Layout.FirstBucket + _positiveCount + _negativeCount;
        if (_lanes.Length < lanes) _lanes = new HistogramLane[lanes];
        source = Take(source, Lanes);
        source = Take(source, Sized(_positive, head.PositiveSpans));
        source = Take(source, Sized(_negative, head.NegativeSpans));
        source = Take(source, Sized(_bounds, head.Bounds));
        if (_bytes.Length < ByteLength) _bytes = new byte[2 * ByteLength];
        source[..ByteLength].CopyTo(_bytes);
    }

    private static Span<T> Sized<T>(List<T> list, int count)
    {
        CollectionsMarshal.SetCount(list, count);
        return CollectionsMarshal.AsSpan(list);
    }

    private static Span<byte> Put<T>(Span<byte> destination, ReadOnlySpan<T> values)
        where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(values);
        bytes.CopyTo(destination);
        return destination[bytes.Length..];
    }

    private static ReadOnlySpan<byte> Take<T>(ReadOnlySpan<byte> source, Span<T> values)
        where T : unmanaged
    {
        Span<byte> bytes = MemoryMarshal.AsBytes(values);
        source[..bytes.Length].CopyTo(bytes);
        return source[bytes.Length..];
    }

    private struct StateHead
    {
        public long FirstTimeMs;
        public long LastTimeMs;
        public ulong Delta;
        public double ZeroThreshold;
        public HistogramChunkSize Size;
        public int BitLength;
        public int Schema;
        public int PositiveCount;
        public int NegativeCount;
        public int PositiveSpans;
        public int NegativeSpans;
        public int Bounds;
        public ushort Count;
        public byte IsFloat;
    }
}
