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
        CancellationTokenSource? deadline = null;
        CancellationTokenSource? linked = null;
        try
        {
            while (true)
            {
                // Most bodies come with their headers: the clock starts only for those that have to be waited for.
                if (!reader.TryRead(out ReadResult read))
                {
                    deadline ??= new CancellationTokenSource(timeout, time);
                    linked ??= CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, context.RequestAborted);
                    read = await reader.ReadAsync(linked.Token);
                }

                long arrived = Math.Min(body.Length + read.Buffer.Length, limit);
                if (reservation is not null && !await reservation.CoverAsync(arrived, context.RequestAborted)) return BodyEnd.NoRoom;
                bool fits = Append(read.Buffer, body, limit);
                reader.AdvanceTo(read.Buffer.End);
                if (!fits) return BodyEnd.TooLarge;
                if (read.IsCompleted) return read.IsCanceled ? BodyEnd.Aborted : BodyEnd.Whole;
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
        catch (OperationCanceledException)
        {
            return context.RequestAborted.IsCancellationRequested || deadline is not { IsCancellationRequested: true } ? BodyEnd.Aborted : BodyEnd.TooSlow;
        }
        catch (Exception gone) when (gone is IOException or ConnectionAbortedException)
        {
            return BodyEnd.Aborted;
        }
        finally
        {
            linked?.Dispose();
            deadline?.Dispose();
        }
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
