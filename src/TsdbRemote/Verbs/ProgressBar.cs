using System.Globalization;
using TsdbRemote.Endpoints;
using TsdbRemote.Storage.Verification;

namespace TsdbRemote.Verbs;

/// <summary>Shows how far something is: on a terminal a bar, drawn over the last one; elsewhere a line for each tenth. One thread uses it.</summary>
/// <param name="output">Where to.</param>
/// <param name="isTerminal">Whether what was written can be drawn over.</param>
/// <param name="time">The clock.</param>
/// <param name="columns">How wide the terminal is now; 0 or less if nobody knows.</param>
internal sealed class ProgressBar(TextWriter output, bool isTerminal, TimeProvider time, Func<int> columns)
{
    private const int Cells = 30;
    private const int FileShown = 40;
    private const int UsualColumns = 80;
    private const int Tenths = 10;
    private const string Cut = "...";

    private static readonly TimeSpan Refresh = TimeSpan.FromMilliseconds(100);

    private readonly long _began = time.GetTimestamp();
    private long _shownAt;
    private int _tenth;
    private int _width;

    /// <summary>Shows it, unless it was shown just now.</summary>
    public void Show(VerifyProgress progress)
    {
        double part = progress.BytesTotal == 0 ? 0 : (double)progress.BytesDone / progress.BytesTotal;
        if (isTerminal)
        {
            if (_width > 0 && time.GetElapsedTime(_shownAt) < Refresh) return;
            _shownAt = time.GetTimestamp();
            Draw(progress, part);
        }
        else if ((int)(part * Tenths) > _tenth)
        {
            _tenth = (int)(part * Tenths);
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{part:P0} of {LsmText.Bytes(progress.BytesTotal)}, {time.GetElapsedTime(_began).TotalSeconds:F0} s"));
        }
    }

    /// <summary>Takes the bar away.</summary>
    public void Clear()
    {
        if (_width > 0) output.Write($"\r{new string(' ', Math.Min(_width, Room()))}\r");
        _width = 0;
    }

    // A line that reached the last column would go on in the next one, which nothing draws over.
    private int Room() => (columns() is > 0 and var wide ? wide : UsualColumns) - 1;

    private void Draw(VerifyProgress progress, double part)
    {
        int filled = (int)Math.Clamp(part * Cells, 0, Cells);
        string line = string.Create(
            CultureInfo.InvariantCulture, $"[{new string('#', filled)}{new string('.', Cells - filled)}] {part,4:P0} of {LsmText.Bytes(progress.BytesTotal)}  ");
        int room = Room();
        line += EndOf(progress.File, Math.Min(FileShown, room - line.Length));
        if (line.Length > room) line = line[..room];
        output.Write($"\r{line.PadRight(Math.Min(_width, room))}");
        _width = line.Length;
    }

    private static string EndOf(string file, int length)
    {
        if (file.Length <= length) return file;
        return length <= Cut.Length ? "" : string.Concat(Cut, file.AsSpan(file.Length - length + Cut.Length));
    }
}
