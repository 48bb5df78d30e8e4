using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>What all parts of one verification share.</summary>
/// <param name="Files">Where the block is.</param>
/// <param name="Directory">Its directory.</param>
/// <param name="Options">What the bytes cannot tell.</param>
/// <param name="Findings">Where findings go.</param>
/// <param name="Cancel">Asked before each piece of a file.</param>
internal sealed record VerifyContext(
    IFileSystem Files, string Directory, BlockVerifyOptions Options, Findings Findings, CancellationToken Cancel)
{
    /// <summary>Path of a file of the block.</summary>
    public string PathOf(string name) => $"{Directory}/{name}";

    /// <summary>
    /// Opens a file of the block, or returns null if there is none. It is never mapped: an error of the disk must be an exception.
    /// </summary>
    public FileSource? TryOpen(string name)
    {
        string path = PathOf(name);
        if (Files.FileSize(path) is null) return null;
        IFile file = Files.OpenRead(path);
        try
        {
            return new FileSource(file, file.Length, mmap: false);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
