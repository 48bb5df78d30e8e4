using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Format;

/// <summary>A label of a series as the index stores it: ordinals of two symbols.</summary>
internal readonly record struct LabelRef(uint Name, uint Value);

/// <summary>One series of the index.</summary>
/// <remarks>
/// <code>
/// entry  ┌ length uvarint ┬ body ┬ crc32c of the body u32 big-endian ┐
/// body   ┌ label count uvarint ┬ ( name ref uvarint │ value ref uvarint ) … ┬ chunk count uvarint ┬ chunk … ┐
/// first chunk  ┌ min time zigzag                 ┬ max - min uvarint ┬ reference uvarint         ┐
/// next chunks  ┌ min - previous max uvarint, > 0 ┬ max - min uvarint ┬ reference - previous zigzag, > 0 ┐
/// </code>
/// Labels ascend by name, thus by name ref. Times in ms.
/// </remarks>
internal static class SeriesEntry
{
    // A label takes two bytes or more, a chunk three: more of them than this cannot be in a body of that length.
    private const int MinLabelBytes = 2;
    private const int MinChunkBytes = 3;

    /// <summary>Appends a whole entry.</summary>
    /// <exception cref="ArgumentException">It would be longer than <see cref="IndexFormat.MaxSeriesBytes"/>; nothing was appended.</exception>
    public static void Write(PooledBuffer target, ReadOnlySpan<LabelRef> labels, ReadOnlySpan<ChunkMeta> chunks)
    {
        int start = target.Length;
        long most = 2L * Varint.MaxBytes * (labels.Length + 1) + 3L * Varint.MaxBytes * chunks.Length;
        if (most > IndexFormat.MaxSeriesBytes) throw new ArgumentException($"a series of {chunks.Length} chunks does not fit into an index");

        // The body goes behind the longest prefix and is moved up against the real one.
        Span<byte> bytes = target.Reserve(Varint.MaxBytes + (int)most + IndexFormat.ChecksumBytes);
        int bodyLength = WriteBody(bytes[Varint.MaxBytes..], labels, chunks);
        int at = Varint.Write(bytes, (ulong)bodyLength);
        Span<byte> body = bytes.Slice(at, bodyLength);
        bytes.Slice(Varint.MaxBytes, bodyLength).CopyTo(body);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[(at + bodyLength)..], Crc32C.Of(body));
        target.SetLength(start + at + bodyLength + IndexFormat.ChecksumBytes);
    }

    /// <summary>Reads the labels of a body whose checksum was right.</summary>
    /// <param name="body">The body.</param>
    /// <param name="at">Where to read; then behind the labels.</param>
    /// <param name="symbolCount">Symbols of the index: refs are below.</param>
    /// <param name="labels">Is filled anew; what it holds is meant to be looked at only if nothing is wrong.</param>
    /// <returns>What is wrong, or null.</returns>
    public static string? TryReadLabels(ReadOnlySpan<byte> body, ref int at, uint symbolCount, List<LabelRef> labels)
    {
        labels.Clear();
        if (!Varint.TryRead(body, ref at, out ulong count) || count > (ulong)((body.Length - at) / MinLabelBytes))
            return "a series has more labels than its bytes can hold";
        CollectionsMarshal.SetCount(labels, (int)count);
        long previous = -1;
        foreach (ref LabelRef label in CollectionsMarshal.AsSpan(labels))
        {
            if (!Varint.TryRead(body, ref at, out ulong name) || !Varint.TryRead(body, ref at, out ulong value))
                return "labels of a series end early";
            if (name >= symbolCount || value >= symbolCount) return "a label of a series is no symbol";
            if ((long)name <= previous) return "labels of a series do not ascend";
            previous = (long)name;
            label = new LabelRef((uint)name, (uint)value);
        }

        return null;
    }

    /// <summary>Reads the chunks, which end the body.</summary>
    /// <param name="body">The body.</param>
    /// <param name="at">Behind the labels.</param>
    /// <param name="chunks">Is filled anew.</param>
    /// <returns>What is wrong, or null.</returns>
    public static string? TryReadChunks(ReadOnlySpan<byte> body, int at, List<ChunkMeta> chunks)
    {
        chunks.Clear();
        if (!Varint.TryRead(body, ref at, out ulong count) || count > (ulong)((body.Length - at) / MinChunkBytes))
            return "a series has more chunks than its bytes can hold";
        if (count == 0) return "a series has no chunks";
        chunks.EnsureCapacity((int)count);
        if (!TryReadFirst(body, ref at, out ChunkMeta chunk)) return "first chunk of a series cannot be read";
        chunks.Add(chunk);
        for (int i = 1; i < (int)count; i++)
        {
            if (!TryReadNext(body, ref at, ref chunk)) return $"chunk {i} of a series cannot be read or does not ascend";
            chunks.Add(chunk);
        }

        return at == body.Length ? null : "a series is longer than its labels and chunks";
    }

    private static bool TryReadFirst(ReadOnlySpan<byte> body, ref int at, out ChunkMeta chunk)
    {
        chunk = default;
        if (!Varint.TryReadZigZag(body, ref at, out long min) || !Varint.TryRead(body, ref at, out ulong duration)) return false;
        if (!Varint.TryRead(body, ref at, out ulong reference) || !TryAdd(min, duration, out long max)) return false;
        chunk = new ChunkMeta(min, max, reference);
        return true;
    }

    private static bool TryReadNext(ReadOnlySpan<byte> body, ref int at, ref ChunkMeta chunk)
    {
        if (!Varint.TryRead(body, ref at, out ulong gap) || !Varint.TryRead(body, ref at, out ulong duration)) return false;
        if (!Varint.TryReadZigZag(body, ref at, out long step) || gap == 0 || step <= 0) return false;
        if (!TryAdd(chunk.MaxTimeMs, gap, out long min) || !TryAdd(min, duration, out long max)) return false;
        ulong reference = chunk.Reference + (ulong)step;
        if (reference < chunk.Reference) return false;
        chunk = new ChunkMeta(min, max, reference);
        return true;
    }

    private static bool TryAdd(long time, ulong distance, out long sum)
    {
        sum = unchecked(time + (long)distance);
        return distance <= (ulong)long.MaxValue - (ulong)time;
    }

    private static int WriteBody(Span<byte> target, ReadOnlySpan<LabelRef> labels, ReadOnlySpan<ChunkMeta> chunks)
    {
        int at = Varint.Write(target, (ulong)labels.Length);
        foreach (LabelRef label in labels)
        {
            at += Varint.Write(target[at..], label.Name);
            at += Varint.Write(target[at..], label.Value);
        }

        at += Varint.Write(target[at..], (ulong)chunks.Length);
        for (int i = 0; i < chunks.Length; i++)
        {
            ChunkMeta chunk = chunks[i];
            at += i == 0
                ? Varint.WriteZigZag(target[at..], chunk.MinTimeMs)
                : Varint.Write(target[at..], (ulong)(chunk.MinTimeMs - chunks[i - 1].MaxTimeMs));
            at += Varint.Write(target[at..], (ulong)(chunk.MaxTimeMs - chunk.MinTimeMs));
            at += i == 0
                ? Varint.Write(target[at..], chunk.Reference)
                : Varint.WriteZigZag(target[at..], (long)(chunk.Reference - chunks[i - 1].Reference));
        }

        return at;
    }
}
