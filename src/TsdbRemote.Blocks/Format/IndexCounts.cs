namespace TsdbRemote.Blocks.Format;

/// <summary>What a finished index holds.</summary>
/// <param name="Series">Series.</param>
/// <param name="Chunks">Chunks of all series.</param>
/// <param name="Symbols">Distinct strings: label names and values.</param>
/// <param name="Postings">Labels of all series: entries of all postings lists but that of every series.</param>
/// <param name="Lists">Distinct label pairs: postings lists but that of every series.</param>
/// <param name="Bytes">Bytes of the file.</param>
public readonly record struct IndexCounts(long Series, long Chunks, long Symbols, long Postings, long Lists, long Bytes);
