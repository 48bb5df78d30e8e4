using System.Globalization;
using System.Text;

namespace TsdbRemote.Benchmarks.Peers;

/// <summary>A plot of lines over a logarithmic axis, or over time, as an SVG file that needs nothing else.</summary>
internal static class LinePlot
{
    private const int Width = 640;
    private const int Height = 360;
    private const int Left = 60;
    private const int Right = 150;
    private const int Top = 40;
    private const int Bottom = 50;
    private static readonly string[] Colours = ["#0b6e4f", "#c1440e", "#5b5f97"];

    /// <summary>Writes it; nothing if there is no line.</summary>
    /// <param name="path">The file.</param>
    /// <param name="title">What goes up, with its unit.</param>
    /// <param name="across">What goes right.</param>
    /// <param name="lines">Name and points of each line.</param>
    /// <param name="marks">What begins where, over time; null for a logarithmic axis on which each point is marked.</param>
    public static void Write(string path, string title, string across, (string Name, (double X, double Y)[] Points)[] lines, (string Name, double X)[]? marks = null)
    {
        if (lines.Length == 0) return;
        bool isOverTime = marks is not null;
        double[] places = [.. lines.SelectMany(static line => line.Points).Select(static point => point.X).Distinct().Order()];
        double top = RoundUp(lines.SelectMany(static line => line.Points).Max(static point => point.Y));
        double Part(double x) => isOverTime ? x / places[^1] : Math.Log(x / places[0]) / Math.Max(Math.Log(places[^1] / places[0]), 1e-9);
        double Across(double x) => Left + (Width - Left - Right) * Part(x);
        double Up(double y) => Height - Bottom - (Height - Top - Bottom) * y / top;
        var svg = new StringBuilder();
        void Add(FormattableString text) => svg.AppendLine(FormattableString.Invariant(text));
        Add($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {Height}\" font-family=\"sans-serif\" font-size=\"12\">");
        Add($"<rect width=\"{Width}\" height=\"{Height}\" fill=\"white\"/>");
        Add($"<text x=\"{Left}\" y=\"20\" font-size=\"14\">{title}</text>");
        for (int i = 0; i <= 4; i++)
        {
            double y = top * i / 4;
            Add($"<line x1=\"{Left}\" y1=\"{Up(y):F1}\" x2=\"{Width - Right}\" y2=\"{Up(y):F1}\" stroke=\"#ddd\"/>");
            Add($"<text x=\"{Left - 6}\" y=\"{Up(y) + 4:F1}\" text-anchor=\"end\">{y:G3}</text>");
        }

        if (marks is null) marks = [.. places.Select(static x => (x.ToString("N0", CultureInfo.InvariantCulture), x))];
        else foreach ((_, double x) in marks) Add($"<line x1=\"{Across(x):F1}\" y1=\"{Top}\" x2=\"{Across(x):F1}\" y2=\"{Height - Bottom}\" stroke=\"#ddd\"/>");
        foreach ((string name, double x) in marks) Add($"<text x=\"{Across(x):F1}\" y=\"{Height - Bottom + 18}\" text-anchor=\"middle\">{name}</text>");
        Add($"<text x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 10}\" text-anchor=\"middle\">{across}</text>");
        for (int i = 0; i < lines.Length; i++)
        {
            string colour = Colours[i % Colours.Length];
            string points = string.Join(' ', lines[i].Points.Select(point => FormattableString.Invariant($"{Across(point.X):F1},{Up(point.Y):F1}")));
            Add($"<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            foreach ((double x, double y) in isOverTime ? [] : lines[i].Points) Add($"<circle cx=\"{Across(x):F1}\" cy=\"{Up(y):F1}\" r=\"3\" fill=\"{colour}\"/>");
            (double lastX, double lastY) = lines[i].Points[^1];
            Add($"<text x=\"{Across(lastX) + 8:F1}\" y=\"{Up(lastY) + 4:F1}\" fill=\"{colour}\">{lines[i].Name}</text>");
        }

        svg.AppendLine("</svg>");
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        File.WriteAllText(path, svg.ToString());
    }

    /// <summary>The next of 1, 2, 4, 5 and 10 times a power of ten.</summary>
    private static double RoundUp(double value)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(value)));
        return power * new[] { 1.0, 2, 4, 5, 10 }.First(step => step * power >= value * 0.999);
    }
}
