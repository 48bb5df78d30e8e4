using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Series;

/// <summary>The end of a dictionary file after an append: goes into the next manifest.</summary>
/// <param name="Length">Bytes of the file.</param>
/// <param name="Crc">CRC-32C of all of them.</param>
/// <param name="Created">True if this append began the file: its name is durable only once the caller has synced the directory.</param>
public readonly record struct SeriesFileEnd(long Length, uint Crc, bool Created);

/// <summary>The file of ids and labels, <c>series/*.dict</c>: append at flush, reload at open. See docs/formats/dictionary.md.</summary>
/// <remarks>
/// <code>
/// header   ┌ magic "TSDBDICT" 8 ┬ version u32 ┬ number i64 ┬ crc32c u32 of salt and the 20 before ┐           24 bytes
/// entry    ┌ frame header 9, type 1 ┬ id u64 ┬ label run ┬ zeros to a multiple of 4 ┐                      little-endian
/// </code>
/// What exists is what the manifest says: a committed length, and the CRC-32C of the bytes before it. Bytes beyond are the rest of an aborted flush
/// and are cut by the next append. Frames are salted with directory id, <c>dict</c> and the number. Ids are in order of flushes, not ascending.
/// Not here: the directory sync, the manifest (both the flush's), what loss of an entry means (the engine's).
/// </remarks>
public static class SeriesFile
{
    /// <summary>Bytes of the header.</summary>
    public const int HeaderBytes = 24;

    /// <summary>The only version so far.</summary>
    public const uint Version = 1;

    /// <summary>Longest label run of an entry, in bytes.</summary>
    public const int MaxRunBytes = 1 << 20;

    /// <summary>Kind of file in the salt.</summary>
    internal const string Kind = "dict";

    /// <summary>Frame type of an entry.</summary>
    internal const byte EntryType = 1;

    /// <summary>Bytes of the id in front of an entry's run.</summary>
    internal const int IdBytes = sizeof(ulong);

    /// <summary>Longest payload of a frame.</summary>
    internal const int MaxPayloadBytes = IdBytes + MaxRunBytes;

    private const int VersionAt = 8;
    private const int NumberAt = 12;
    private const int CrcAt = 20;
    private const int PieceBytes = 1 << 20;

    private static ReadOnlySpan<byte> Magic => "TSDBDICT"u8;

    /// <summary>Appends series behind the committed bytes and makes them durable (all but the file's name).</summary>
    /// <param name="fs">The disk.</param>
    /// <param name="path">The file; created if the committed length is 0.</param>
    /// <param name="directoryId">The data directory's random id.</param>
    /// <param name="number">The file's number.</param>
    /// <param name="committedLength">Length in the manifest; 0 for a file that it does not name yet. What lies beyond is cut off first.</param>
    /// <param name="committedCrc">CRC-32C in the manifest of the committed bytes.</param>
    /// <param name="series">Gives ids and labels.</param>
    /// <param name="ordinals">The series to append.</param>
    /// <returns>What the next manifest has to say.</returns>
    /// <exception cref="CorruptFileException">The file is shorter than committed, or absent.</exception>
    /// <exception cref="DiskException">A step failed; nothing is changed for a reader of the committed length.</exception>
    public static SeriesFileEnd Append(
        IFileSystem fs,
        string path,
        Guid directoryId,
        long number,
        long committedLength,
        uint committedCrc,
        SeriesDictionary series,
        ReadOnlySpan<uint> ordinals)
    {
        uint salt = FrameFormat.Salt(directoryId, Kind, number);
        using IFile file = OpenAtCommitted(fs, path, committedLength);
        using var pieces = new PieceWriter(file, committedLength, committedCrc);
        if (committedLength == 0) WriteHeader(pieces.Reserve(HeaderBytes), salt, number);
        foreach (uint ordinal in ordinals) WriteEntry(pieces, salt, series.IdOf(ordinal), series.LabelsOf(ordinal));
        pieces.Flush();
        file.SyncAll();
        return new SeriesFileEnd(pieces.Length, pieces.Crc, committedLength == 0);
    }

    /// <summary>Reads the committed entries in the order of the file.</summary>
    /// <param name="fs">The disk.</param>
    /// <param name="path">The file.</param>
    /// <param name="directoryId">The data directory's random id.</param>
    /// <param name="number">The file's number.</param>
    /// <param name="committedLength">Length in the manifest.</param>
    /// <param name="committedCrc">CRC-32C in the manifest.</param>
    /// <param name="visitor">Gets each entry that verifies; the run is valid only during the call.</param>
    /// <param name="cancel">Checked at each read.</param>
    /// <returns>How many entries were read, and what was damaged and skipped.</returns>
    /// <exception cref="CorruptFileException">The file is shorter than committed, or absent.</exception>
    /// <exception cref="NewerFormatException">A later program wrote the file: it is whole, but must not be read by guessing.</exception>
    public static SeriesFileReport Load(
        IFileSystem fs,
        string path,
        Guid directoryId,
        long number,
        long committedLength,
        uint committedCrc,
        SeriesVisitor visitor,
        CancellationToken cancel = default)
    {
        CheckLength(fs, path, committedLength);
        using IFile file = fs.OpenRead(path);
        using var scan = new SeriesFileScan(file, FrameFormat.Salt(directoryId, Kind, number), number, committedLength);
        return scan.Run(committedCrc, visitor, cancel);
    }

    /// <summary>What is wrong with a header, or null.</summary>
    /// <exception cref="NewerFormatException">It verifies and names another version.</exception>
    internal static string? ProblemOf(ReadOnlySpan<byte> header, uint salt, long number, string path)
    {
        if (header.Length < HeaderBytes) return "the header is cut off";
        if (!header.StartsWith(Magic)) return "the magic differs: not a dictionary file";
        if (BinaryPrimitives.ReadUInt32LittleEndian(header[CrcAt..]) != HeaderCrc(header, salt))
            return "the header's checksum differs: damaged, or of another data directory";
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(header[VersionAt..]);
        if (version != Version) throw new NewerFormatException(path, VersionAt, version, Version);
        long found = BinaryPrimitives.ReadInt64LittleEndian(header[NumberAt..]);
        return found == number ? null : $"the header names file {found} instead of {number}";
    }

    private static IFile OpenAtCommitted(IFileSystem fs, string path, long committedLength)
    {
        // A file that the manifest does not name may still be there: the rest of a flush that was aborted right after creating it.
        if (committedLength == 0 && fs.FileSize(path) is null) return fs.CreateNew(path);
        CheckLength(fs, path, committedLength);
        IFile file = fs.OpenAppendable(path);
        try
        {
            if (file.Length > committedLength) file.SetLength(committedLength);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void CheckLength(IFileSystem fs, string path, long committedLength)
    {
        long length = fs.FileSize(path) ?? throw new CorruptFileException(path, 0, $"absent; {committedLength} bytes are committed");
        if (length < committedLength) throw new CorruptFileException(path, length, $"the file ends here; {committedLength} bytes are committed");
    }

    private static void WriteHeader(Span<byte> header, uint salt, long number)
    {
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[VersionAt..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(header[NumberAt..], number);
        BinaryPrimitives.WriteUInt32LittleEndian(header[CrcAt..], HeaderCrc(header, salt));
    }

    private static uint HeaderCrc(ReadOnlySpan<byte> header, uint salt)
    {
        Span<byte> prefix = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(prefix, salt);
        return Crc32C.Of(prefix, header[..CrcAt]);
    }

    private static void WriteEntry(PieceWriter pieces, uint salt, ulong id, ReadOnlySpan<byte> run)
    {
        Invariant.Check(id != 0 && run.Length is > 0 and <= MaxRunBytes, "a series has an id and a label run that an entry can hold");
        int payload = IdBytes + run.Length;
        Span<byte> frame = pieces.Reserve((int)FrameFormat.SizeOf(payload));
        Span<byte> idBytes = frame.Slice(FrameFormat.HeaderBytes, IdBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(idBytes, id);
        FrameFormat.WriteHeader(frame, salt, EntryType, idBytes, run);
        run.CopyTo(frame[(FrameFormat.HeaderBytes + IdBytes)..]);
        frame[(FrameFormat.HeaderBytes + payload)..].Clear();
    }

    /// <summary>Gathers bytes and writes them in pieces, keeping length and checksum. The file is the caller's.</summary>
    private sealed class PieceWriter : IDisposable
    {
        private readonly IFile _file;
        private readonly PooledBuffer _piece = PooledBuffer.Rent(PieceBytes);
        private long _written;
        private uint _crcState;

        public PieceWriter(IFile file, long length, uint crc)
        {
            _file = file;
            _written = length;
            _crcState = length == 0 ? uint.MaxValue : ~crc;
        }

        public long Length => _written + _piece.Length;

        // Exact after Flush.
        public uint Crc => ~_crcState;

        public Span<byte> Reserve(int length)
        {
            if (_piece.Length + length > PieceBytes) Flush();
            int start = _piece.Length;
            _piece.Reserve(length);
            _piece.SetLength(start + length);
            return _piece.Span[start..];
        }

        public void Flush()
        {
            if (_piece.Length == 0) return;
            _file.Write(_written, _piece.Span);
            _crcState = Crc32C.Update(_crcState, _piece.Span);
            _written += _piece.Length;
            _piece.SetLength(0);
        }

        public void Dispose() => _piece.Dispose();
    }
}
