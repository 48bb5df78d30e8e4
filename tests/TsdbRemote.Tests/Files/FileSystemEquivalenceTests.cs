using CsCheck;
using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>The disk in memory answers as the real one, errors included: a test on the first tells of the second.</summary>
public sealed class FileSystemEquivalenceTests
{
    [Fact]
    public void Any_history_gives_the_same_answers_and_the_same_tree_on_both()
    {
        FileScript.Synced.Sample(
            steps =>
            {
                using var directory = new TempDirectory();
                var real = new LocalFileSystem();
                var simulated = new CrashFileSystem();
                using var realScript = new FileScript(real, directory.Path);
                using var simulatedScript = new FileScript(simulated, "");
                foreach (FileStep step in steps) Assert.Equal((step, realScript.Do(step)), (step, simulatedScript.Do(step)));
                Assert.Equal(FileScript.Tree(real, directory.Path), FileScript.Tree(simulated, ""));
            },
            iter: 50,
            threads: 1);
    }

    [Fact]
    public void The_injector_without_rules_changes_nothing()
    {
        FileScript.Synced.Sample(
            steps =>
            {
                var plain = new CrashFileSystem();
                var wrapped = new FaultInjector(new CrashFileSystem());
                using var plainScript = new FileScript(plain, "");
                using var wrappedScript = new FileScript(wrapped, "");
                foreach (FileStep step in steps) Assert.Equal((step, plainScript.Do(step)), (step, wrappedScript.Do(step)));
                Assert.Equal(FileScript.Tree(plain, ""), FileScript.Tree(wrapped, ""));
            },
            iter: 100,
            threads: 1);
    }
}
