using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Levels;

/// <summary>The one file that says what exists. Replaced as a whole, never changed.</summary>
/// <remarks>
/// Use:       <see cref="TryLoad"/> once at open; <see cref="Commit"/> for each change, one at a time; only then publish the change to
///            readers, and only then delete what it no longer names.
/// Invariant: at any crash <c>MANIFEST</c> is the old state or the new one, whole. What a state names was made durable before its commit:
///            that is the caller's part.
/// Not here:  opening what is named (Engine), making it (Compaction). Thread-safe, as it holds no state; commits must not overlap.
/// </remarks>
public static class Manifest
{
    /// <summary>File name of the manifest.</summary>
    public const string FileName = "MANIFEST";

    /// <summary>File name of the state before it.</summary>
    public const string PreviousFileName = "MANIFEST.prev";

    private const string TemporarySuffix = ".tmp";
    private const int MaxBytes = 1 << 30;

    /// <summary>Reads the state of a data directory.</summary>
    /// <param name="fs">Where it is.</param>
    /// <param name="dataDir">The data directory.</param>
    /// <param name="usedPrev">Null; else why the manifest was unusable, so that <c>MANIFEST.prev</c> was read: to be reported
    /// loudly.</param>
    /// <returns>The state; null for a first start, that is, if there is neither a manifest nor anything that it could name.</returns>
    /// <exception cref="ManifestException">The directory must not be opened, with what was found and what can be done.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    public static ManifestState? TryLoad(IFileSystem fs, string dataDir, out string? usedPrev)
    {
        ArgumentNullException.ThrowIfNull(fs);
        usedPrev = null;
        string path = DataLayout.Join(dataDir, FileName);
        if (fs.FileSize(path) is null)
        {
            if (FindData(fs, dataDir) is not { } found) return null;
            throw new ManifestException(
                $"{path} is missing, but {found} is there: refusing to start, nothing was changed. "
                + "Restore MANIFEST or the whole directory from a backup, or name an empty data_dir");
        }

        string? damage = Read(fs, path, out ManifestState? state);
        if (damage is null) return state;
        usedPrev = $"{path} is damaged ({damage})";
        return LoadPrevious(fs, dataDir, usedPrev);
    }

    /// <summary>Replaces the state, durably.</summary>
    /// <param name="fs">Where it is.</param>
    /// <param name="dataDir">The data directory, which exists.</param>
    /// <param name="next">The new state; everything that it names is durable already.</param>
    /// <exception cref="ManifestUncertainException">The old state or the new one stands: stop, and delete nothing.</exception>
    /// <exception cref="DiskException">The disk refused; the old state stands.</exception>
    /// <exception cref="InvariantViolatedException">The state contradicts itself.</exception>
    public static void Commit(IFileSystem fs, string dataDir, ManifestState next)
    {
        ArgumentNullException.ThrowIfNull(fs);
        ArgumentNullException.ThrowIfNull(next);
        Invariant.Check(next.FormatVersion == ManifestState.CurrentFormatVersion);
        string? problem = next.Problem();
        Invariant.Check(problem is null, $"a manifest that can be committed: {problem}");
        string path = DataLayout.Join(dataDir, FileName);
        string temporary = path + TemporarySuffix;
        bool isFirst = fs.FileSize(path) is null;
        try
        {
            WriteDurably(fs, temporary, ManifestText.Write(next));
            if (!isFirst) KeepPrevious(fs, dataDir, path);
        }
        catch (DiskException failure) when (!failure.IsSync)
        {
            TryUnlink(fs, temporary);
            throw;
        }

        try
        {
            fs.Rename(temporary, path);
            fs.SyncDir(dataDir);
            // A new data directory must be found again, too.
            if (isFirst) fs.SyncDir(ParentOf(dataDir));
        }
        catch (IOException failure)
        {
            throw new ManifestUncertainException(path, failure);
        }
    }

    /// <summary>Reads one of the two files, which is there.</summary>
    /// <param name="fs">Where it is.</param>
    /// <param name="path">The file.</param>
    /// <param name="state">What it says; null if it is damaged.</param>
    /// <returns>What is damaged, or null.</returns>
    /// <exception cref="ManifestException">Its checksum holds, and it is of a newer format, or contradicts itself.</exception>
    /// <exception cref="DiskException">The disk refused.</exception>
    internal static string? Read(IFileSystem fs, string path, out ManifestState? state)
    {
        state = null;
        using PooledBuffer text = ReadBytes(fs, path);
        string? damage = ManifestText.TryOpen(text.Span, out ReadOnlySpan<byte> json);
        if (damage is null) state = ManifestText.Parse(json, path);
        return damage;
    }

    private static bool IsWhole(IFileSystem fs, string path)
    {
        using PooledBuffer text = ReadBytes(fs, path);
        return ManifestText.TryOpen(text.Span, out _) is null;
    }

    private static PooledBuffer ReadBytes(IFileSystem fs, string path)
    {
        using IFile file = fs.OpenRead(path);
        // More than any manifest has is damage, too: the checksum line will not be found where the reading ends.
        int length = (int)Math.Min(file.Length, MaxBytes);
        PooledBuffer text = PooledBuffer.Rent(Math.Max(1, length), length);
        text.SetLength(file.Read(0, text.Span));
        return text;
    }

    private static ManifestState LoadPrevious(IFileSystem fs, string dataDir, string damage)
    {
        string path = DataLayout.Join(dataDir, PreviousFileName);
        string? problem;
        ManifestState? state = null;
        if (fs.FileSize(path) is null) problem = "it is missing";
        else problem = Read(fs, path, out state) ?? ManifestCompleteness.ProblemOf(fs, dataDir, state!);
        return problem is null ? state! : throw new ManifestException(
            $"{damage}, and {PreviousFileName} cannot stand in: {problem}. Refusing to start, nothing was changed. "
            + "Restore MANIFEST or the whole directory from a backup");
    }

    /// <summary>Anything that a manifest of this directory could have named.</summary>
    internal static string? FindData(IFileSystem fs, string dataDir)
    {
        string previous = DataLayout.Join(dataDir, PreviousFileName);
        if (fs.FileSize(previous) is not null) return previous;
        var layout = new DataLayout(dataDir);
        foreach (string directory in (string[])[layout.Wal, layout.Series, layout.Tables, layout.Blocks])
        {
            if (FindFile(fs, directory) is { } found) return found;
        }

        return null;
    }

    private static string? FindFile(IFileSystem fs, string directory)
    {
        foreach (DirectoryEntry entry in fs.List(directory))
        {
            string path = DataLayout.Join(directory, entry.Name);
            string? found = entry.IsDirectory ? FindFile(fs, path) : path;
            if (found is not null) return found;
        }

        return null;
    }

    private static void WriteDurably(IFileSystem fs, string path, ReadOnlySpan<byte> text)
    {
        UnlinkIfPresent(fs, path);
        using IFile file = fs.CreateNew(path);
        file.Write(0, text);
        file.SyncAll();
    }

    private static void KeepPrevious(IFileSystem fs, string dataDir, string path)
    {
        // Where MANIFEST.prev had to stand in for a damaged manifest, it is the better of the two until the next one is whole.
        if (!IsWhole(fs, path)) return;
        string previous = DataLayout.Join(dataDir, PreviousFileName);
        string link = previous + TemporarySuffix;
        // After a commit that failed here both names may stand for the same file, and rename(2) then leaves both.
        UnlinkIfPresent(fs, link);
        fs.Link(path, link);
        fs.Rename(link, previous);
        UnlinkIfPresent(fs, link);
    }

    private static void UnlinkIfPresent(IFileSystem fs, string path)
    {
        if (fs.FileSize(path) is not null) fs.Unlink(path);
    }

    private static void TryUnlink(IFileSystem fs, string path)
    {
        try
        {
            UnlinkIfPresent(fs, path);
        }
        catch (DiskException)
        {
            // The failure that led here is the one to report; the next commit or open removes the file.
        }
    }

    private static string ParentOf(string directory)
    {
        string? parent = Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(directory));
        return parent switch { null => "/", "" => ".", _ => parent };
    }
}
