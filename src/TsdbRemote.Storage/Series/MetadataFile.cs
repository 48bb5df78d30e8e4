using System.Buffers.Binary;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Series;

/// <summary>The file <c>METADATA</c>: what was known of metric families at a flush. A <see cref="SideFile"/>. Stateless.</summary>
/// <remarks>
/// <code>
/// payload of a record   ┌ type u8 ┬ length of the name u16 ┬ length of the help u16 ┬ name ┬ help ┬ unit: the rest ┐   little-endian
/// </code>
/// Texts as the sender gave them, cut as <see cref="MetricMetadata"/> cuts them; types as <see cref="MetricType"/> numbers them.
/// </remarks>
public static class MetadataFile
{
    private const int NameLengthAt = 1;
    private const int HelpLengthAt = 3;
    private const int TextsAt = 5;

    /// <summary>What the file is.</summary>
    public static SideFileKind Kind { get; } = new("METADATA", [.. "TSDBMETA"u8], Version: 1);

    /// <summary>Replaces the file by what is known.</summary>
    /// <returns>The version of it that is in the file.</returns>
    /// <exception cref="DiskException">A step failed.</exception>
    public static long Write(IFileSystem fs, string path, Guid directoryId, MetricMetadata metadata)
    {
        ArgumentNullException.ThrowIfNull(metadata);

        // First: what is told meanwhile may be in the file, or come with the next one.
        long version = metadata.Version;
        using IEnumerator<MetadataTexts> families = metadata.Texts().GetEnumerator();
        SideFile.Write(fs, path, Kind, directoryId, record =>
        {
            if (!families.MoveNext()) return false;
            MetadataTexts family = families.Current;
            Span<byte> head = record.Reserve(TextsAt);
            head[0] = (byte)family.Type;
            BinaryPrimitives.WriteUInt16LittleEndian(head[NameLengthAt..], (ushort)family.Name.Length);
            BinaryPrimitives.WriteUInt16LittleEndian(head[HelpLengthAt..], (ushort)family.Help.Length);
            record.SetLength(TextsAt);
            record.Append(family.Name);
            record.Append(family.Help);
            record.Append(family.Unit);
            return true;
        });
        return version;
    }

    /// <summary>Takes note of what the file holds, below anything that the log says.</summary>
    /// <exception cref="CorruptFileException">It is damaged: what came before the place is known.</exception>
    /// <exception cref="NewerFormatException">A later program wrote it.</exception>
    public static void Load(IFileSystem fs, string path, Guid directoryId, MetricMetadata metadata)
    {
        ArgumentNullException.ThrowIfNull(metadata);
        SideFile.Load(fs, path, Kind, directoryId, record =>
        {
            if (record.Length < TextsAt) return false;
            int name = BinaryPrimitives.ReadUInt16LittleEndian(record[NameLengthAt..]);
            int help = BinaryPrimitives.ReadUInt16LittleEndian(record[HelpLengthAt..]);
            ReadOnlySpan<byte> texts = record[TextsAt..];
            if (name == 0 || name + help > texts.Length) return false;
            metadata.Set(texts[..name], record[0], texts.Slice(name, help), texts[(name + help)..], order: 0);
            return true;
        });
    }
}
