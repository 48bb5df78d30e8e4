using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Endpoints;

/// <summary>How the reading of a body ended.</summary>
internal enum BodyEnd
{
    /// <summary>It is whole.</summary>
    Whole,

    /// <summary>It is larger than the limit.</summary>
    TooLarge,

    /// <summary>There was no room for it among the bodies in flight.</summary>
    NoRoom,

    /// <summary>It took longer than the limit, or came in too slowly.</summary>
    TooSlow,

    /// <summary>The sender went away or broke the protocol: there is nobody to answer.</summary>
    Aborted,
}

/// <summary>Reads a request's body into one pooled buffer: the limit is checked before each growth, and a body cut off is never passed on.</summary>
internal static class RequestBody
{
    /// <summary>A claim of more is believed only as its bytes arrive.</summary>
    private const int FirstRent = 256 * 1024;

    /// <summary>Reads the body.</summary>
    /// <param name="context">The request.</param>
    /// <param name="limit">Most bytes.</param>
    /// <param name="timeout">Longest time.</param>
    /// <param name="time">Measures it.</param>
    /// <param name="reservation">Covers what has arrived, if such bodies share a budget.</param>
    /// <returns>How it ended; the buffer, which the caller then owns, only for <see cref="BodyEnd.Whole"/>.</returns>
    public static async ValueTask<(BodyEnd End, PooledBuffer? Body)> ReadAsync(HttpContext context, long limit, TimeSpan timeout, TimeProvider time, BodyReservation? reservation = null)
    {
        if (context.Request.ContentLength > limit) return (BodyEnd.TooLarge, null);
        RaiseServerLimit(context, limit);
        PooledBuffer body = PooledBuffer.Rent((int)Math.Min(context.Request.ContentLength ?? FirstRent, FirstRent));
        BodyEnd end = BodyEnd.Aborted;
        try
        {
            end = await FillAsync(context, body, limit, timeout, time, reservation);
            return (end, end == BodyEnd.Whole ? body : null);
        }
        finally
        {
            if (end != BodyEnd.Whole) body.Dispose();
        }
    }

    private static async ValueTask<BodyEnd> FillAsync(
        HttpContext context, PooledBuffer body, long limit, TimeSpan timeout, TimeProvider time, BodyReservation? reservation)
    {
        PipeReader reader = context.Request.BodyReader;
        ITimer? deadline = null;
        try
        {
            while (true)
            {
                // Most bodies come with their headers: the clock starts only for those that have to be waited for.
                if (!reader.TryRead(out ReadResult read))
                {
                    // No token: it would leave the read pending, and the server stumble over it where it drains the connection. A sender that goes
                    // away ends the read by itself.
                    deadline ??= time.CreateTimer(static state => ((PipeReader)state!).CancelPendingRead(), reader, timeout, Timeout.InfiniteTimeSpan);
                    read = await reader.ReadAsync(CancellationToken.None);
                }

                BodyEnd? end = null;
                try
                {
                    end = read.IsCanceled ? BodyEnd.TooSlow : await TakeAsync(context, read.Buffer, body, limit, reservation);
                }
                finally
                {
                    reader.AdvanceTo(read.Buffer.End);
                }

                if (end is not null || read.IsCompleted) return end ?? BodyEnd.Whole;
            }
        }
        catch (BadHttpRequestException refused)
        {
            return refused.StatusCode switch
            {
                StatusCodes.Status413PayloadTooLarge => BodyEnd.TooLarge,
                StatusCodes.Status408RequestTimeout => BodyEnd.TooSlow,
                _ => BodyEnd.Aborted,
            };
        }
        catch (Exception gone) when (gone is IOException or ConnectionAbortedException or OperationCanceledException)
        {
            return BodyEnd.Aborted;
        }
        finally
        {
            if (deadline is not null) await deadline.DisposeAsync();
        }
    }

    /// <summary>Takes over what arrived.</summary>
    /// <returns>Null if the body may go on, else how it ended.</returns>
    private static async ValueTask<BodyEnd?> TakeAsync(
        HttpContext context, ReadOnlySequence<byte> arrived, PooledBuffer body, long limit, BodyReservation? reservation)
    {
        long length = Math.Min(body.Length + arrived.Length, limit);
        if (reservation is not null && !await reservation.CoverAsync(length, context.RequestAborted)) return BodyEnd.NoRoom;
        return Append(arrived, body, limit) ? null : BodyEnd.TooLarge;
    }

    private static bool Append(ReadOnlySequence<byte> arrived, PooledBuffer body, long limit)
    {
        if (arrived.Length > limit - body.Length) return false;
        foreach (ReadOnlyMemory<byte> segment in arrived) body.Append(segment.Span);
        return true;
    }

    /// <summary>The server's own limit is set low for all other paths; it also stops the draining of a body that we refused.</summary>
    private static void RaiseServerLimit(HttpContext context, long limit)
    {
        IHttpMaxRequestBodySizeFeature? feature = context.Features.Get<IHttpMaxRequestBodySizeFeature>();
        if (feature is { IsReadOnly: false }) feature.MaxRequestBodySize = limit;
    }
}
