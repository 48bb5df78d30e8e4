using System.Buffers.Binary;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Framing;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Wal;

namespace TsdbRemote.Storage.Engine;

/// <summary>The file <c>REPLAY</c>: there while the log is replayed, so that a start can tell that the ones before it ended in the middle, and at which record.</summary>
/// <remarks>
/// <code>
/// ┌ magic "TSDBREPL" 8 ┬ starts u32 ┬ repeats u32 ┬ sequence u64 ┬ crc32c u32 of salt and the 24 before ┐     little-endian
/// </code>
/// Use:     <see cref="Begin"/> before the replay, <see cref="At"/> before each record and <see cref="Passed"/> behind it, <see cref="Clear"/> once it is over, or has ended for a reason that was told.
/// How:     a replay decodes many records side by side, so the first start that ends in it leaves no place. The next goes record by record and notes each one first. Once two of those in
///          a row ended at one record, that record is to blame: a process that is killed for another reason ends at another one each time, or between two, or behind the last.
/// Costs:   a start without a log nothing, any other a write of 28 bytes, a careful one two for each record. Nothing is synced: what the kernel has outlives the process, and a power
///          cut, which may take the note, is no record's fault.
/// Changed in place, and no harm done: what does not verify counts as no note. Thread-safe.
/// </remarks>
internal sealed class ReplayNote : IDisposable
{
    // Careful starts in a row that end at one record before it is blamed.
    private const uint BlamedAfter = 2;
    private const int StartsAt = 8;
    private const int RepeatsAt = 12;
    private const int SequenceAt = 16;
    private const int CrcAt = 24;
    private const int Bytes = 28;

    private readonly IFileSystem _files;
    private readonly string _path;
    private readonly uint _salt;
    private readonly ulong _blamed;
    private readonly uint _blames;
    private readonly uint _starts;
    private readonly ulong? _givenUp;

    // Guards the file.
    private readonly Lock _lock = new();
    private IFile? _file;

    private ReplayNote(IFileSystem files, string path, uint salt, (uint Starts, uint Repeats, ulong Sequence) before, ulong? givenUp)
    {
        _givenUp = givenUp;
        _files = files;
        _path = path;
        _salt = salt;
        _starts = before.Starts + 1;
        (_blames, _blamed) = (before.Repeats, before.Sequence);
    }

    private static ReadOnlySpan<byte> Magic => "TSDBREPL"u8;

    /// <summary>True if the start before this one ended in the replay: then one record after the other is to be decoded and appended.</summary>
    public bool IsCareful => _starts > 1;

    /// <summary>True for the record that the operator gives up: it is neither decoded nor appended.</summary>
    public bool IsGivenUp(ulong sequence) => sequence == _givenUp;

    /// <summary>Takes note that a replay begins.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="directoryId">Its random id.</param>
    /// <param name="hasLog">False if there is nothing to replay: then nothing is written.</param>
    /// <param name="givenUp">Sequence of the record that the operator gives up; null for none.</param>
    /// <param name="log">Where events go.</param>
    /// <exception cref="DataDirectoryException">The starts before this one ended at one record, and nobody has given that up.</exception>
    /// <exception cref="DiskException">The disk refused, for another reason than that it is full.</exception>
    public static ReplayNote Begin(IFileSystem files, DataLayout paths, Guid directoryId, bool hasLog, ulong? givenUp, ILogger log)
    {
        uint salt = FrameFormat.Salt(directoryId, "REPLAY", number: 0);
        (uint Starts, uint Repeats, ulong Sequence) before = hasLog ? Read(files, paths.Replay, salt) : default;
        if (before.Repeats >= BlamedAfter && before.Sequence != givenUp)
        {
            throw new DataDirectoryException(FormattableString.Invariant(
                $"the last {before.Starts} starts ended while the log was replayed, the last {before.Repeats} of them at record {before.Sequence} of {paths.Segment(WalFormat.SegmentOf(before.Sequence))}. ")
                + FormattableString.Invariant($"Give --storage:wal:quarantine_record={before.Sequence} to have this record put into quarantine/ and everything else served. ")
                + $"If the process was killed for another reason, remove {paths.Replay} and start again");
        }

        var note = new ReplayNote(files, paths.Replay, salt, before, givenUp);
        if (hasLog) note.Open(log);
        else if (files.FileSize(paths.Replay) is not null) files.Unlink(paths.Replay);
        return note;
    }

    /// <summary>A record is about to be decoded, and no other.</summary>
    public void At(ulong sequence) => Note(sequence == _blamed ? _blames + 1 : 1, sequence);

    /// <summary>That record is in its MemTable: what ends the process between here and the next one, or behind the last, is not its fault.</summary>
    public void Passed() => Note(repeats: 0, sequence: 0);

    /// <summary>The replay is over: whatever ends this process from now on, it was not a record.</summary>
    /// <param name="failed">Told if the file could not be removed: the next start is careful for nothing.</param>
    public void Clear(Action<string, IOException> failed)
    {
        lock (_lock)
        {
            if (_file is null) return;
            _file.Dispose();
            _file = null;
            try
            {
                _files.Unlink(_path);
            }
            catch (DiskException failure)
            {
                failed(_path, failure);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock) _file?.Dispose();
    }

    private void Note(uint repeats, ulong sequence)
    {
        lock (_lock)
        {
            if (_file is null) return;
            try
            {
                Write(_file, repeats, sequence);
            }
            catch (DiskException)
            {
                // And therefore a start that ends here leaves the place before: nobody is blamed who should not be, for that one was passed.
                _file.Dispose();
                _file = null;
            }
        }
    }

    private static (uint Starts, uint Repeats, ulong Sequence) Read(IFileSystem files, string path, uint salt)
    {
        if (files.FileSize(path) is null) return default;
        Span<byte> note = stackalloc byte[Bytes];
        using IFile file = files.OpenRead(path);
        if (file.Read(0, note) < Bytes || !note.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(note[CrcAt..]) != Crc(note, salt)) return default;
        return (
            BinaryPrimitives.ReadUInt32LittleEndian(note[StartsAt..]), BinaryPrimitives.ReadUInt32LittleEndian(note[RepeatsAt..]),
            BinaryPrimitives.ReadUInt64LittleEndian(note[SequenceAt..]));
    }

    private static uint Crc(ReadOnlySpan<byte> note, uint salt)
    {
        Span<byte> prefix = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(prefix, salt);
        return Crc32C.Of(prefix, note[..CrcAt]);
    }

    private void Open(ILogger log)
    {
        try
        {
            _file = _files.FileSize(_path) is null ? _files.CreateNew(_path) : _files.OpenAppendable(_path);
            Write(_file, repeats: 0, sequence: 0);
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            // And therefore starts are not counted until there is room: no reason not to serve reads.
            Log.ReplayNotCounted(log, full);
            _file?.Dispose();
            _file = null;
        }
    }

    private void Write(IFile file, uint repeats, ulong sequence)
    {
        Span<byte> note = stackalloc byte[Bytes];
        Magic.CopyTo(note);
        BinaryPrimitives.WriteUInt32LittleEndian(note[StartsAt..], _starts);
        BinaryPrimitives.WriteUInt32LittleEndian(note[RepeatsAt..], repeats);
        BinaryPrimitives.WriteUInt64LittleEndian(note[SequenceAt..], sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(note[CrcAt..], Crc(note, _salt));
        file.Write(0, note);
    }
}
