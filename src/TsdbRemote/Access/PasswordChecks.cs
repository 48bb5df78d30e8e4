using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Access;

/// <summary>What a check of a password said.</summary>
internal enum PasswordVerdict
{
    /// <summary>It is the right one.</summary>
    Right,

    /// <summary>It is not.</summary>
    Wrong,

    /// <summary>Too many wait to be checked; nothing is known about it.</summary>
    Busy,
}

/// <summary>bcrypt, one at a time, and what it said before.</summary>
/// <remarks>
/// A check takes a tenth of a second of a processor and more, on purpose. So no two run side by side, few wait, and the rest is told to come again: a flood of wrong passwords costs one
/// processor at most, and a right password that was seen before costs none. Known answers are kept under a keyed hash over user, stored hash and password, in tables of a fixed size, right and
/// wrong ones apart so that a flood of wrong ones pushes no right one out; a new answer takes the place of an old one. With the stored hash in the key a reload forgets nothing
/// and makes nothing true that is not. Thread-safe.
/// </remarks>
/// <param name="metrics">Counts runs of bcrypt.</param>
/// <param name="slots">Answers kept of each kind.</param>
internal sealed class PasswordChecks(AccessMetrics metrics, int slots = 1024) : IDisposable
{
    // At cost 10 a check takes 0.1 to 0.2 s, so the last of them waits some 10 s; a sender's own time for a request is 30 s.
    private const int MaxWaiting = 64;

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly byte[]?[] _right = new byte[]?[slots];
    private readonly byte[]?[] _wrong = new byte[]?[slots];
    private readonly SemaphoreSlim _turn = new(1);
    private int _waiting;

    /// <summary>Checks a password. Takes as long for a user who does not exist.</summary>
    /// <param name="user">Who claims to send.</param>
    /// <param name="hash">The bcrypt hash to check against; of a user who does not exist, any of the same cost.</param>
    /// <param name="exists">Whether he does.</param>
    /// <param name="password">What he sent; bcrypt looks at its first 72 bytes.</param>
    /// <param name="cancel">Gives up waiting.</param>
    public async ValueTask<PasswordVerdict> CheckAsync(string user, string hash, bool exists, string password, CancellationToken cancel)
    {
        byte[] digest = Digest(user, hash, password);
        if (Known(digest) is { } known) return known;
        if (Interlocked.Increment(ref _waiting) > MaxWaiting)
        {
            Interlocked.Decrement(ref _waiting);
            return PasswordVerdict.Busy;
        }

        try
        {
            await _turn.WaitAsync(cancel);
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }

        try
        {
            // Whoever was before us may have asked the same: senders open many connections at once.
            if (Known(digest) is { } meanwhile) return meanwhile;
            metrics.PasswordChecked();
            bool isRight = BCrypt.Net.BCrypt.Verify(password, hash) & exists;
            Volatile.Write(ref (isRight ? _right : _wrong)[SlotOf(digest)], digest);
            return isRight ? PasswordVerdict.Right : PasswordVerdict.Wrong;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    private int SlotOf(byte[] digest) => (int)(BinaryPrimitives.ReadUInt32LittleEndian(digest) % (uint)slots);

    private bool IsIn(byte[]?[] table, byte[] digest) =>
        Volatile.Read(ref table[SlotOf(digest)]) is { } kept && CryptographicOperations.FixedTimeEquals(kept, digest);

    private PasswordVerdict? Known(byte[] digest) => IsIn(_right, digest) ? PasswordVerdict.Right : IsIn(_wrong, digest) ? PasswordVerdict.Wrong : null;

    /// <summary>Lengths stand before what varies: no two triples are the same bytes.</summary>
    private byte[] Digest(string user, string hash, string password)
    {
        int userBytes = Encoding.UTF8.GetByteCount(user);
        int hashBytes = Encoding.UTF8.GetByteCount(hash);
        byte[] text = new byte[2 * sizeof(int) + userBytes + hashBytes + Encoding.UTF8.GetByteCount(password)];
        BinaryPrimitives.WriteInt32LittleEndian(text, userBytes);
        BinaryPrimitives.WriteInt32LittleEndian(text.AsSpan(sizeof(int)), hashBytes);
        Span<byte> rest = text.AsSpan(2 * sizeof(int));
        rest = rest[Encoding.UTF8.GetBytes(user, rest)..];
        rest = rest[Encoding.UTF8.GetBytes(hash, rest)..];
        Encoding.UTF8.GetBytes(password, rest);
        byte[] digest = HMACSHA256.HashData(_key, text);
        CryptographicOperations.ZeroMemory(text);
        return digest;
    }
}
