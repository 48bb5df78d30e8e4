using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;

namespace TsdbRemote.Endpoints;

/// <summary>
/// Room for write requests of all kinds: one budget for bodies as they arrive, another for OTLP exports that are being translated. Each is
/// <c>storage.lsm.write_buffer_size</c>. Thread-safe.
/// </summary>
/// <remarks>Two, and room for an export taken in one step, so that no two requests wait for what the other holds.</remarks>
internal sealed class BodiesInFlight(TsdbRemoteOptions options, TimeProvider time)
{
    /// <summary>Memory that an export takes while it is translated, for each of its bytes: some ten attributes of 12 bytes are objects of 128.</summary>
    private const int MemoryOfByte = 12;

    private const int MaxWaiting = 256;
    private static readonly TimeSpan QueueWait = TimeSpan.FromSeconds(5);

    private readonly ByteBudget _bodies = new(options.Storage.Lsm.WriteBufferSize.Bytes, MaxWaiting, time);
    private readonly ByteBudget _exports = new(options.Storage.Lsm.WriteBufferSize.Bytes, MaxWaiting, time);

    /// <summary>Room for one body, none yet; to be disposed.</summary>
    public BodyReservation Reserve() => new(_bodies, QueueWait);

    /// <summary>Waits for room for one export.</summary>
    /// <param name="bytes">Its bytes, unpacked.</param>
    /// <param name="cancel">The sender is gone.</param>
    /// <returns>To be disposed; null if there was no room for too long.</returns>
    /// <exception cref="OperationCanceledException">The sender is gone.</exception>
    public async ValueTask<BodyReservation?> ReserveExportAsync(long bytes, CancellationToken cancel)
    {
        var reservation = new BodyReservation(_exports, QueueWait);
        if (await reservation.CoverAsync(bytes * MemoryOfByte, cancel)) return reservation;
        reservation.Dispose();
        return null;
    }
}
