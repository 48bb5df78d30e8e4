using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace TsdbRemote.Verbs;

/// <summary>Cuts off connections whose other end says nothing. The server's own time for headers begins with their first byte, and until then it is as patient as between two requests.</summary>
internal static class SilentConnections
{
    /// <summary>Runs a connection, unless its first byte does not come in time.</summary>
    /// <param name="connection">The connection, behind its handshake if it has one.</param>
    /// <param name="next">Serves it.</param>
    /// <param name="patience">How long to wait.</param>
    public static async Task RunAsync(ConnectionContext connection, ConnectionDelegate next, TimeSpan patience)
    {
        // Who has not spoken when the server stops need not be waited for.
        CancellationToken stopping = connection.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested ?? CancellationToken.None;
        if (await HasSpokenAsync(connection.Transport.Input, patience, connection.ConnectionClosed, stopping)) await next(connection);
        else connection.Abort(new ConnectionAbortedException("nothing came in time (http.header_timeout)"));
    }

    private static async Task<bool> HasSpokenAsync(PipeReader input, TimeSpan patience, CancellationToken closed, CancellationToken stopping)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(closed, stopping);
        late.CancelAfter(patience);
        try
        {
            ReadResult first = await input.ReadAsync(late.Token);

            // Neither consumed nor seen: whoever reads next gets it at once.
            input.AdvanceTo(first.Buffer.Start);
            return !first.Buffer.IsEmpty;
        }
        catch (Exception gone) when (gone is OperationCanceledException or IOException)
        {
            return false;
        }
    }
}
