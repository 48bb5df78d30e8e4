using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>A section that begins with its length and ends with its checksum: where the bytes between lie in the file.</summary>
internal readonly record struct Section(long Start, long End)
{
    private const int PieceBytes = 1 << 20;

    /// <summary>Finds a section and checks its checksum.</summary>
    /// <param name="source">The file.</param>
    /// <param name="offset">Where its length stands.</param>
    /// <param name="limit">Where it must have ended; at most the file's length.</param>
    /// <param name="window">Where bytes are read into.</param>
    /// <exception cref="CorruptFileException">It is longer than that, or its checksum differs.</exception>
    public static Section Open(FileSource source, long offset, long limit, FileWindow window)
    {
        uint length = BinaryPrimitives.ReadUInt32BigEndian(window.At(source, offset, sizeof(uint), limit));
        long start = offset + sizeof(uint);
        if (length < sizeof(uint) || length > limit - start - IndexFormat.ChecksumBytes)
            throw source.Corrupt(offset, $"a section of {length} bytes does not end before {limit}");
        Section section = new(start, start + length);
        uint crc = uint.MaxValue;
        for (long at = start; at < section.End;)
        {
            int part = (int)Math.Min(PieceBytes, section.End - at);
            crc = Crc32C.Update(crc, window.At(source, at, part, section.End)[..part]);
            at += part;
        }

        uint stored = BinaryPrimitives.ReadUInt32BigEndian(window.At(source, section.End, IndexFormat.ChecksumBytes, limit));
        if (~crc != stored) throw source.Corrupt(offset, $"checksum of the section of {length} bytes differs");
        return section;
    }
}
