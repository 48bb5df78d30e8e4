using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Text;
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
/// ┌ magic "TSDBREP2" 8 ┬ starts u32 ┬ repeats u32 ┬ sequence u64 ┬ 8 × (first u64, last u64) ┬ crc32c u32 of salt and the 152 before ┐     little-endian
/// </code>
/// Use:     <see cref="Begin"/> before the replay; <see cref="Working"/> before each group of records and <see cref="Rested"/> behind the last, or in a careful replay <see cref="At"/> before
///          each record and <see cref="Passed"/> behind it; <see cref="Clear"/> once it is over, or has ended for a reason that was told.
/// How:     a replay works on many records side by side, so the first start that ends in it leaves only which they were: of each segment in work those from a first to a last. The next goes
///          record by record and notes each one first. If it ends at one of those that the first had in work, then two starts in a row ended with that record in work, and it is to blame; so
///          it is once two careful ones in a row ended at it. The segment alone would be too little to ask of the first: where there is but one, any kill in the second would be held against
///          a record. A process that is killed for another reason ends among other records each time, or between two, or behind the last. A log of a few records may be in work as a whole,
///          and is through in milliseconds.
/// Costs:   a start without a log nothing, any other a write of 156 bytes for each group of records, a careful one two for each record. Nothing is synced: what the kernel has outlives the
///          process; a power cut is no record's fault, and a note from before one counts as none.
/// Changed in place, and no harm done: what does not verify counts as no note. Thread-safe.
/// </remarks>
internal sealed class ReplayNote : IDisposable
{
    // Starts in a row that end with one record in work before it is blamed.
    private const uint BlamedAfter = 2;
    private const int StartsAt = 8;
    private const int RepeatsAt = 12;
    private const int SequenceAt = 16;
    private const int WorkAt = 24;

    // Segments that are replayed side by side, at most.
    private const int Slots = 8;
    private const int SlotBytes = 16;
    private const int CrcAt = WorkAt + Slots * SlotBytes;
    private const int Bytes = CrcAt + sizeof(uint);

    private readonly IFileSystem _files;
    private readonly string _path;
    private readonly uint _salt;
    private readonly Place _before;
    private readonly ILogger _log;
    private readonly ImmutableHashSet<ulong> _givenUp;
    private readonly ConcurrentDictionary<ulong, bool> _met = [];

    // Guards the two below.
    private readonly Lock _lock = new();
    private readonly (ulong First, ulong Last)[] _work = new (ulong First, ulong Last)[Slots];
    private IFile? _file;

    private ReplayNote(IFileSystem files, string path, uint salt, Place before, ImmutableHashSet<ulong> givenUp, ILogger log)
    {
        _log = log;
        _givenUp = givenUp;
        _files = files;
        _path = path;
        _salt = salt;
        _before = before;
    }

    private static ReadOnlySpan<byte> Magic => "TSDBREP2"u8;

    /// <summary>True if the start before this one ended in the replay: then one record after the other is to be decoded and appended.</summary>
    public bool IsCareful => _before.Starts > 0;

    /// <summary>The records that the operator gives up and the replay did not come across: of those the option says nothing about this log any more.</summary>
    public IEnumerable<ulong> GivenUpInVain => _givenUp.Where(sequence => !_met.ContainsKey(sequence)).Order();

    /// <summary>True for a record that the operator gives up: it is neither decoded nor appended.</summary>
    public bool IsGivenUp(ulong sequence) => _givenUp.Contains(sequence) && (_met[sequence] = true);

    /// <summary>Takes note that a replay begins.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="paths">The data directory.</param>
    /// <param name="directoryId">Its random id.</param>
    /// <param name="hasLog">False if there is nothing to replay: then nothing is written.</param>
    /// <param name="givenUp">Sequences of the records that the operator gives up.</param>
    /// <param name="log">Where events go.</param>
    /// <exception cref="DataDirectoryException">The starts before this one ended at one record, and nobody has given that up.</exception>
    /// <exception cref="DiskException">The disk refused, for another reason than that it is full.</exception>
    public static ReplayNote Begin(IFileSystem files, DataLayout paths, Guid directoryId, bool hasLog, ImmutableHashSet<ulong> givenUp, ILogger log)
    {
        // What ended with the machine was no record's fault: a note of another run of it verifies no more.
        uint salt = FrameFormat.Salt(directoryId, "REPLAY", number: Crc32C.Of(Encoding.UTF8.GetBytes(files.BootId)));
        Place before = hasLog ? Read(files, paths.Replay, salt) : Place.None;
        if (before.Repeats >= BlamedAfter && !givenUp.Contains(before.Sequence))
        {
            throw new DataDirectoryException(FormattableString.Invariant(
                $"the last {before.Starts} starts ended while the log was replayed, the last {before.Repeats} of them with record {before.Sequence} in work, of {paths.Segment(WalFormat.SegmentOf(before.Sequence))}. ")
                + $"Give --storage:wal:quarantine_record={string.Join(',', givenUp.Add(before.Sequence).Order())} to have this record put into quarantine/ and everything else served. "
                + $"If the process was killed for another reason, remove {paths.Replay} and start again");
        }

        var note = new ReplayNote(files, paths.Replay, salt, before, givenUp, log);
        if (hasLog) note.Open();
        else if (files.FileSize(paths.Replay) is not null) files.Unlink(paths.Replay);
        return note;
    }

    /// <summary>These records of one segment, and others of other segments, are about to be decoded or appended.</summary>
    public void Working(ulong first, ulong last)
    {
        lock (_lock)
        {
            int slot = SlotOf(WalFormat.SegmentOf(first));
            if (slot < 0) return; // one too many at a time: less is known of it
            _work[slot] = (first, last);
            Note(repeats: 0, sequence: 0);
        }
    }

    /// <summary>No record of this segment is in work any more: all are in its MemTable.</summary>
    public void Rested(long segment)
    {
        lock (_lock)
        {
            int slot = SlotOf(segment);
            if (slot < 0 || _work[slot] == default) return;
            _work[slot] = default;
            Note(repeats: 0, sequence: 0);
        }
    }

    /// <summary>A record is about to be decoded, and no other.</summary>
    public void At(ulong sequence)
    {
        uint repeats = 1;
        if (sequence == _before.Sequence) repeats += _before.Repeats;
        else if (_before.Work.Any(work => work.First <= sequence && sequence <= work.Last)) repeats++;
        Note(repeats, sequence);
    }

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
            TryUnlink(failed);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock) _file?.Dispose();
    }

    private void TryUnlink(Action<string, IOException> failed)
    {
        try
        {
            _files.Unlink(_path);
        }
        catch (DiskException failure)
        {
            failed(_path, failure);
        }
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
            catch (DiskException failure)
            {
                // And therefore a start that ends from here on is not counted: what is noted is passed, and nobody must be blamed for it.
                Log.ReplayNotCounted(_log, failure);
                _file.Dispose();
                _file = null;
                TryUnlink(static (_, _) => { });
            }
        }
    }

    private static Place Read(IFileSystem files, string path, uint salt)
    {
        if (files.FileSize(path) is null) return Place.None;
        Span<byte> note = stackalloc byte[Bytes];
        using IFile file = files.OpenRead(path);
        if (file.Read(0, note) < Bytes || !note.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(note[CrcAt..]) != Crc(note, salt)) return Place.None;
        var work = new (ulong First, ulong Last)[Slots];
        for (int slot = 0; slot < Slots; slot++)
        {
            ReadOnlySpan<byte> at = note.Slice(WorkAt + slot * SlotBytes, SlotBytes);
            work[slot] = (BinaryPrimitives.ReadUInt64LittleEndian(at), BinaryPrimitives.ReadUInt64LittleEndian(at[sizeof(ulong)..]));
        }

        return new Place(
            BinaryPrimitives.ReadUInt32LittleEndian(note[StartsAt..]), BinaryPrimitives.ReadUInt32LittleEndian(note[RepeatsAt..]),
            BinaryPrimitives.ReadUInt64LittleEndian(note[SequenceAt..]), work);
    }

    private static uint Crc(ReadOnlySpan<byte> note, uint salt)
    {
        Span<byte> prefix = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(prefix, salt);
        return Crc32C.Of(prefix, note[..CrcAt]);
    }

    /// <summary>That of a segment, or one that is free; -1 if there is none. Under the lock.</summary>
    private int SlotOf(long segment)
    {
        int slot = Array.FindIndex(_work, work => work != default && WalFormat.SegmentOf(work.First) == segment);
        return slot >= 0 ? slot : Array.IndexOf(_work, default);
    }

    private void Open()
    {
        try
        {
            _file = _files.FileSize(_path) is null ? _files.CreateNew(_path) : _files.OpenAppendable(_path);
            Write(_file, repeats: 0, sequence: 0);
        }
        catch (DiskException full) when (LogFullException.IsMeantBy(full))
        {
            // And therefore starts are not counted until there is room: no reason not to serve reads. What an earlier one noted says nothing about this one.
            Log.ReplayNotCounted(_log, full);
            _file?.Dispose();
            _file = null;
            TryUnlink(static (_, _) => { });
        }
    }

    private void Write(IFile file, uint repeats, ulong sequence)
    {
        Span<byte> note = stackalloc byte[Bytes];
        Magic.CopyTo(note);
        BinaryPrimitives.WriteUInt32LittleEndian(note[StartsAt..], _before.Starts + 1);
        BinaryPrimitives.WriteUInt32LittleEndian(note[RepeatsAt..], repeats);
        BinaryPrimitives.WriteUInt64LittleEndian(note[SequenceAt..], sequence);
        for (int slot = 0; slot < Slots; slot++)
        {
            Span<byte> at = note.Slice(WorkAt + slot * SlotBytes, SlotBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(at, _work[slot].First);
            BinaryPrimitives.WriteUInt64LittleEndian(at[sizeof(ulong)..], _work[slot].Last);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(note[CrcAt..], Crc(note, _salt));
        file.Write(0, note);
    }

    /// <summary>Where the starts before this one ended.</summary>
    /// <param name="Starts">Starts in a row that ended in the replay.</param>
    /// <param name="Repeats">Of these, the last so many with one record in work.</param>
    /// <param name="Sequence">That record; 0 while none is known.</param>
    /// <param name="Work">What the last start had in work, if it was not careful; (0, 0) where there is nothing.</param>
    private sealed record Place(uint Starts, uint Repeats, ulong Sequence, (ulong First, ulong Last)[] Work)
    {
        public static Place None { get; } = new(0, 0, 0, []);
    }
}
