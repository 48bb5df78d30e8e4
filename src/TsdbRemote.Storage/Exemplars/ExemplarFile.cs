using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Exemplars;

/// <summary>The file <c>EXEMPLARS</c>: what an <see cref="ExemplarRing"/> held at a flush, in the order in which it came. A <see cref="SideFile"/>. Stateless.</summary>
/// <remarks>
/// <code>
/// payload of a record   ┌ time i64, ms ┬ value u64, bits ┬ length of the series' labels u32 ┬ the series' labels ┬ the exemplar's labels ┐   little-endian
/// </code>
/// Both label runs are canonical (<see cref="Labels"/>); the second may be empty.
/// </remarks>
public static class ExemplarFile
{
    private const int ValueAt = 8;
    private const int LengthAt = 16;
    private const int RunsAt = 20;

    /// <summary>What the file is.</summary>
    public static SideFileKind Kind { get; } = new("EXEMPLARS", [.. "TSDBEXEM"u8], Version: 1);

    /// <summary>Replaces the file by what the ring holds.</summary>
    /// <returns>The version of the ring that is in it.</returns>
    /// <exception cref="DiskException">A step failed.</exception>
    public static long Write(IFileSystem fs, string path, Guid directoryId, ExemplarRing ring)
    {
        ArgumentNullException.ThrowIfNull(ring);
        IReadOnlyList<(byte[] Series, Exemplar Exemplar)> all = ring.All(out long version);
        int next = 0;
        SideFile.Write(fs, path, Kind, directoryId, record =>
        {
            if (next == all.Count) return false;
            Encode(record, all[next].Series, all[next].Exemplar);
            next++;
            return true;
        });
        return version;
    }

    /// <summary>Restores what the file holds.</summary>
    /// <exception cref="CorruptFileException">It is damaged: what came before the place is restored.</exception>
    /// <exception cref="NotSupportedException">A newer build wrote it.</exception>
    public static void Load(IFileSystem fs, string path, Guid directoryId, ExemplarRing ring)
    {
        ArgumentNullException.ThrowIfNull(ring);
        ulong order = 0;
        SideFile.Load(fs, path, Kind, directoryId, record =>
        {
            if (record.Length < RunsAt) return false;
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(record[LengthAt..]);
            if (length == 0 || length > (uint)(record.Length - RunsAt)) return false;
            ReadOnlySpan<byte> series = record.Slice(RunsAt, (int)length);
            ReadOnlySpan<byte> labels = record[(RunsAt + (int)length)..];
            if (!LabelNormalizer.IsCanonical(series) || !LabelNormalizer.IsCanonical(labels)) return false;
            var at = new Sample(BinaryPrimitives.ReadInt64LittleEndian(record), BinaryPrimitives.ReadUInt64LittleEndian(record[ValueAt..]));
            ring.Restore(series, new Exemplar(labels, at), order++);
            return true;
        });
    }

    private static void Encode(PooledBuffer record, byte[] series, Exemplar exemplar)
    {
        int size = RunsAt + series.Length + exemplar.LabelBytes;
        Span<byte> space = record.Reserve(size);
        BinaryPrimitives.WriteInt64LittleEndian(space, exemplar.At.TimeMs);
        BinaryPrimitives.WriteUInt64LittleEndian(space[ValueAt..], exemplar.At.ValueBits);
        BinaryPrimitives.WriteUInt32LittleEndian(space[LengthAt..], (uint)series.Length);
        series.CopyTo(space[RunsAt..]);
        exemplar.Labels.CopyTo(space[(RunsAt + series.Length)..]);
        record.SetLength(size);
    }
}
