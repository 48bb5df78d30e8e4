using System.Collections.Frozen;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;

namespace TsdbRemote.Access;

/// <summary>Somebody who shows a password.</summary>
/// <param name="name">His name.</param>
/// <param name="hash">bcrypt of the password.</param>
/// <param name="rights">What he may do.</param>
internal sealed class PasswordUser(string name, string hash, Right rights)
{
    /// <summary>His name.</summary>
    public string Name { get; } = name;

    /// <summary>bcrypt of the password.</summary>
    public string Hash { get; } = hash;

    /// <summary>What he may do.</summary>
    public Right Rights { get; } = rights;

    /// <summary>bcrypt's cost: a power of two.</summary>
    public int Cost { get; } = int.Parse(hash.AsSpan(4, 2), CultureInfo.InvariantCulture);
}

/// <summary>A token, known by its hash: it is random and long, so that a fast hash hides it well.</summary>
/// <param name="digest">SHA-256 of the token.</param>
/// <param name="rights">What its bearer may do.</param>
internal sealed class BearerToken(byte[] digest, Right rights)
{
    /// <summary>SHA-256 of the token.</summary>
    public byte[] Digest { get; } = digest;

    /// <summary>What its bearer may do.</summary>
    public Right Rights { get; } = rights;
}

/// <summary>What became of a request's credentials.</summary>
internal enum AccessOutcome
{
    /// <summary>They are right.</summary>
    Admitted,

    /// <summary>There are none.</summary>
    Missing,

    /// <summary>They are wrong, or not to be understood.</summary>
    Wrong,

    /// <summary>They cannot be checked now.</summary>
    Busy,
}

/// <summary>Users and tokens of a web-config file. Immutable, thread-safe.</summary>
/// <remarks>What takes time takes the same for names that exist and names that do not, and for every wrong token.</remarks>
internal sealed class Credentials
{
    private const string Basic = "Basic ";
    private const string Bearer = "Bearer ";

    /// <summary>A longer header is no credential of ours; bcrypt itself looks at 72 bytes of a password.</summary>
    private const int MaxHeader = 4096;

    private readonly FrozenDictionary<string, PasswordUser> _users;
    private readonly BearerToken[] _tokens;
    private readonly PasswordUser _nobody;

    /// <summary>Makes them ready to be asked.</summary>
    public Credentials(IReadOnlyCollection<PasswordUser> users, IEnumerable<BearerToken> tokens)
    {
        _users = users.ToFrozenDictionary(static user => user.Name, StringComparer.Ordinal);
        _tokens = [.. tokens];
        int cost = users.Select(static user => user.Cost).DefaultIfEmpty(4).Max();

        // Of the form of a hash, and of no password: what it takes to find that out is what a real one takes.
        _nobody = new PasswordUser("", $"$2b${cost:D2}${new string('.', 21)}u{new string('.', 31)}", Right.None);
        Challenge = _users.Count == 0 ? "Bearer" : "Basic";
    }

    /// <summary>The scheme that a 401 asks for: the one that a browser understands, if there are users.</summary>
    public string Challenge { get; }

    /// <summary>True if rights were dealt out; false if everybody who is known may do everything.</summary>
    public bool HasRights { get; init; }

    /// <summary>Judges an <c>Authorization</c> header.</summary>
    /// <param name="header">Its value; null or empty if there is none.</param>
    /// <param name="passwords">Checks passwords.</param>
    /// <param name="from">Address of who sent it.</param>
    /// <param name="cancel">Gives up waiting.</param>
    /// <returns>What became of them, and what their bearer may do.</returns>
    public async ValueTask<(AccessOutcome Outcome, Right Rights)> CheckAsync(string? header, PasswordChecks passwords, string from, CancellationToken cancel)
    {
        if (string.IsNullOrEmpty(header)) return (AccessOutcome.Missing, Right.None);
        if (header.Length > MaxHeader) return (AccessOutcome.Wrong, Right.None);
        if (header.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase)) return CheckToken(header.AsSpan(Bearer.Length).Trim(' '));
        if (_users.Count == 0 || !TryBasic(header, out string name, out string password)) return (AccessOutcome.Wrong, Right.None);
        bool exists = _users.TryGetValue(name, out PasswordUser? user);
        user ??= _nobody;
        return await passwords.CheckAsync(name, user.Hash, exists, password, from, cancel) switch
        {
            PasswordVerdict.Right => (AccessOutcome.Admitted, user.Rights),
            PasswordVerdict.Busy => (AccessOutcome.Busy, Right.None),
            _ => (AccessOutcome.Wrong, Right.None),
        };
    }

    private (AccessOutcome Outcome, Right Rights) CheckToken(ReadOnlySpan<char> token)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(token)];
        Encoding.UTF8.GetBytes(token, bytes);
        SHA256.HashData(bytes, digest);
        BearerToken? found = null;
        foreach (BearerToken known in _tokens)
        {
            // To the end, also when it is found.
            if (CryptographicOperations.FixedTimeEquals(known.Digest, digest)) found = known;
        }

        return found is null ? (AccessOutcome.Wrong, Right.None) : (AccessOutcome.Admitted, found.Rights);
    }

    private static bool TryBasic(string header, out string name, out string password)
    {
        name = password = "";
        if (!header.StartsWith(Basic, StringComparison.OrdinalIgnoreCase)) return false;
        Span<byte> bytes = stackalloc byte[MaxHeader];
        if (!Convert.TryFromBase64Chars(header.AsSpan(Basic.Length), bytes, out int length)) return false;
        ReadOnlySpan<byte> pair = bytes[..length];
        int colon = pair.IndexOf((byte)':');
        if (colon < 0 || !Utf8.IsValid(pair)) return false;
        name = Encoding.UTF8.GetString(pair[..colon]);
        password = Encoding.UTF8.GetString(pair[(colon + 1)..]);
        return true;
    }
}
