using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using TsdbRemote.Access;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>Lets requests in by users, tokens and rights of the web-config file. It is in the pipeline only if there is such a file.</summary>
/// <remarks>
/// It stands before everything that looks at a body. A stock Prometheus drops a batch on 401 and 403, so these are said only of credentials that were judged; where they
/// cannot be, 503. What no endpoint answers (404, 405) tells nothing that is stored, and still only to somebody known.
/// </remarks>
internal sealed class AccessGate(RequestDelegate next, WebAccess access, PasswordChecks passwords, AccessMetrics metrics, TimeProvider time, ILogger<AccessGate> log)
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);

    private long _unsaid;
    private long _saidAt = long.MinValue;

    /// <summary>Runs the rest of the pipeline for those who may.</summary>
    public Task InvokeAsync(HttpContext context)
    {
        WebConfig config = access.Current;
        for (int i = 0; i < config.Headers.Count; i++) context.Response.Headers[config.Headers[i].Key] = config.Headers[i].Value;
        if (config.Tls is { } tls && IsOfOtherRules(context, tls)) return RefuseAsync(context);
        if (config.Credentials is not { } credentials) return next(context);
        Right? needed = Needed(context.GetEndpoint());
        return needed == Right.None ? next(context) : CheckAsync(context, credentials, needed ?? Right.None);
    }

    /// <summary>Notes by which rules a connection was let in.</summary>
    public static void Note(BaseConnectionContext connection, TlsSettings settings) => connection.Items[typeof(TlsSettings)] = settings;

    private static bool IsOfOtherRules(HttpContext context, TlsSettings now) =>
        context.Features.Get<IConnectionItemsFeature>()?.Items.TryGetValue(typeof(TlsSettings), out object? then) == true
        && then is TlsSettings settings && !ReferenceEquals(settings, now) && !settings.AsksTheSameOf(now);

    /// <summary>A connection lives on over a reload, and whom the rules have shut out since must not: it ends with this answer, which no sender takes for the end of its data.</summary>
    private Task RefuseAsync(HttpContext context)
    {
        Count(context, "old_handshake");
        context.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
        return HttpAnswers.SendAsync(context, HttpAnswers.OldHandshake);
    }

    /// <summary>The right that an endpoint asks for, all of them where it does not say; null where there is none of ours.</summary>
    private static Right? Needed(Endpoint? endpoint) => endpoint is not RouteEndpoint ? null : endpoint.Metadata.GetMetadata<NeededRight>()?.Right ?? Right.All;

    private async Task CheckAsync(HttpContext context, Credentials credentials, Right needed)
    {
        // Two headers are joined here, and make no credential.
        string? header = context.Request.Headers.Authorization;
        (AccessOutcome outcome, Right rights) = await credentials.CheckAsync(header, passwords, PasswordChecks.PlaceOf(context.Connection.RemoteIpAddress), context.RequestAborted);
        switch (outcome)
        {
            case AccessOutcome.Admitted when (rights & needed) == needed:
                await next(context);
                return;
            case AccessOutcome.Admitted:
                Count(context, "right");
                await HttpAnswers.SendAsync(context, HttpAnswers.RightNeeded(needed.ToString().ToLowerInvariant()));
                return;
            case AccessOutcome.Busy:
                Count(context, "busy");
                await HttpAnswers.SendAsync(context, HttpAnswers.PasswordsBusy);
                return;
            default:
                Count(context, outcome == AccessOutcome.Missing ? "no_credentials" : "wrong_credentials");
                context.Response.Headers.WWWAuthenticate = credentials.Challenge;
                await HttpAnswers.SendAsync(context, HttpAnswers.Unauthorized);
                return;
        }
    }

    /// <summary>Counts, and says so once a minute: anybody can cause it. The name is left out, for people type passwords there.</summary>
    private void Count(HttpContext context, string reason)
    {
        metrics.Refused(reason);
        Interlocked.Increment(ref _unsaid);
        long now = time.GetTimestamp();
        long said = Interlocked.Read(ref _saidAt);
        if (said != long.MinValue && time.GetElapsedTime(said, now) < LogInterval) return;
        if (Interlocked.CompareExchange(ref _saidAt, now, said) != said) return;
        Log.NotLetIn(log, Interlocked.Exchange(ref _unsaid, 0), AddressOf(context), reason);
    }

    private static string AddressOf(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
