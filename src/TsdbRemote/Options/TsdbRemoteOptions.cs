using TsdbRemote.Storage.Options;

namespace TsdbRemote.Options;

/// <summary>All that the program can be told: the engine, HTTP, what is switched on. Frozen at the start.</summary>
public sealed record TsdbRemoteOptions : IOptionsSection
{
    /// <summary>The engine. Keys: <c>storage</c>.</summary>
    public StorageOptions Storage { get; init; } = new();

    /// <summary>The HTTP surface. Keys: <c>http</c>.</summary>
    public HttpOptions Http { get; init; } = new();

    /// <summary>The receiver of OpenTelemetry's metrics. Keys: <c>otlp</c>.</summary>
    public OtlpOptions Otlp { get; init; } = new();

    /// <summary>Calls that change the server's state. Keys: <c>admin</c>.</summary>
    public AdminOptions Admin { get; init; } = new();

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) =>
        [
            .. Storage.Problems(Join(path, "storage")), .. Http.Problems(Join(path, "http")), .. Otlp.Problems(Join(path, "otlp")), .. Admin.Problems(Join(path, "admin")),
        ];

    private static string Join(string path, string key) => path.Length == 0 ? key : $"{path}.{key}";
}

/// <summary>The HTTP surface. Keys: <c>http</c>.</summary>
/// <remarks>The addresses to listen on are not here: <c>urls</c> is the framework's own key, default <c>http://localhost:9201</c>.</remarks>
public sealed record HttpOptions : IOptionsSection
{
    /// <summary>Open connections; more are closed at once.</summary>
    public int MaxConnections { get; init; } = 4096;

    /// <summary>
    /// A file in the form of Prometheus' <c>--web.config.file</c>: TLS, users, tokens, rights. Null: everybody who reaches the port is let in. Relative to the working directory.
    /// </summary>
    [NullWord("none")]
    public string? WebConfig { get; init; }

    /// <summary>True: without access control too, status pages and admin calls answer beyond this machine, and nothing warns.</summary>
    public bool AllowInsecure { get; init; }

    /// <summary>Time for all headers of a request, from its first byte.</summary>
    public Duration HeaderTimeout { get; init; } = Duration.Seconds(10);

    /// <summary>Time for the whole body of a request. A rule on the rate alone would let a slow sender hold its memory for hours.</summary>
    public Duration BodyTimeout { get; init; } = Duration.Seconds(60);

    /// <summary>Time for a whole read, the wait for its turn excluded; then it is given up and its snapshot released.</summary>
    public Duration ReadTimeout { get; init; } = Duration.Minutes(2);

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path)
    {
        if (MaxConnections is < 1 or > 1_000_000) yield return FormattableString.Invariant($"{path}.max_connections: {MaxConnections} given, 1 to 1000000 allowed");
        if (WebConfig?.Trim().Length == 0) yield return $"{path}.web_config: \"{WebConfig}\" given, a file or none allowed";
        if (HeaderTimeout < Duration.Seconds(1) || HeaderTimeout > Duration.Minutes(5)) yield return $"{path}.header_timeout: {HeaderTimeout} given, 1s to 5m allowed";
        if (BodyTimeout < Duration.Seconds(1) || BodyTimeout > Duration.Hours(1)) yield return $"{path}.body_timeout: {BodyTimeout} given, 1s to 1h allowed";
        if (ReadTimeout < Duration.Seconds(1) || ReadTimeout > Duration.Hours(24)) yield return $"{path}.read_timeout: {ReadTimeout} given, 1s to 1d allowed";
    }
}

/// <summary>Calls that change the server's state. Keys: <c>admin</c>.</summary>
public sealed record AdminOptions : IOptionsSection
{
    /// <summary>True: <c>/api/v1/admin</c> answers. Who may call it is a matter of <c>http.web_config</c>.</summary>
    public bool Enabled { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) => [];
}
