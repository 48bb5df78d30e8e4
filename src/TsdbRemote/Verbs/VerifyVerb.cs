using TsdbRemote.Blocks.Files;
using TsdbRemote.Endpoints;
using TsdbRemote.Storage.Verification;

namespace TsdbRemote.Verbs;

/// <summary>Reads a whole data directory, in which no server works, and says what is wrong with it. Changes nothing.</summary>
internal static class VerifyVerb
{
    private const int Sound = 0;
    private const int HasFindings = 1;
    private const int CannotRun = 2;

    /// <summary>Runs it.</summary>
    /// <returns>0 if the directory is sound, 1 if there are findings, 2 if it cannot be verified.</returns>
    public static int Run(string[] args) => Run(args, Console.Out, Console.Error, isTerminal: !Console.IsErrorRedirected);

    /// <summary>The same with its streams, for tests.</summary>
    /// <param name="args">What stands behind the verb.</param>
    /// <param name="output">Gets the report.</param>
    /// <param name="progress">Gets the progress, and why it cannot be run.</param>
    /// <param name="isTerminal">Whether progress is a bar that is drawn again and again, or lines.</param>
    internal static int Run(string[] args, TextWriter output, TextWriter progress, bool isTerminal)
    {
        string[] words = [.. args.Where(static arg => arg != "--json")];
        if (words is not [{ } directory] || directory.Length == 0 || directory.StartsWith('-'))
        {
            progress.WriteLine("verify takes one directory, and --json: TsdbRemote verify DIR [--json]");
            return CannotRun;
        }

        if (!Directory.Exists(directory))
        {
            progress.WriteLine($"{directory} is no directory");
            return CannotRun;
        }

        using var cancel = new CancellationTokenSource();
        ConsoleCancelEventHandler interrupt = (_, pressed) =>
        {
            pressed.Cancel = true;
            cancel.Cancel();
        };
        Console.CancelKeyPress += interrupt;
        var bar = new ProgressBar(progress, isTerminal, TimeProvider.System, Columns);
        try
        {
            VerifyReport report = DirectoryVerifier.Verify(
                new LocalFileSystem(mmap: false, keepsAccessTimes: true), Path.TrimEndingDirectorySeparator(directory), bar.Show, cancel.Token);
            bar.Clear();
            output.WriteLine(args.Contains("--json") ? ApiJson.Text(VerifyJson.Of(report)) : VerifyText.Of(report));
            return report.IsSound ? Sound : HasFindings;
        }
        catch (CannotVerifyException refused)
        {
            bar.Clear();
            progress.WriteLine(refused.Message);
            return CannotRun;
        }
        catch (OperationCanceledException)
        {
            bar.Clear();
            progress.WriteLine("interrupted: nothing is known of what was not read yet");
            return CannotRun;
        }
        finally
        {
            Console.CancelKeyPress -= interrupt;
        }
    }

    private static int Columns()
    {
        try
        {
            return Console.WindowWidth;
        }
        catch (IOException)
        {
            return 0; // no window
        }
    }
}
