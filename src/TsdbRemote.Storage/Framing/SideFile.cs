using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Framing;

/// <summary>Gets a record of a <see cref="SideFile"/>; the bytes are valid during the call only.</summary>
/// <returns>False if they are not what a record of this file may be.</returns>
public delegate bool SideFileVisitor(ReadOnlySpan<byte> record);

/// <summary>
/// A small file beside the manifest that is written whole and replaced as one, such as <c>METADATA</c>: what it says needs no word in the manifest, because
/// nothing is lost by an older version of it that the log does not hold. See docs/formats/side-files.md.
/// </summary>
/// <remarks>
/// <code>
/// header   ┌ magic 8 ┬ version u32 ┬ crc32c u32 of salt and the 12 before ┐                            16 bytes, little-endian
/// record   ┌ frame header 9, type 1 ┬ payload ┬ zeros to a multiple of 4 ┐                             as FrameFormat has it
/// end      ┌ frame header 9, type 2 ┬ number of records u64 ┬ zeros to a multiple of 4 ┐               nothing follows
/// </code>
/// Salted with the data directory's id and the file's name, so that one of another directory does not verify. Order of a write: temporary file, sync, rename,
/// sync of the directory. Stateless.
/// </remarks>
public static class SideFile
{
    /// <summary>Suffix of a file that is being written.</summary>
    public const string TemporarySuffix = ".tmp";

    /// <summary>Longest payload of a record.</summary>
    public const int MaxRecordBytes = 2 << 20;

    private const byte RecordType = 1;
    private const byte EndType = 2;
    private const int VersionAt = 8;
    private const int CrcAt = 12;
    private const int HeaderBytes = 16;
    private const int PieceBytes = 1 << 20;

    /// <summary>Replaces the file, durably.</summary>
    /// <param name="fs">The disk.</param>
    /// <param name="path">The file.</param>
    /// <param name="kind">What the file is.</param>
    /// <param name="directoryId">The data directory's random id.</param>
    /// <param name="records">Appends one record after the other to the buffer that it is given, which is empty each time; false when there is none left.</param>
    /// <exception cref="DiskException">A step failed. Unless it was the sync of the directory, the old file stands.</exception>
    public static void Write(IFileSystem fs, string path, SideFileKind kind, Guid directoryId, Func<PooledBuffer, bool> records)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(kind);
        ArgumentNullException.ThrowIfNull(records);
        string temporary = path + TemporarySuffix;

        // Never the file whose sync failed: what the kernel kept of that is unknowable.
        if (fs.FileSize(temporary) is not null) fs.Unlink(temporary);
        using (IFile file = fs.CreateNew(temporary))
        {
            WriteTo(file, kind, FrameFormat.Salt(directoryId, kind.Name, number: 0), records);
            file.SyncAll();
        }

        fs.Rename(temporary, path);
        fs.SyncDir(Path.GetDirectoryName(path) is { Length: > 0 } directory ? directory : ".");
    }

    /// <summary>Reads the file's records in their order.</summary>
    /// <param name="fs">The disk.</param>
    /// <param name="path">The file, which is there.</param>
    /// <param name="kind">What the file is.</param>
    /// <param name="directoryId">The data directory's random id.</param>
    /// <param name="visitor">Gets each record that verifies, up to the first that does not.</param>
    /// <exception cref="CorruptFileException">The file is damaged: what came before the place was visited.</exception>
    /// <exception cref="NewerFormatException">A later program wrote the file: it is whole, but must not be read by guessing.</exception>
    public static void Load(IFileSystem fs, string path, SideFileKind kind, Guid directoryId, SideFileVisitor visitor)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(kind);
        ArgumentNullException.ThrowIfNull(visitor);
        uint salt = FrameFormat.Salt(directoryId, kind.Name, number: 0);
        using IFile file = fs.OpenRead(path);
        using PooledBuffer window = PooledBuffer.Rent(PieceBytes + (int)FrameFormat.SizeOf(MaxRecordBytes));
        long at = 0;
        Fill(file, window, at);
        CheckHeader(window.Span, kind, salt, path);
        int used = HeaderBytes;
        for (ulong count = 0; ; count++)
        {
            if (window.Length - used < FrameFormat.SizeOf(MaxRecordBytes) && at + window.Length < file.Length)
            {
                at += used;
                used = 0;
                Fill(file, window, at);
            }

            ReadOnlySpan<byte> rest = window.Span[used..];
            FrameStatus status = FrameFormat.TryRead(rest, salt, MaxRecordBytes, out byte type, out ReadOnlySpan<byte> payload);
            if (status != FrameStatus.Valid) throw Damaged(path, at + used, status == FrameStatus.End ? "the end is missing" : "a record does not verify");
            used += (int)FrameFormat.SizeOf(payload.Length);
            if (type == EndType && payload.Length == sizeof(ulong))
            {
                if (BinaryPrimitives.ReadUInt64LittleEndian(payload) != count || at + used != file.Length) throw Damaged(path, at + used, "records are missing, or follow the end");
                return;
            }

            if (type != RecordType || used > window.Length || !visitor(payload)) throw Damaged(path, at + used, "a record is not what this file may hold");
        }
    }

    /// <summary>Refuses a file of a later version, and nothing else: damage is for who reads it.</summary>
    /// <exception cref="NewerFormatException">A later program wrote the file.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static void CheckVersion(IFileSystem fs, string path, SideFileKind kind, Guid directoryId)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(kind);
        if (fs.FileSize(path) is null) return;
        Span<byte> header = stackalloc byte[HeaderBytes];
        using IFile file = fs.OpenRead(path);
        int read = file.Read(0, header);
        try
        {
            CheckHeader(header[..read], kind, FrameFormat.Salt(directoryId, kind.Name, number: 0), path);
        }
        catch (CorruptFileException damaged) when (damaged is not NewerFormatException)
        {
            // And therefore it is put aside once it is read.
        }
    }

    private static void WriteTo(IFile file, SideFileKind kind, uint salt, Func<PooledBuffer, bool> records)
    {
        using PooledBuffer piece = PooledBuffer.Rent(PieceBytes);
        using PooledBuffer record = PooledBuffer.Rent(4096);
        Span<byte> header = piece.Reserve(HeaderBytes);
        kind.Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[VersionAt..], kind.Version);
        BinaryPrimitives.WriteUInt32LittleEndian(header[CrcAt..], HeaderCrc(header, salt));
        piece.SetLength(HeaderBytes);
        long written = 0;
        ulong count = 0;
        for (; records(record); count++)
        {
            Invariant.Check(record.Length is > 0 and <= MaxRecordBytes, "a record of a side file has a length that can be read");
            Append(piece, salt, RecordType, record.Span);
            record.SetLength(0);
            if (piece.Length < PieceBytes) continue;
            file.Write(written, piece.Span);
            written += piece.Length;
            piece.SetLength(0);
        }

        Span<byte> end = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(end, count);
        Append(piece, salt, EndType, end);
        file.Write(written, piece.Span);
    }

    private static void Append(PooledBuffer piece, uint salt, byte type, ReadOnlySpan<byte> payload)
    {
        Span<byte> space = piece.Reserve((int)FrameFormat.SizeOf(payload.Length));
        piece.SetLength(piece.Length + FrameFormat.Write(space, salt, type, payload));
    }

    private static void Fill(IFile file, PooledBuffer window, long at)
    {
        window.SetLength(window.Capacity);
        window.SetLength(file.Read(at, window.Span));
    }

    private static void CheckHeader(ReadOnlySpan<byte> header, SideFileKind kind, uint salt, string path)
    {
        if (header.Length < HeaderBytes || !header.StartsWith(kind.Magic)) throw Damaged(path, 0, "the magic differs");
        if (BinaryPrimitives.ReadUInt32LittleEndian(header[CrcAt..]) != HeaderCrc(header, salt))
            throw Damaged(path, 0, "the header's checksum differs: damaged, or of another data directory");
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(header[VersionAt..]);
        if (version != kind.Version) throw new NewerFormatException(path, VersionAt, version, kind.Version);
    }

    private static uint HeaderCrc(ReadOnlySpan<byte> header, uint salt)
    {
        Span<byte> prefix = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(prefix, salt);
        return Crc32C.Of(prefix, header[..CrcAt]);
    }

    private static CorruptFileException Damaged(string path, long offset, string what) => new(path, offset, what);
}

/// <summary>What a <see cref="SideFile"/> is.</summary>
/// <param name="Name">Name of the file in its directory, and part of the salt.</param>
/// <param name="Magic">Its first eight bytes.</param>
/// <param name="Version">Version of its records.</param>
public sealed record SideFileKind(string Name, byte[] Magic, uint Version);
