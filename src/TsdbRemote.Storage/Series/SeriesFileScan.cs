using System.Buffers.Binary;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Framing;

namespace TsdbRemote.Storage.Series;

/// <summary>Gets one entry of a dictionary file.</summary>
/// <param name="id">The series' id, never 0.</param>
/// <param name="run">Its labels; valid only during the call.</param>
public delegate void SeriesVisitor(ulong id, ReadOnlySpan<byte> run);

/// <summary>One damaged place of a dictionary file.</summary>
/// <param name="Offset">Where it begins, in bytes.</param>
/// <param name="Length">Bytes skipped; 0 if none had to be.</param>
/// <param name="Reason">What was found.</param>
public sealed record SeriesFileDamage(long Offset, long Length, string Reason);

/// <summary>What a load found.</summary>
/// <param name="Entries">Entries that verified and were handed out.</param>
/// <param name="Damage">Damaged places in order of offsets; the first thousand.</param>
/// <param name="DamageCount">All damaged places.</param>
public sealed record SeriesFileReport(long Entries, IReadOnlyList<SeriesFileDamage> Damage, long DamageCount);

/// <summary>One pass over a dictionary file in big reads, stepping over what does not verify.</summary>
/// <remarks>
/// After a bad frame the next good one is sought in steps of 4 bytes, where every frame begins: the salted checksum makes a false find as
/// improbable as an undetected error. Use: <see cref="Run"/> once, then dispose. Not thread-safe.
/// </remarks>
internal sealed class SeriesFileScan : IDisposable
{
    private const int WindowBytes = 4 << 20;
    private const int MaxDamageKept = 1000;
    private static readonly int MaxFrameBytes = (int)FrameFormat.SizeOf(SeriesFile.MaxPayloadBytes);

    private readonly IFile _file;
    private readonly uint _salt;
    private readonly long _number;
    private readonly long _end;
    private readonly PooledBuffer _window = PooledBuffer.Rent(WindowBytes);
    private readonly List<SeriesFileDamage> _damage = [];
    private long _windowStart;
    private int _position;
    private uint _crcState = uint.MaxValue;
    private long _damageCount;
    private long _entries;

    /// <summary>Prepares a pass over the first <paramref name="end"/> bytes.</summary>
    public SeriesFileScan(IFile file, uint salt, long number, long end)
    {
        _file = file;
        _salt = salt;
        _number = number;
        _end = end;
    }

    private long Offset => _windowStart + _position;

    /// <summary>Hands every good entry out.</summary>
    public SeriesFileReport Run(uint committedCrc, SeriesVisitor visitor, CancellationToken cancel)
    {
        Fill(cancel);
        if (SeriesFile.ProblemOf(_window.Span, _salt, _number, _file.Path) is { } problem) Report(0, 0, problem);
        _position = Math.Min(SeriesFile.HeaderBytes, _window.Length);
        while (Fill(cancel))
        {
            if (!TryEntry(visitor, out string? reason)) SkipDamage(reason, cancel);
        }

        if (~_crcState != committedCrc && _damageCount == 0)
            Report(_end, 0, "every entry verifies, but the checksum over the whole differs from the manifest's");
        return new SeriesFileReport(_entries, _damage, _damageCount);
    }

    /// <inheritdoc/>
    public void Dispose() => _window.Dispose();

    // Makes at least one whole frame, or all that is left, available at the position. False at the end.
    private bool Fill(CancellationToken cancel)
    {
        int left = _window.Length - _position;
        long unread = _end - _windowStart - _window.Length;
        if (left >= MaxFrameBytes || unread == 0) return left > 0;
        cancel.ThrowIfCancellationRequested();
        _window.Span[_position..].CopyTo(_window.Span);
        _windowStart += _position;
        _position = 0;
        int wanted = (int)Math.Min(WindowBytes - left, unread);
        _window.SetLength(left + wanted);
        Span<byte> target = _window.Span[left..];
        int read = _file.Read(_windowStart + left, target);
        if (read < wanted)
            throw new CorruptFileException(_file.Path, _windowStart + left + read, $"the file ends here; {_end} bytes are committed");
        _crcState = Crc32C.Update(_crcState, target);
        return true;
    }

    private bool TryEntry(SeriesVisitor visitor, out string reason)
    {
        ReadOnlySpan<byte> rest = _window.Span[_position..];
        FrameStatus status = FrameFormat.TryRead(rest, _salt, SeriesFile.MaxPayloadBytes, out byte type, out ReadOnlySpan<byte> payload);
        reason = "";
        if (status != FrameStatus.Valid)
        {
            reason = Describe(status, rest);
            return false;
        }

        if (type != SeriesFile.EntryType)
            throw new NewerFormatException(_file.Path, Offset, $"entry type {type}, which this program does not know: a later one wrote it");
        int size = (int)Math.Min(FrameFormat.SizeOf(payload.Length), rest.Length); // the file may end before the padding
        if (IsEntry(payload))
        {
            visitor(BinaryPrimitives.ReadUInt64LittleEndian(payload), payload[SeriesFile.IdBytes..]);
            _entries++;
        }
        else
        {
            Report(Offset, size, "the entry verifies but holds no id with labels");
        }

        _position += size;
        return true;
    }

    // A frame that verifies was written so; but nothing behind this door may meet labels that are none.
    private static bool IsEntry(ReadOnlySpan<byte> payload)
    {
        if (payload.Length <= SeriesFile.IdBytes || BinaryPrimitives.ReadUInt64LittleEndian(payload) == 0) return false;
        var labels = new LabelRunReader(payload[SeriesFile.IdBytes..]);
        while (labels.MoveNext())
        {
        }

        return !labels.IsMalformed;
    }

    private void SkipDamage(string reason, CancellationToken cancel)
    {
        long start = Offset;
        do
        {
            _position = Math.Min(_position + FrameFormat.Alignment, _window.Length);
        }
        while (Fill(cancel) && !FrameStartsHere());
        Report(start, Offset - start, reason);
    }

    private bool FrameStartsHere() =>
        FrameFormat.TryRead(_window.Span[_position..], _salt, SeriesFile.MaxPayloadBytes, out _, out _) == FrameStatus.Valid;

    // The id field is part of what did not verify; it is named because it mostly tells which series lost its labels.
    private static string Describe(FrameStatus status, ReadOnlySpan<byte> rest)
    {
        string what = status switch
        {
            FrameStatus.BadChecksum => "the entry's checksum differs",
            FrameStatus.BadLength => $"the entry's length {BinaryPrimitives.ReadUInt32LittleEndian(rest)} cannot be",
            _ => "there is no entry where one must begin",
        };
        return rest.Length < FrameFormat.HeaderBytes + SeriesFile.IdBytes
            ? what
            : $"{what}; its id field reads {BinaryPrimitives.ReadUInt64LittleEndian(rest[FrameFormat.HeaderBytes..])}";
    }

    private void Report(long offset, long length, string reason)
    {
        if (_damageCount++ < MaxDamageKept) _damage.Add(new SeriesFileDamage(offset, length, reason));
    }
}
