using System.Diagnostics;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Blocks.Chunks;

/// <summary>Histograms in time order → chunks. Of the counters before a run nothing is known, so its first header says nothing.</summary>
/// <remarks>
/// Use: <see cref="Begin"/>, <see cref="Append"/> as often as there are samples, <see cref="End"/> behind the last one and wherever a run is
/// to part. Not thread-safe.
/// </remarks>
internal sealed class HistogramRunEncoder
{
    private readonly HistogramChunkBuilder _builder = new(windowMs: 0) { IsExact = true };
    private MergeTarget _target;

    /// <summary>Bytes that the longest chunk so far had room in.</summary>
    public int Capacity => _builder.Capacity;

    /// <summary>Starts a run.</summary>
    /// <param name="target">Where chunks go, and what they keep to.</param>
    /// <param name="isPart">True if it is a part of one chunk, which its writer found short enough.</param>
    public void Begin(in MergeTarget target, bool isPart)
    {
        _target = target;
        _builder.Reset(target.WindowMs, target.MaxSamples, isBounded: !isPart);
    }

    /// <summary>Appends a sample behind the last one.</summary>
    public void Append(long timeMs, NativeHistogram histogram)
    {
        if (_builder.TryAppend(timeMs, histogram)) return;
        Take();
        _builder.StartNext();
        if (!_builder.TryAppend(timeMs, histogram)) throw new UnreachableException("an empty chunk takes any sample");
    }

    /// <summary>Ends the run's last chunk.</summary>
    public void End()
    {
        if (_builder.Count > 0) Take();
        _builder.Reset();
    }

    /// <summary>Forgets where chunks went.</summary>
    public void Release() => _target = default;

    private void Take()
    {
        NativeBytes data = _target.Arena.Allocate(_builder.ByteLength);
        _builder.Bytes.CopyTo(data.Span);
        _target.Output.Add(new SeriesChunk(_builder.FirstTimeMs, _builder.LastTimeMs, _builder.Encoding, data, _target.Rank));
    }
}
