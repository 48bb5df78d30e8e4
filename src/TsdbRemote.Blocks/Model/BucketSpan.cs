namespace TsdbRemote.Blocks.Model;

/// <summary>A run of neighbouring buckets of one side of a native histogram.</summary>
/// <param name="Offset">Of a side's first span the index of its first bucket; of a later one the buckets left out before it, 0 or more.</param>
/// <param name="Length">Buckets in the run; 0 is legal.</param>
public readonly record struct BucketSpan(int Offset, uint Length);

/// <summary>Walks the indexes of the buckets that spans name, in order.</summary>
/// <remarks>With offsets that <see cref="BucketSpans.Problem"/> has nothing against, indexes ascend.</remarks>
internal ref struct BucketWalk(ReadOnlySpan<BucketSpan> spans)
{
    private readonly ReadOnlySpan<BucketSpan> _spans = spans;
    private int _span = -1;
    private uint _left;
    private long _next;

    /// <summary>Index of the current bucket.</summary>
    public long Index { readonly get; private set; }

    /// <summary>Buckets passed before the current one.</summary>
    public int Position { readonly get; private set; } = -1;

    /// <summary>Steps to the next bucket.</summary>
    public bool MoveNext()
    {
        while (_left == 0)
        {
            if (_span >= _spans.Length - 1) return false;
            _span++;
            _next += _spans[_span].Offset;
            _left = _spans[_span].Length;
        }

        _left--;
        Index = _next++;
        Position++;
        return true;
    }
}

/// <summary>What there is to say of the spans of one side.</summary>
internal static class BucketSpans
{
    /// <summary>Buckets that a histogram may have, and spans that a side may have. Client libraries stop at 160 and servers cut at some hundreds.</summary>
    public const int MaxBuckets = 1 << 16;

    /// <summary>Farthest index of a bucket, either way. The finest schema needs 262,145; the distance of any two fits a span's offset.</summary>
    public const int MaxIndex = 1 << 30;

    /// <summary>Counts the buckets, as many as there may be; more are said to be one more.</summary>
    public static int Count(ReadOnlySpan<BucketSpan> spans)
    {
        long buckets = 0;
        foreach (BucketSpan span in spans) buckets = Math.Min(buckets + span.Length, MaxBuckets + 1);
        return (int)buckets;
    }

    /// <summary>What makes spans useless for a walk, or null.</summary>
    public static string? Problem(ReadOnlySpan<BucketSpan> spans)
    {
        if (spans.Length > MaxBuckets) return $"there are {spans.Length} spans; {MaxBuckets} allowed";
        long index = 0;
        for (int i = 0; i < spans.Length; i++)
        {
            if (i > 0 && spans[i].Offset < 0) return $"span number {i + 1} has a negative offset";
            index += spans[i].Offset;
            if (index < -MaxIndex || (index += spans[i].Length) > MaxIndex) return $"span number {i + 1} reaches beyond bucket {MaxIndex} or {-MaxIndex}";
        }

        return null;
    }

    /// <summary>Appends a bucket to spans that are kept as short as they can be.</summary>
    /// <param name="spans">Grows by the bucket.</param>
    /// <param name="lastIndex">Index of the bucket before; the new one's then.</param>
    /// <param name="index">Above the last one.</param>
    public static void Add(List<BucketSpan> spans, ref long lastIndex, long index)
    {
        if (spans.Count == 0) spans.Add(new BucketSpan((int)index, 1));
        else if (index == lastIndex + 1) spans[^1] = spans[^1] with { Length = spans[^1].Length + 1 };
        else spans.Add(new BucketSpan((int)(index - lastIndex - 1), 1));
        lastIndex = index;
    }
}
