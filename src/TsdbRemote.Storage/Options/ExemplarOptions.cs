namespace TsdbRemote.Storage.Options;

/// <summary>Exemplars. Keys: <c>storage.exemplars</c>.</summary>
public sealed record ExemplarOptions : IOptionsSection
{
    /// <summary>Bytes that exemplars may take in memory, objects counted; beyond them the oldest go. Some 300 bytes each. 0: none are kept.</summary>
    public ByteSize Memory { get; init; } = ByteSize.Mebibytes(32);

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) => OptionProblem.Range(path, "memory", Memory, ByteSize.Mebibytes(0), ByteSize.Gibibytes(1));
}
