using System.Diagnostics.CodeAnalysis;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Wal;

/// <summary>Which kind of record a request's body is. The log keeps it as it came, so each message and each packing is a kind of its own.</summary>
internal static class WalRecord
{
    // What the log holds was within the limits of its day; only of metadata a body may hold more than was taken of it.
    private static readonly DecodeLimits Unlimited = new(
        int.MaxValue, int.MaxValue, int.MaxValue, long.MaxValue, DecodeLimits.Default.MaxMetadata, int.MaxValue);

    /// <summary>The kind of a body.</summary>
    public static WalRecordKind KindOf(WriteProtocol protocol, Compression compression) => (protocol, compression) switch
    {
        (WriteProtocol.V1, Compression.Snappy) => WalRecordKind.WriteV1,
        (WriteProtocol.V1, _) => WalRecordKind.WriteV1Zstd,
        (_, Compression.Snappy) => WalRecordKind.WriteV2,
        _ => WalRecordKind.WriteV2Zstd,
    };

    /// <summary>The inverse of <see cref="KindOf"/>.</summary>
    public static (WriteProtocol Protocol, Compression Compression) Of(WalRecordKind kind) => kind switch
    {
        WalRecordKind.WriteV1 => (WriteProtocol.V1, Compression.Snappy),
        WalRecordKind.WriteV2 => (WriteProtocol.V2, Compression.Snappy),
        WalRecordKind.WriteV1Zstd => (WriteProtocol.V1, Compression.Zstd),
        _ => (WriteProtocol.V2, Compression.Zstd),
    };

    /// <summary>Unpacks and decodes what a record holds, whatever the limits of today are.</summary>
    /// <param name="kind">The record's kind.</param>
    /// <param name="body">Its body.</param>
    /// <param name="batch">Takes what is in it; was reset.</param>
    /// <param name="raw">The unpacked bytes, which the batch refers to; the caller's to dispose.</param>
    /// <returns>False if it does not decode.</returns>
    public static bool TryDecode(WalRecordKind kind, ReadOnlySpan<byte> body, WriteBatch batch, [NotNullWhen(true)] out PooledBuffer? raw)
    {
        var nothing = default(NoKnownSeries);
        return TryDecode(kind, body, batch, ref nothing, out raw);
    }

    /// <summary>As the other, for a reader that knows most series.</summary>
    /// <param name="kind">The record's kind.</param>
    /// <param name="body">Its body.</param>
    /// <param name="batch">Takes what is in it; was reset.</param>
    /// <param name="known">Recognises series by their bytes.</param>
    /// <param name="raw">The unpacked bytes, which the batch refers to; the caller's to dispose.</param>
    /// <returns>False if it does not decode.</returns>
    public static bool TryDecode<TKnown>(
        WalRecordKind kind, ReadOnlySpan<byte> body, WriteBatch batch, ref TKnown known, [NotNullWhen(true)] out PooledBuffer? raw)
        where TKnown : struct, IKnownSeries
    {
        (WriteProtocol protocol, Compression compression) = Of(kind);
        if (PackedBody.TryUnpack(compression, body, int.MaxValue, out raw) != CompressionStatus.Ok || raw is null) return false;
        if (Decode(batch, protocol, raw, Unlimited, ref known, out _) == DecodeStatus.Ok) return true;
        raw.Dispose();
        raw = null;
        return false;
    }

    /// <summary>Decodes an unpacked body.</summary>
    public static DecodeStatus Decode<TKnown>(
        WriteBatch batch, WriteProtocol protocol, PooledBuffer raw, in DecodeLimits limits, ref TKnown known, out string? error)
        where TKnown : struct, IKnownSeries =>
        protocol == WriteProtocol.V2
            ? RemoteWriteV2.Decode(raw.Memory, batch, limits, out error)
            : RemoteWriteV1.Decode(raw.Memory, batch, limits, ref known, out error);
}
