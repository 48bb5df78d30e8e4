using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Which kind of record a request's body is. The log keeps it as it came, so each message and each packing is a kind of its own.</summary>
internal static class WalRecord
{
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
}
