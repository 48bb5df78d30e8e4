using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
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
/// processor at most, and a right password that was seen before costs none. Known answers are kept as a keyed hash over user, stored hash and password: the last right one of each user, and wrong ones in a table of a fixed size, where a new one takes the
/// place of an old one. With the stored hash in the key a reload forgets nothing
/// and makes nothing true that is not. Thread-safe.
/// </remarks>
/// <param name="metrics">Counts runs of bcrypt.</param>
/// <param name="slots">Wrong answers kept.</param>
internal sealed class PasswordChecks(AccessMetrics metrics, int slots = 1024) : IDisposable
{
    // At cost 10 a check takes 0.1 to 0.2 s, so the last of them waits some 10 s; a sender's own time for a request is 30 s.
    private const int MaxWaiting = 64;

    // Of one address, so that a stranger alone cannot keep others from their first login.
    private const int MaxWaitingOfOne = 4;

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly ConcurrentDictionary<string, byte[]> _right = new(StringComparer.Ordinal);
    private readonly byte[]?[] _wrong = new byte[]?[slots];
    private readonly SemaphoreSlim _turn = new(1);

    // Checks that run or wait by what is checked, and how many of each address: both guarded by the first.
    private readonly Dictionary<string, Task<PasswordVerdict>> _checks = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _waitingOf = new(StringComparer.Ordinal);

    /// <summary>Checks a password. Takes as long for a user who does not exist.</summary>
    /// <param name="user">Who claims to send.</param>
    /// <param name="hash">The bcrypt hash to check against; of a user who does not exist, any of the same cost.</param>
    /// <param name="exists">Whether he does.</param>
    /// <param name="password">What he sent; bcrypt looks at its first 72 bytes.</param>
    /// <param name="from">His address, as far as it tells one from another: <see cref="PlaceOf"/>.</param>
    /// <param name="cancel">Gives up waiting.</param>
    public async ValueTask<PasswordVerdict> CheckAsync(string user, string hash, bool exists, string password, string from, CancellationToken cancel)
    {
        byte[] digest = Digest(user, hash, password);
        if (Known(user, digest) is { } known) return known;
        string guess = Convert.ToHexString(digest);
        Task<PasswordVerdict>? check;
        TaskCompletionSource<PasswordVerdict>? mine = null;
        lock (_checks)
        {
            // Senders open many connections at once: they wait for one check together.
            if (!_checks.TryGetValue(guess, out check))
            {
                if (_checks.Count == MaxWaiting || _waitingOf.GetValueOrDefault(from) == MaxWaitingOfOne) return PasswordVerdict.Busy;
                mine = new TaskCompletionSource<PasswordVerdict>(TaskCreationOptions.RunContinuationsAsynchronously);
                _checks.Add(guess, check = mine.Task);
                _waitingOf[from] = _waitingOf.GetValueOrDefault(from) + 1;
            }
        }

        // Not the first asker's to cancel: others may wait for it.
        if (mine is not null) _ = RunAsync(new Guess(user, hash, exists, password, from, digest), guess, mine);
        return await check.WaitAsync(cancel);
    }

    /// <summary>Where somebody sends from: the address, or of IPv6 its first 64 bits, for the others are his own to choose.</summary>
    public static string PlaceOf(IPAddress? address)
    {
        if (address is null) return "";
        if (address.IsIPv4MappedToIPv6) return address.MapToIPv4().ToString();
        return address.AddressFamily == AddressFamily.InterNetworkV6 ? Convert.ToHexString(address.GetAddressBytes().AsSpan(0, 8)) : address.ToString();
    }

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();

    private int SlotOf(byte[] digest) => (int)(BinaryPrimitives.ReadUInt32LittleEndian(digest) % (uint)slots);

    private PasswordVerdict? Known(string user, byte[] digest)
    {
        if (_right.TryGetValue(user, out byte[]? right) && CryptographicOperations.FixedTimeEquals(right, digest)) return PasswordVerdict.Right;
        return Volatile.Read(ref _wrong[SlotOf(digest)]) is { } wrong && CryptographicOperations.FixedTimeEquals(wrong, digest) ? PasswordVerdict.Wrong : null;
    }

    private async Task RunAsync(Guess guess, string key, TaskCompletionSource<PasswordVerdict> verdict)
    {
        await _turn.WaitAsync();
        try
        {
            metrics.PasswordChecked();
            bool isRight = BCrypt.Net.BCrypt.Verify(guess.Password, guess.Hash) & guess.Exists;
            if (isRight) _right[guess.User] = guess.Digest;
            else Volatile.Write(ref _wrong[SlotOf(guess.Digest)], guess.Digest);
            verdict.SetResult(isRight ? PasswordVerdict.Right : PasswordVerdict.Wrong);
        }
        catch (Exception failure)
        {
            verdict.SetException(failure);
        }
        finally
        {
            _turn.Release();
            lock (_checks)
            {
                _checks.Remove(key);
                if (--_waitingOf[guess.From] == 0) _waitingOf.Remove(guess.From);
            }
        }
    }

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

    private sealed record Guess(string User, string Hash, bool Exists, string Password, string From, byte[] Digest);
}
