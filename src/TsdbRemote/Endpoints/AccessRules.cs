using System.Net;
using System.Net.Sockets;
using TsdbRemote.Access;
using TsdbRemote.Options;
using TsdbRemote.Telemetry;

namespace TsdbRemote.Endpoints;

/// <summary>What a caller of an endpoint has to be allowed; <see cref="Access.Right.None"/>: nothing, not even to be known.</summary>
/// <remarks>It is the endpoint's, not the path's: whatever way of writing a path leads to an endpoint meets its rule.</remarks>
internal sealed record NeededRight(Right Right);

/// <summary>Gives endpoints their rules.</summary>
internal static class AccessRules
{
    // With its own domain only: a page may be called as this machine is, in any other. A machine's own name may have its domain in it already.
    private static readonly string[] OwnNames = [Dns.GetHostName(), $"{Environment.MachineName}.local", Environment.MachineName];

    // Asked for once, and only for a name that is none of those: a resolver may take its time.
    private static readonly Lazy<string> FullName = new(FindFullName);

    /// <summary>A group of endpoints for which a right is needed.</summary>
    public static RouteGroupBuilder MapFor(this IEndpointRouteBuilder endpoints, Right right) => endpoints.MapGroup("").WithMetadata(new NeededRight(right));

    /// <summary>While nobody is asked who he is, callers have to be on this machine, unless <c>http.allow_insecure</c>.</summary>
    public static RouteGroupBuilder OnlyHereUnlessGuarded(this RouteGroupBuilder group)
    {
        IServiceProvider services = ((IEndpointRouteBuilder)group).ServiceProvider;
        if (services.GetRequiredService<TsdbRemoteOptions>().Http.AllowInsecure) return group;
        WebAccess? access = services.GetService<WebAccess>();
        AccessMetrics metrics = services.GetRequiredService<AccessMetrics>();
        ((IEndpointConventionBuilder)group).Add(endpoint =>
        {
            RequestDelegate answer = endpoint.RequestDelegate!;
            endpoint.RequestDelegate = context => access?.Current.IsGuarded == true || (IsHere(context.Connection) && IsOwnName(context.Request.Host.Host))
                ? answer(context)
                : RefuseAsync(context, metrics);
        });
        return group;
    }

    /// <summary>No page in a browser may write: a POST with an <c>Origin</c> is refused. One without a content type needs no leave of ours to be sent.</summary>
    public static RouteGroupBuilder NotFromPages(this RouteGroupBuilder group)
    {
        ((IEndpointConventionBuilder)group).Add(static endpoint =>
        {
            RequestDelegate answer = endpoint.RequestDelegate!;
            endpoint.RequestDelegate = context => HttpMethods.IsPost(context.Request.Method) && context.Request.Headers.Origin.Count > 0
                ? HttpAnswers.SendAsync(context, HttpAnswers.NotFromPages)
                : answer(context);
        });
        return group;
    }

    /// <summary>True for an address, and for names that this machine gives itself. Any other may be a page's own, made to lead here so that the browser takes the answer for its own.</summary>
    internal static bool IsOwnName(string host) =>
        host.Length == 0 || IPAddress.TryParse(host.Trim('[', ']'), out _)
        || host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
        || OwnNames.Contains(host, StringComparer.OrdinalIgnoreCase) || FullName.Value.Equals(host, StringComparison.OrdinalIgnoreCase);

    /// <summary>True if the other end is on this machine. A proxy on it stands for whoever reaches the proxy.</summary>
    public static bool IsHere(ConnectionInfo connection)
    {
        if (connection.RemoteIpAddress is not { } remote) return true; // no network between: a Unix socket, or in process
        if (remote.IsIPv4MappedToIPv6) remote = remote.MapToIPv4();
        return IPAddress.IsLoopback(remote) || connection.RemoteIpAddress.Equals(connection.LocalIpAddress);
    }

    private static string FindFullName()
    {
        try
        {
            return Dns.GetHostEntry(Dns.GetHostName()).HostName;
        }
        catch (SocketException)
        {
            return Environment.MachineName; // no resolver knows it
        }
    }

    private static Task RefuseAsync(HttpContext context, AccessMetrics metrics)
    {
        metrics.Refused("not_here");
        return HttpAnswers.SendAsync(context, HttpAnswers.OnlyHere);
    }
}
