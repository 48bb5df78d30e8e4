using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Exemplars;

/// <summary>The file <c>EXEMPLARS</c>: what an <see cref="ExemplarRing"/> held at a flush, in the order in which it came. A <see cref="SideFile"/>. Stateless.</summary>
/// <remarks>
/// <code>
/// payload of a record   ┌ 1 u8 ┬ a series' labels ┐                                                                little-endian
///                       ┌ 2 u8 ┬ series u32 ┬ time i64, ms ┬ value u64, bits ┬ the exemplar's labels ┐
/// </code>
/// Series are numbered from 0 in the order of the file, and stand before their first exemplar: once, for one may have thousands. Label runs are canonical
/// (<see cref="Labels"/>); an exemplar's may be empty.
/// </remarks>
public static class ExemplarFile
{
    private const byte SeriesKind = 1;
    private const byte ExemplarKind = 2;
    private const int SeriesAt = 1;
    private const int TimeAt = 5;
    private const int ValueAt = 13;
    private const int LabelsAt = 21;

    /// <summary>What the file is.</summary>
    public static SideFileKind Kind { get; } = new("EXEMPLARS", [.. "TSDBEXEM"u8], Version: 1);

    /// <summary>Replaces the file by what the ring holds.</summary>
    /// <returns>The version of the ring that is in it.</returns>
    /// <exception cref="DiskException">A step failed.</exception>
    public static long Write(IFileSystem fs, string path, Guid directoryId, ExemplarRing ring)
    {
        ArgumentNullException.ThrowIfNull(ring);
        IReadOnlyList<(byte[] Series, Exemplar Exemplar)> all = ring.All(out long version);
        var numbers = new Dictionary<byte[], uint>(Utf8Comparer.Instance);
        int next = 0;
        SideFile.Write(fs, path, Kind, directoryId, record =>
        {
            if (next == all.Count) return false;
            (byte[] series, Exemplar exemplar) = all[next];
            if (numbers.TryGetValue(series, out uint number))
            {
                Encode(record, number, exemplar);
                next++;
                return true;
            }

            // Its exemplar comes with the next record.
            numbers.Add(series, (uint)numbers.Count);
            record.Append([SeriesKind]);
            record.Append(series);
            return true;
        });
        return version;
    }

    /// <summary>Restores what the file holds.</summary>
    /// <exception cref="CorruptFileException">It is damaged: what came before the place is restored.</exception>
    /// <exception cref="NewerFormatException">A later program wrote it.</exception>
    public static void Load(IFileSystem fs, string path, Guid directoryId, ExemplarRing ring)
    {
        ArgumentNullException.ThrowIfNull(ring);
        var series = new List<byte[]>();
        ulong order = 0;
        SideFile.Load(fs, path, Kind, directoryId, record =>
        {
            if (record[0] == SeriesKind)
            {
                ReadOnlySpan<byte> run = record[SeriesAt..];
                if (run.IsEmpty || !LabelNormalizer.IsCanonical(run)) return false;
                series.Add(run.ToArray());
                return true;
            }

            if (record[0] != ExemplarKind || record.Length < LabelsAt) return false;
            uint number = BinaryPrimitives.ReadUInt32LittleEndian(record[SeriesAt..]);
            ReadOnlySpan<byte> labels = record[LabelsAt..];
            if (number >= (uint)series.Count || !LabelNormalizer.IsCanonical(labels)) return false;
            var at = new Sample(BinaryPrimitives.ReadInt64LittleEndian(record[TimeAt..]), BinaryPrimitives.ReadUInt64LittleEndian(record[ValueAt..]));
            ring.Restore(series[(int)number], new Exemplar(labels, at), order++);
            return true;
        });
    }

    private static void Encode(PooledBuffer record, uint series, Exemplar exemplar)
    {
        Span<byte> head = record.Reserve(LabelsAt);
        head[0] = ExemplarKind;
        BinaryPrimitives.WriteUInt32LittleEndian(head[SeriesAt..], series);
        BinaryPrimitives.WriteInt64LittleEndian(head[TimeAt..], exemplar.At.TimeMs);
        BinaryPrimitives.WriteUInt64LittleEndian(head[ValueAt..], exemplar.At.ValueBits);
        record.SetLength(LabelsAt);
        record.Append(exemplar.Labels);
    }
}
