namespace TsdbRemote.Storage.Wire;

/// <summary>Series whose label bytes are known beforehand, for a decoder that then need not read labels one by one.</summary>
/// <remarks>A type parameter, so that the calls cost nothing: what implements it is a struct that lives for one request.</remarks>
internal interface IKnownSeries
{
    /// <summary>False if nothing is expected, and nothing will be.</summary>
    bool IsWatching { get; }

    /// <summary>Compares the start of a series with the labels of the one that is expected.</summary>
    /// <param name="rest">The series' message, its labels first if it is spelled as every sender does.</param>
    /// <returns>Bytes of the labels; 0 if they are others, or nothing is expected.</returns>
    int MatchExpected(ReadOnlySpan<byte> rest);

    /// <summary>Goes on behind the series that was matched.</summary>
    /// <returns>Its number + 1.</returns>
    uint TakeExpected();

    /// <summary>Goes on behind a series that was not the expected one.</summary>
    /// <param name="run">Its labels.</param>
    /// <returns>Its number + 1; 0 if it is not known.</returns>
    uint GoOnBehind(ReadOnlySpan<byte> run);
}

/// <summary>Nothing is known.</summary>
internal struct NoKnownSeries : IKnownSeries
{
    /// <inheritdoc/>
    public readonly bool IsWatching => false;

    /// <inheritdoc/>
    public readonly int MatchExpected(ReadOnlySpan<byte> rest) => 0;

    /// <inheritdoc/>
    public readonly uint TakeExpected() => 0;

    /// <inheritdoc/>
    public readonly uint GoOnBehind(ReadOnlySpan<byte> run) => 0;
}
