namespace TsdbRemote.Blocks.Files;

/// <summary>A file in a later version of its format: nothing is wrong with it, but not for this program to read, move or remove.</summary>
/// <remarks>
/// To whoever can only do without the file it is damage like any other, and therefore a kind of it. Who opens a data directory has to ask for it by name, and refuse.
/// </remarks>
public sealed class NewerFormatException : CorruptFileException
{
    /// <summary>A version above the highest known.</summary>
    /// <param name="path">The file.</param>
    /// <param name="offset">Where it says so, in bytes.</param>
    /// <param name="found">The version that it names.</param>
    /// <param name="known">The highest that this program reads.</param>
    public NewerFormatException(string path, long offset, long found, long known)
        : base(path, offset, TextOf(found, known))
    {
    }

    /// <summary>A part that only a later program writes.</summary>
    /// <param name="path">The file.</param>
    /// <param name="offset">Where it is, in bytes.</param>
    /// <param name="what">What it is.</param>
    public NewerFormatException(string path, long offset, string what)
        : base(path, offset, what)
    {
    }

    /// <summary>What is said of a version above the highest known, whatever the file.</summary>
    public static string TextOf(long found, long known) => FormattableString.Invariant(
        $"was written in format version {found}; this program reads up to {known}. Start the newer program, or restore a backup made by this one");
}
