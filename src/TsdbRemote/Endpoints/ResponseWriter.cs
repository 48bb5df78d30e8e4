using System.Buffers;
using System.IO.Pipelines;

namespace TsdbRemote.Endpoints;

/// <summary>Writes an answer's body from a thread that may block: counts the bytes, and waits until the connection has taken them.</summary>
internal sealed class ResponseWriter(HttpResponse response) : IBufferWriter<byte>
{
    private readonly PipeWriter _body = response.BodyWriter;

    /// <summary>The answer whose headers may still be set while <see cref="Total"/> is 0.</summary>
    public HttpResponse Response => response;

    /// <summary>Bytes written. Once there are any, no other answer can be given.</summary>
    public long Total { get; private set; }

    /// <summary>Bytes written since the last flush.</summary>
    public long Unflushed { get; private set; }

    /// <inheritdoc/>
    public void Advance(int count)
    {
        _body.Advance(count);
        Total += count;
        Unflushed += count;
    }

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0) => _body.GetMemory(sizeHint);

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0) => _body.GetSpan(sizeHint);

    /// <summary>Hands the bytes to the connection. The wait is the back-pressure: it ends when the reader has taken enough, or is gone.</summary>
    /// <exception cref="OperationCanceledException">The reader is gone, or <paramref name="stop"/> was asked for.</exception>
    public void Flush(CancellationToken stop)
    {
        FlushResult flushed = _body.FlushAsync(stop).AsTask().GetAwaiter().GetResult();
        if (flushed.IsCompleted || flushed.IsCanceled) throw new OperationCanceledException("the reader is gone", stop);
        Unflushed = 0;
    }

    /// <summary>Sends a body that is whole, waiting until the connection has taken it.</summary>
    public void Send(long length, Func<PipeWriter, Task> copy)
    {
        Total += length;
        copy(_body).GetAwaiter().GetResult();
    }
}
