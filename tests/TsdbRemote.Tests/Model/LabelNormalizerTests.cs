using CsCheck;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

public class LabelNormalizerTests
{
    private static readonly LabelLimits Limits = LabelLimits.Default;

    [Fact]
    public void Labels_in_any_order_and_with_empty_values_become_the_canonical_run() =>
        Gen.Select(
            Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 1, 4], Gen.String[Gen.Char.AlphaNumeric, 0, 4]).Array[0, 20],
            Gen.Bool).Sample((raw, wide) =>
        {
            (string, string)[] labels = [.. raw.DistinctBy(static label => label.Item1), ("__name__", "up")];
            LabelLimits limits = wide ? Limits with { MaxLabels = 1000 } : Limits;
            using PooledBuffer output = PooledBuffer.Rent(16);
            LabelProblem problem = LabelNormalizer.Normalize(Raw(labels), limits, output, out string? detail);
            return problem == LabelProblem.None
                && detail is null
                && output.Span.SequenceEqual(Labels.Encode(labels))
                && LabelNormalizer.IsCanonical(output.Span);
        });

    [Fact]
    public void A_series_is_taken_as_it_is_exactly_where_normalising_within_the_limits_leaves_it_so() =>
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 3], Gen.Byte, Gen.Int[0, 60], Gen.Int[3, 40]).Sample((first, second, b, at, most) =>
        {
            string[] names = ["__name__", "a", "b", "c"];
            byte[] run = Raw(("__name__", "up"), (names[first], "v"), (names[second], "w"));
            if (at < run.Length) run[at] = b;
            LabelLimits limits = new(most % 4 + 1, most, most % 7 + 1, most * 2);
            using PooledBuffer output = PooledBuffer.Rent(16);
            bool unchanged = LabelNormalizer.Normalize(run, limits, output, out _) == LabelProblem.None && output.Span.SequenceEqual(run);
            return LabelNormalizer.IsCanonicalSeries(run, limits) == unchanged;
        }, iter: 20_000);

    [Fact]
    public void Canonical_is_exactly_what_normalising_leaves_as_it_is() =>
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 3], Gen.Byte, Gen.Int[0, 60]).Sample((first, second, b, at) =>
        {
            string[] names = ["__name__", "a", "b", "c"];
            byte[] run = Raw(("__name__", "up"), (names[first], "v"), (names[second], "w"));
            if (at < run.Length) run[at] = b;
            using PooledBuffer output = PooledBuffer.Rent(16);
            LabelProblem problem = LabelNormalizer.Normalize(run, Limits, output, out _);
            bool unchanged = problem == LabelProblem.None && output.Span.SequenceEqual(run);
            return problem == LabelProblem.MissingMetricName || unchanged == LabelNormalizer.IsCanonical(run);
        }, iter: 20_000);

    [Theory]
    [InlineData("0a0612016b0a0161")]        // value before name
    [InlineData("0a86000a016112016b")]      // long form of a length
    [InlineData("8a00060a016112016b")]      // long form of a tag
    [InlineData("0a080a016112016b1800")]    // unknown field
    [InlineData("0a050a01611200")]          // empty value
    [InlineData("0a030a0161")]              // no value
    [InlineData("0a0312016b")]              // no name
    [InlineData("0a060a016212016b0a060a016112016b")] // unsorted
    [InlineData("0a060a016112016b0a060a016112016c")] // twice
    [InlineData("0a060a01ff12016b")]        // not UTF-8
    [InlineData("0a060a016112016b0a")]      // cut
    public void Any_other_spelling_is_not_canonical(string hex) => Assert.False(LabelNormalizer.IsCanonical(Convert.FromHexString(hex)));

    [Fact]
    public void The_empty_run_is_canonical() => Assert.True(LabelNormalizer.IsCanonical([]));

    [Fact]
    public void Names_may_be_any_utf8()
    {
        (string, string)[] labels = [("__name__", "resource cpu.usage\n\0"), ("ключ", "значение"), ("😀", "\uFFEE")];
        Assert.Equal(Labels.Encode(labels), AssertNormal(Raw(labels)));
    }

    [Fact]
    public void Names_sort_by_utf8_bytes()
    {
        byte[] run = AssertNormal(Raw(("\U0001F600", "x"), ("\uFFEE", "x"), ("__name__", "up")));
        Assert.Equal(Raw(("__name__", "up"), ("\uFFEE", "x"), ("\U0001F600", "x")), run);
    }

    [Fact]
    public void A_series_needs_a_metric_name()
    {
        AssertProblem(LabelProblem.MissingMetricName, null, Raw(("job", "a")));
        AssertProblem(LabelProblem.MissingMetricName, null, Raw(("__name__", ""), ("job", "a")));
        AssertProblem(LabelProblem.MissingMetricName, null, []);
    }

    [Fact]
    public void A_name_stands_once_whatever_the_values()
    {
        AssertProblem(LabelProblem.DuplicateName, "b", Raw(("__name__", "up"), ("b", "x"), ("a", "y"), ("b", "z")));
        AssertProblem(LabelProblem.DuplicateName, "b", Raw(("__name__", "up"), ("b", ""), ("b", "z")));
        AssertProblem(LabelProblem.DuplicateName, "__name__", Raw(("__name__", "up"), ("__name__", "up")));
    }

    [Fact]
    public void A_label_without_a_name_is_refused_even_if_it_has_no_value()
    {
        AssertProblem(LabelProblem.EmptyLabelName, null, Raw(("__name__", "up"), ("", "x")));
        AssertProblem(LabelProblem.EmptyLabelName, null, [.. Raw(("__name__", "up")), 0x0A, 0x00]);
    }

    [Fact]
    public void Bytes_that_are_not_utf8_are_refused_and_named_readably()
    {
        byte[] badValue = [.. Raw(("__name__", "up")), 0x0A, 0x06, 0x0A, 0x01, (byte)'a', 0x12, 0x01, 0xFF];
        byte[] badName = [.. Raw(("__name__", "up")), 0x0A, 0x06, 0x0A, 0x01, 0xFF, 0x12, 0x01, (byte)'a'];
        AssertProblem(LabelProblem.InvalidUtf8, "a", badValue);
        AssertProblem(LabelProblem.InvalidUtf8, "\\xff", badName);
    }

    [Fact]
    public void Bytes_that_are_no_labels_are_malformed() =>
        AssertProblem(LabelProblem.Malformed, null, [.. Raw(("__name__", "up")), 0x0A, 0x05]);

    [Fact]
    public void Each_limit_is_kept_and_its_bound_is_allowed()
    {
        string longest = new('n', Limits.MaxNameBytes);
        AssertNormal(Raw(("__name__", "up"), (longest, "x")));
        AssertProblem(LabelProblem.NameTooLong, new string('n', 128) + "...", Raw(("__name__", "up"), (longest + "n", "x")));

        string value = new('v', Limits.MaxValueBytes);
        AssertNormal(Raw(("__name__", "up"), ("a", value)));
        AssertProblem(LabelProblem.ValueTooLong, "a", Raw(("__name__", "up"), ("a", value + "v")));

        (string, string)[] many = [("__name__", "up"), .. Enumerable.Range(0, Limits.MaxLabels - 1).Select(static i => ($"l{i}", "x"))];
        AssertNormal(Raw(many));
        AssertProblem(LabelProblem.TooManyLabels, null, Raw([.. many, ("m", "")]));

        (string, string)[] large = [("__name__", "up"), .. Enumerable.Range(0, 4).Select(i => ($"l{i}", value))];
        AssertProblem(LabelProblem.TooLong, null, Raw(large));
        int size = Labels.Encode(large).Length;
        using PooledBuffer output = PooledBuffer.Rent(16);
        Assert.Equal(LabelProblem.None, LabelNormalizer.Normalize(Raw(large), Limits with { MaxRunBytes = size }, output, out _));
        Assert.Equal(LabelProblem.TooLong, LabelNormalizer.Normalize(Raw(large), Limits with { MaxRunBytes = size - 1 }, output, out _));
    }

    [Fact]
    public void The_output_is_cleared_first()
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        output.Append([1, 2, 3]);
        LabelNormalizer.Normalize(Raw(("job", "a")), Limits, output, out _);
        Assert.Equal(0, output.Length);
        output.Append([1, 2, 3]);
        LabelNormalizer.Normalize(Raw(("__name__", "a")), Limits, output, out _);
        Assert.Equal(Raw(("__name__", "a")), output.Span.ToArray());
    }

    private static byte[] AssertNormal(byte[] run)
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        Assert.Equal(LabelProblem.None, LabelNormalizer.Normalize(run, Limits, output, out _));
        return output.Span.ToArray();
    }

    private static void AssertProblem(LabelProblem expected, string? expectedDetail, byte[] run)
    {
        using PooledBuffer output = PooledBuffer.Rent(16);
        Assert.Equal(expected, LabelNormalizer.Normalize(run, Limits, output, out string? detail));
        Assert.Equal(expectedDetail, detail);
        Assert.Equal(0, output.Length);
    }

    /// <summary>A run in exactly this order, empty values included.</summary>
    private static byte[] Raw(params (string Name, string Value)[] labels)
    {
        var run = new List<byte>();
        foreach ((string name, string value) in labels)
        {
            byte[] n = System.Text.Encoding.UTF8.GetBytes(name);
            byte[] v = System.Text.Encoding.UTF8.GetBytes(value);
            byte[] label = new byte[Labels.SizeOf(n.Length, v.Length)];
            Labels.Write(label, n, v);
            run.AddRange(label);
        }

        return [.. run];
    }
}
