namespace TsdbRemote.Storage.Wire;

/// <summary>Which message a write request's body is.</summary>
public enum WriteProtocol
{
    /// <summary>Remote write 1.0, <c>prometheus.WriteRequest</c>.</summary>
    V1,

    /// <summary>Remote write 2.0, <c>io.prometheus.write.v2.Request</c>.</summary>
    V2,
}
