using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>Room for the bodies of write requests of all kinds, as they arrive: <c>storage.lsm.write_buffer_size</c>. Thread-safe.</summary>
internal sealed class BodiesInFlight(TsdbRemoteOptions options, TimeProvider time)
{
    private const int MaxWaiting = 256;
    private static readonly TimeSpan QueueWait = TimeSpan.FromSeconds(5);

    private readonly ByteBudget _bytes = new(options.Storage.Lsm.WriteBufferSize.Bytes, MaxWaiting, time);

    /// <summary>Room for one request, none yet; to be disposed.</summary>
    public BodyReservation Reserve() => new(_bytes, QueueWait);
}
