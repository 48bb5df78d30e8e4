using TsdbRemote.Blocks.Chunks;

namespace TsdbRemote.Benchmarks.ChunkEncodings;

/// <summary>A way to choose the windows of an XOR chunk: what <see cref="OptimalXorEncoder"/> is compared with.</summary>
/// <remarks>
/// All walk the changed values once and keep some encodings that differ in the window open at the end. Each knows where its last run began; the
/// cheapest one after each value is written down, so that the runs can be followed back from the last.
/// </remarks>
internal abstract class WindowChoice
{
    private readonly Encoding[] _best = new Encoding[ushort.MaxValue];

    /// <summary>Chooses the window of each changed value.</summary>
    /// <param name="exact">The narrowest windows.</param>
    /// <param name="chosen">Receives the windows, as many.</param>
    public void Choose(ReadOnlySpan<XorWindow> exact, Span<XorWindow> chosen)
    {
        Encoding last = default;
        for (int i = 0; i < exact.Length; i++) _best[i] = last = Next(exact, i, last.Bits);
        for (int end = exact.Length; end > 0;)
        {
            Encoding run = _best[end - 1];
            chosen[run.Start..end].Fill(run.Window);
            end = run.Start;
        }
    }

    /// <summary>Takes in a value.</summary>
    /// <param name="exact">All values.</param>
    /// <param name="at">Index of this one; with 0 a chunk begins.</param>
    /// <param name="bits">Bits of the cheapest encoding of those before.</param>
    /// <returns>The cheapest encoding up to this value.</returns>
    protected abstract Encoding Next(ReadOnlySpan<XorWindow> exact, int at, int bits);

    protected static Encoding Open(XorWindow window, int at, int bits) =>
        new(window, at, bits + XorWindow.OpenBits + XorWindow.FlagBits + window.Significant);

    protected static Encoding Reuse(Encoding encoding) =>
        encoding with { Bits = encoding.Bits + XorWindow.FlagBits + encoding.Window.Significant };

    protected static bool Fits(XorWindow value, XorWindow window) => value.Leading >= window.Leading && value.Trailing >= window.Trailing;

    protected static XorWindow Union(XorWindow left, XorWindow right) =>
        new(Math.Min(left.Leading, right.Leading), Math.Min(left.Trailing, right.Trailing));

    /// <summary>An encoding of the values up to one.</summary>
    /// <param name="Window">Window open at its end.</param>
    /// <param name="Start">Index of the value that opened it.</param>
    /// <param name="Bits">Bits of all changed values.</param>
    protected readonly record struct Encoding(XorWindow Window, int Start, int Bits);
}

/// <summary>Windows are opened as Prometheus does it, no wider than the value; but a value that fits may open one, and stay in one or not.</summary>
internal sealed class ExactWindows : WindowChoice
{
    private readonly List<Encoding> _open = [];

    protected override Encoding Next(ReadOnlySpan<XorWindow> exact, int at, int bits)
    {
        if (at == 0) _open.Clear();
        XorWindow value = exact[at];
        Encoding best = Open(value, at, bits);
        int kept = 0;
        for (int i = 0; i < _open.Count; i++)
        {
            if (!Fits(value, _open[i].Window)) continue;
            Encoding next = Reuse(_open[i]);
            _open[kept++] = next;
            if (next.Bits < best.Bits) best = next;
        }

        _open.RemoveRange(kept, _open.Count - kept);
        _open.Add(Open(value, at, bits));
        return best;
    }
}

/// <summary>Every window of the format is tried at every value. The optimum by definition, and slow.</summary>
internal sealed class AllWindows : WindowChoice
{
    private const int Impossible = int.MaxValue / 2;
    private readonly Encoding[] _open = new Encoding[(XorWindow.MaxLeading + 1) * 64];

    protected override Encoding Next(ReadOnlySpan<XorWindow> exact, int at, int bits)
    {
        if (at == 0) Array.Fill(_open, new Encoding(default, 0, Impossible));
        XorWindow value = exact[at];
        var best = new Encoding(default, 0, Impossible);
        for (int leading = 0; leading <= XorWindow.MaxLeading; leading++)
        {
            for (int trailing = 0; trailing + leading < 64; trailing++)
            {
                var window = new XorWindow((byte)leading, (byte)trailing);
                ref Encoding encoding = ref _open[leading * 64 + trailing];
                if (!Fits(value, window))
                {
                    encoding = encoding with { Bits = Impossible };
                    continue;
                }

                Encoding opened = Open(window, at, bits);
                Encoding reused = encoding.Bits == Impossible ? opened : Reuse(encoding);
                encoding = reused.Bits <= opened.Bits ? reused : opened;
                if (encoding.Bits < best.Bits) best = encoding;
            }
        }

        return best;
    }
}

/// <summary>The cheapest few encodings are kept; a value may open its own window or its union with those of the next few values.</summary>
internal sealed class Beam(int width, int lookahead) : WindowChoice
{
    private Encoding[] _open = new Encoding[width];
    private Encoding[] _next = new Encoding[width];
    private int _openCount;
    private int _nextCount;

    protected override Encoding Next(ReadOnlySpan<XorWindow> exact, int at, int bits)
    {
        if (at == 0) _openCount = 0;
        _nextCount = 0;
        XorWindow value = exact[at];
        foreach (Encoding encoding in _open.AsSpan(0, _openCount))
        {
            if (Fits(value, encoding.Window)) Keep(Reuse(encoding));
        }

        XorWindow union = value;
        Keep(Open(union, at, bits));
        for (int i = at + 1; i <= at + lookahead && i < exact.Length; i++)
        {
            XorWindow wider = Union(union, exact[i]);
            if (wider == union) continue;
            union = wider;
            Keep(Open(union, at, bits));
        }

        (_open, _next) = (_next, _open);
        _openCount = _nextCount;
        return _open[0];
    }

    /// <summary>Sorts an encoding in, unless enough cheaper ones or one with its window are there.</summary>
    private void Keep(Encoding encoding)
    {
        Encoding[] next = _next;
        int same = 0;
        while (same < _nextCount && next[same].Window != encoding.Window) same++;
        if (same < _nextCount && next[same].Bits <= encoding.Bits) return;
        int at = same;
        if (same == _nextCount)
        {
            if (_nextCount < width) _nextCount++;
            else if (next[--at].Bits <= encoding.Bits) return;
        }

        for (; at > 0 && next[at - 1].Bits > encoding.Bits; at--) next[at] = next[at - 1];
        next[at] = encoding;
    }
}
