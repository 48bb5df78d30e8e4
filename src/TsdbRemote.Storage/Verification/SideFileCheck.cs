using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Exemplars;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.Series;

namespace TsdbRemote.Storage.Verification;

/// <summary>Checks <c>METADATA</c> and <c>EXEMPLARS</c>. That one of them is missing nothing on disk can tell.</summary>
internal sealed class SideFileCheck(VerifyRun run, ManifestState manifest)
{
    // What is read goes nowhere; so much of it is kept at a time.
    private const long ExemplarBytes = 1 << 20;

    /// <summary>Bytes that both take.</summary>
    public long ExpectedBytes => SizeOf(run.Paths.Metadata) + SizeOf(run.Paths.Exemplars);

    /// <summary>Checks both, as far as they are there.</summary>
    public void Check()
    {
        CheckOne(run.Paths.Metadata, "families", () => MetadataFile.Load(run.Files, run.Paths.Metadata, manifest.DirectoryId, new MetricMetadata()));
        CheckOne(run.Paths.Exemplars, "exemplars", () => ExemplarFile.Load(run.Files, run.Paths.Exemplars, manifest.DirectoryId, new ExemplarRing(ExemplarBytes)));
    }

    private void CheckOne(string path, string what, Action load)
    {
        if (run.Files.FileSize(path) is not { } size) return;
        string meaning = $"{what} that stand behind it are lost, but for those that the log still holds; the next start keeps the file in quarantine/ and goes on; no sample is touched";
        run.Check(path, size, meaning, () =>
        {
            try
            {
                load();
            }
            catch (CorruptFileException corrupt)
            {
                run.Error(corrupt, meaning);
            }
        });
    }

    private long SizeOf(string path) => run.Files.FileSize(path) ?? 0;
}
