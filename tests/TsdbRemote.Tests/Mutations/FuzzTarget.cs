namespace TsdbRemote.Tests.Mutations;

/// <summary>A parser on hostile bytes. It serves one thread, input after input.</summary>
internal abstract class FuzzParser : IDisposable
{
    /// <summary>Parses. Its time and its memory are measured, and any exception is a finding: those that the product's parser declares are caught here.</summary>
    /// <returns>True if the input was taken for what it is meant to be.</returns>
    public abstract bool Parse(ReadOnlySpan<byte> input);

    /// <summary>Of an input that was taken: throws unless it is read the same again, by other code where there is any. Not measured.</summary>
    public virtual void Check(ReadOnlySpan<byte> input)
    {
    }

    /// <inheritdoc/>
    public void Dispose() => Close();

    /// <summary>Lets go of what it holds.</summary>
    protected virtual void Close()
    {
    }
}

/// <summary>What is fuzzed, by the tests and by <c>tests/TsdbRemote.Fuzz</c> alike.</summary>
/// <param name="Name">In lower case, words joined by hyphens: also the name of the file of kept inputs.</param>
/// <param name="Seeds">Makes good inputs.</param>
/// <param name="NewParser">Makes a parser for one thread.</param>
internal sealed record FuzzTarget(string Name, Func<IReadOnlyList<byte[]>> Seeds, Func<FuzzParser> NewParser)
{
    /// <summary>Inputs that every run of the tests tries.</summary>
    public long Count { get; init; } = 1_000_000;

    /// <summary>Bytes that an input may cost whatever its length.</summary>
    public long FixedBytes { get; init; } = 64 << 10;

    /// <summary>Bytes that it may cost besides for each of its own.</summary>
    public long BytesPerByte { get; init; } = 64;

    /// <summary>Makes the checksums of an input right, as far as it still has the shape for them; null where there are none.</summary>
    public Seal? Seal { get; init; }

    /// <summary>Good inputs, and those that are kept because they once led to code that nothing else led to.</summary>
    /// <remarks>Half of them good ones at least, however many are kept: most of those are refused, and so would be what is made of them.</remarks>
    public IReadOnlyList<byte[]> Corpus()
    {
        IReadOnlyList<byte[]> seeds = Seeds();
        byte[][] kept = [.. Kept(Name)];
        return [.. seeds, .. kept, .. Enumerable.Repeat(seeds, kept.Length / seeds.Count).SelectMany(static good => good)];
    }

    /// <summary>Where a target's kept inputs are: one a line, in base 64.</summary>
    public static string KeptPath(string name) => Repository.TestData(Path.Combine("fuzz", name + ".txt"));

    private static IEnumerable<byte[]> Kept(string name)
    {
        string path = KeptPath(name);
        return File.Exists(path) ? File.ReadLines(path).Select(Convert.FromBase64String) : [];
    }
}

/// <summary>Puts right checksums where they stand.</summary>
internal delegate void Seal(Span<byte> input);
