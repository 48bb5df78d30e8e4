using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Engine;

/// <summary>
/// What a store may hold after power cuts: of each sample the values that it may have, one of which may be that it is not there. What was acknowledged leaves one; what was under way
/// when the power was cut leaves one more.
/// </summary>
/// <remarks>A read does not decide between them: what a recovery found in the log was perhaps never synced, and the next power cut may take it.</remarks>
internal sealed class PossibleSamples
{
    private readonly Dictionary<(string Series, long TimeMs), HashSet<ulong?>> _possible = [];

    /// <summary>Samples of which only one value is possible, absence counted as one.</summary>
    public int CertainCount => _possible.Values.Count(static values => values is { Count: 1 } && values.Single() is not null);

    public void Write(string series, Sample sample, bool isAcknowledged)
    {
        HashSet<ulong?> values = Of((series, sample.TimeMs));
        if (isAcknowledged) values.Clear();
        values.Add(sample.ValueBits);
    }

    public void Delete(Func<string, bool> selects, TimeRange range, bool isAcknowledged)
    {
        foreach (((string series, long time), HashSet<ulong?> values) in _possible)
        {
            if (!selects(series) || !range.Contains(time)) continue;
            if (isAcknowledged) values.Clear();
            values.Add(null);
        }
    }

    /// <summary>What is read and cannot be, or is not read and has to be.</summary>
    public IEnumerable<string> Problems(Dictionary<string, List<Sample>> read)
    {
        Dictionary<(string, long), ulong> found = [];
        foreach ((string series, List<Sample> samples) in read)
        {
            foreach (Sample sample in samples) found.Add((series, sample.TimeMs), sample.ValueBits);
        }

        foreach (((string Series, long TimeMs) key, ulong bits) in found)
        {
            if (!_possible.TryGetValue(key, out HashSet<ulong?>? values)) yield return $"{key.Series} at {key.TimeMs} was never sent";
            else if (!values.Contains(bits)) yield return $"{key.Series} at {key.TimeMs} has the value {bits:x}, and may have {Print(values)}";
        }

        foreach (((string Series, long TimeMs) key, HashSet<ulong?> values) in _possible)
        {
            if (!found.ContainsKey(key) && !values.Contains(null)) yield return $"{key.Series} at {key.TimeMs} is lost, and may have {Print(values)}";
        }
    }

    private static string Print(HashSet<ulong?> values) => string.Join(" or ", values.Select(static value => value is { } bits ? $"{bits:x}" : "nothing"));

    private HashSet<ulong?> Of((string, long) key)
    {
        if (!_possible.TryGetValue(key, out HashSet<ulong?>? values)) _possible.Add(key, values = [null]);
        return values;
    }
}
