using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Format;

/// <summary>One deletion: an interval of one series.</summary>
/// <param name="SeriesId">The series' id in the index of the same block.</param>
/// <param name="Range">What is deleted, both ends included.</param>
public readonly record struct Tombstone(uint SeriesId, TimeRange Range);

/// <summary>The bytes of a block's <c>tombstones</c> file.</summary>
/// <remarks>
/// <code>
///   0  magic 01 30 BA 30
///   4  version 01
///   5  entries     series id uvarint │ first ms varint (zigzag) │ last ms varint        any order, several for a series
///  -4  crc32c of the entries, u32 big-endian                                            9 bytes if there are none
/// </code>
/// The checksum covers neither magic nor version. Source: prometheus: tsdb/tombstones/tombstones.go.
/// </remarks>
public static class TombstonesFormat
{
    /// <summary>Name of the file in its block.</summary>
    public const string FileName = "tombstones";

    /// <summary>First word of the file, big-endian.</summary>
    public const uint Magic = 0x0130BA30;

    /// <summary>The only version.</summary>
    public const byte Version = 1;

    /// <summary>Most bytes of the file: some 4 million deletions. A block with more than a few is rewritten without what they delete.</summary>
    public const int MaxBytes = 64 << 20;

    private const int HeaderBytes = sizeof(uint) + sizeof(byte);
    private const int ChecksumBytes = sizeof(uint);
    private const int MaxEntryBytes = 3 * Varint.MaxBytes;

    /// <summary>Reads the file; one that is not there deletes nothing.</summary>
    /// <exception cref="CorruptFileException">It is damaged.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static Tombstones Read(IFileSystem files, string path)
    {
        ArgumentNullException.ThrowIfNull(files);
        if (files.FileSize(path) is null) return Tombstones.None;
        using IFile file = files.OpenRead(path);
        long length = file.Length;
        if (length is < HeaderBytes + ChecksumBytes or > MaxBytes)
            throw new CorruptFileException(path, 0, $"the file has {length} bytes, {HeaderBytes + ChecksumBytes} to {MaxBytes} are expected");
        using PooledBuffer bytes = PooledBuffer.Rent((int)length, (int)length);
        int read = file.Read(0, bytes.Span);
        return read == length ? Parse(bytes.Span, path) : throw new CorruptFileException(path, read, "the file ends here");
    }

    /// <summary>Creates the file, which must not exist yet, and makes its contents durable. The caller syncs the directory.</summary>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void Write(IFileSystem files, string path, Tombstones tombstones)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(tombstones);
        using PooledBuffer bytes = PooledBuffer.Rent(4096);
        Span<byte> header = bytes.Reserve(HeaderBytes);
        BinaryPrimitives.WriteUInt32BigEndian(header, Magic);
        header[sizeof(uint)] = Version;
        bytes.SetLength(HeaderBytes);
        foreach (Tombstone tombstone in tombstones.All())
        {
            Span<byte> entry = bytes.Reserve(MaxEntryBytes);
            int at = Varint.Write(entry, tombstone.SeriesId);
            at += Varint.WriteZigZag(entry[at..], tombstone.Range.MinMs);
            at += Varint.WriteZigZag(entry[at..], tombstone.Range.MaxMs);
            bytes.SetLength(bytes.Length + at);
        }

        uint crc = Crc32C.Of(bytes.Span[HeaderBytes..]);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.Reserve(ChecksumBytes), crc);
        bytes.SetLength(bytes.Length + ChecksumBytes);
        if (bytes.Length > MaxBytes) throw new ArgumentException($"tombstones of {bytes.Length} bytes could not be read again", nameof(tombstones));
        using IFile file = files.CreateNew(path);
        file.Write(0, bytes.Span);
        file.SyncAll();
    }

    private static Tombstones Parse(ReadOnlySpan<byte> file, string path)
    {
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(file);
        if (magic != Magic) throw new CorruptFileException(path, 0, $"begins with {magic:x8}, tombstones begin with {Magic:x8}");
        byte version = file[sizeof(uint)];
        if (version > Version) throw new NewerFormatException(path, sizeof(uint), version, Version);
        if (version != Version) throw new CorruptFileException(path, sizeof(uint), $"tombstones of version {version}, {Version} is expected");
        ReadOnlySpan<byte> entries = file[HeaderBytes..^ChecksumBytes];
        if (Crc32C.Of(entries) != BinaryPrimitives.ReadUInt32BigEndian(file[^ChecksumBytes..]))
            throw new CorruptFileException(path, HeaderBytes, "checksum of the tombstones differs");
        List<Tombstone> tombstones = [];
        int at = 0;
        while (at < entries.Length)
        {
            int start = at;
            if (TryReadEntry(entries, ref at) is not { } tombstone) throw new CorruptFileException(path, HeaderBytes + start, "not a tombstone");
            tombstones.Add(tombstone);
        }

        return Tombstones.Of(tombstones);
    }

    private static Tombstone? TryReadEntry(ReadOnlySpan<byte> entries, ref int at)
    {
        if (!Varint.TryRead(entries, ref at, out ulong id) || id > uint.MaxValue) return null;
        if (!Varint.TryReadZigZag(entries, ref at, out long first) || !Varint.TryReadZigZag(entries, ref at, out long last)) return null;
        return first > last ? null : new Tombstone((uint)id, new TimeRange(first, last));
    }
}
