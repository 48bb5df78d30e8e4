using System.Globalization;
using System.Text.RegularExpressions;
using TsdbRemote.Options;

namespace TsdbRemote.Access;

/// <summary>Reads a web-config file: Prometheus' own form, and our sections <c>bearer_tokens</c> and <c>rights</c>.</summary>
/// <remarks>
/// Source of the form: prometheus/exporter-toolkit, docs/web-configuration.md. Relative file names are relative to the file itself, as there. Problems name the path, what kind of
/// thing was given and what is allowed, never the value: it may be a password in the wrong place.
/// </remarks>
internal static partial class WebConfigReader
{
    /// <summary>bcrypt's cost above which one login would take a processor for seconds.</summary>
    private const int MaxCost = 14;

    /// <summary>Headers that may be set; for some, the only values that make sense.</summary>
    private static readonly Dictionary<string, string[]> AllowedHeaders = new(StringComparer.Ordinal)
    {
        ["Strict-Transport-Security"] = [],
        ["X-Content-Type-Options"] = ["nosniff"],
        ["X-Frame-Options"] = ["deny", "sameorigin"],
        ["X-XSS-Protection"] = [],
        ["Content-Security-Policy"] = [],
    };

    private static readonly string[] RightNames = ["read", "write", "admin"];

    /// <summary>Reads the file and those that it names.</summary>
    /// <exception cref="OptionsException">It does not hold; all problems at once.</exception>
    public static WebConfig Read(string path, WebConfigFiles files)
    {
        var problems = new List<string>();
        string text = files.Read(path, out string? why);
        if (why is not null) throw new OptionsException([$"http.web_config: {why}"]);
        WebConfig? config = YamlSection.Parse(text, problems) is { } root ? Read(root, new TlsReader(Path.GetDirectoryName(path)!, files)) : null;
        return problems.Count == 0 ? config! : throw new OptionsException([.. problems.Select(problem => $"{path}: {problem}")]);
    }

    private static WebConfig Read(YamlSection root, TlsReader tls)
    {
        if (root.Has("rate_limit")) root.Refuse("rate_limit", "a section given, none allowed: its 429 makes a Prometheus drop data");
        root.RefuseOthers("tls_server_config", "http_server_config", "basic_auth_users", "bearer_tokens", "rights", "rate_limit");
        YamlSection? http = root.Section("http_server_config");
        http?.RefuseOthers("http2", "headers");
        return new WebConfig(
            root.Section("tls_server_config") is { } section ? tls.Read(section) : null, http?.Flag("http2", true) ?? true, Headers(http?.Section("headers")), ReadCredentials(root));
    }

    private static List<KeyValuePair<string, string>> Headers(YamlSection? section)
    {
        var headers = new List<KeyValuePair<string, string>>();
        if (section is null) return headers;
        section.RefuseOthers([.. AllowedHeaders.Keys]);
        foreach ((string name, string value) in section.Texts())
        {
            if (!AllowedHeaders.TryGetValue(name, out string[]? allowed) || value.Length == 0) continue;
            if (allowed.Length > 0 && !allowed.Contains(value, StringComparer.Ordinal)) section.Refuse(name, $"a value given, {string.Join(" or ", allowed)} allowed");
            else if (value.Any(static c => c is < ' ' or > '~')) section.Refuse(name, "a value given, printable ASCII allowed");
            else headers.Add(KeyValuePair.Create(name, value));
        }

        return headers;
    }

    private static Credentials? ReadCredentials(YamlSection root)
    {
        var users = new List<PasswordUser>();
        var tokens = new List<BearerToken>();
        YamlSection? userSection = root.Section("basic_auth_users");
        YamlSection? tokenSection = root.Section("bearer_tokens");
        HashSet<string> names = [.. userSection?.Texts().Select(static user => user.Key) ?? [], .. tokenSection?.Texts().Select(static token => token.Key) ?? []];
        if (root.IsEmpty("rights")) root.Refuse("rights", "nothing given; the rights of each user and token allowed, or no such section");
        Dictionary<string, Right>? rights = Rights(root.Section("rights"), names);
        Right RightsOf(string name) => rights is null ? Right.All : rights.GetValueOrDefault(name);
        foreach ((string name, string hash) in userSection?.Texts() ?? [])
        {
            if (CheckUser(name, hash) is { } problem) userSection!.Refuse(name, problem);
            else users.Add(new PasswordUser(name, hash, RightsOf(name)));
        }

        foreach ((string name, string digest) in tokenSection?.Texts() ?? [])
        {
            if (userSection?.Has(name) == true) tokenSection!.Refuse(name, "is a user too; a name of its own allowed");
            else if (!DigestPattern().IsMatch(digest)) tokenSection!.Refuse(name, "a value given, sha256: and 64 hexadecimal digits of the token's SHA-256 allowed");
            else tokens.Add(new BearerToken(Convert.FromHexString(digest.AsSpan("sha256:".Length)), RightsOf(name)));
        }

        if (rights is not null)
        {
            foreach (string name in names.Where(name => !rights.ContainsKey(name))) root.Refuse($"rights.{name}", "nothing given; with rights, each user and token has to be in it");
        }

        return users.Count + tokens.Count == 0 ? null : new Credentials(users, tokens) { HasRights = rights is not null };
    }

    private static string? CheckUser(string name, string hash)
    {
        if (name.Length == 0 || name.Contains(':', StringComparison.Ordinal)) return "a name that is empty or has a colon given, which no client can send";
        Match match = HashPattern().Match(hash);
        if (!match.Success) return "a value given, a bcrypt hash allowed, such as $2y$10$ and 53 characters (htpasswd -nBC 10 \"\")";
        int cost = int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
        return cost is < 4 or > MaxCost ? string.Create(CultureInfo.InvariantCulture, $"a cost of {cost} given, 4 to {MaxCost} allowed") : null;
    }

    private static Dictionary<string, Right>? Rights(YamlSection? section, HashSet<string> names)
    {
        if (section is null) return null;
        var rights = new Dictionary<string, Right>(StringComparer.Ordinal);
        foreach ((string name, IReadOnlyList<string> list) in section.Lists())
        {
            if (!names.Contains(name)) section.Refuse(name, "is neither a user nor a token");
            Right sum = Right.None;
            foreach (string word in list)
            {
                if (RightNames.Contains(word, StringComparer.Ordinal)) sum |= Enum.Parse<Right>(word, ignoreCase: true);
                else section.Refuse(name, $"a value given, {string.Join(", ", RightNames)} allowed");
            }

            rights[name] = sum;
        }

        return rights;
    }

    [GeneratedRegex(@"^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}\z")]
    private static partial Regex HashPattern();

    [GeneratedRegex(@"^sha256:[0-9a-fA-F]{64}\z")]
    private static partial Regex DigestPattern();
}
