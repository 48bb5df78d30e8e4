using System.IO.Hashing;
using CsCheck;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Model;

public class LabelsTests
{
    private static readonly Gen<(string Name, string Value)[]> AnyLabels =
        Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 1, 3], Gen.String[Gen.OneOf(Gen.Char.AlphaNumeric, Gen.Const('é')), 1, 3]).Array[0, 6]
            .Select(static labels => labels.DistinctBy(static label => label.Item1).ToArray());

    [Fact]
    public void Runs_made_to_meet_in_the_published_hash_do_not_meet_in_ours()
    {
        // Lane 3 of the stripes 0 and 4: where the upper half of a lane is the secret's, nothing is multiplied, and what one lane gains another one may lose.
        byte[] left = new byte[360];
        left.AsSpan().Fill((byte)'a');
        "mmm\u1df3g\u001f"u8.CopyTo(left.AsSpan(24));
        "mmm\u00c1:&L"u8.CopyTo(left.AsSpan(280));
        byte[] right = [.. left];
        right[24]++;
        right[280]--;
        Assert.Equal(XxHash3.HashToUInt64(left), XxHash3.HashToUInt64(right));
        Assert.NotEqual(Labels.Hash(left), Labels.Hash(right));
    }

    [Fact]
    public void The_series_of_the_protocol_page_has_its_bytes() =>
        Assert.Equal(
            "0a0e0a085f5f6e616d655f5f120275700a080a036a6f62120161",
            Convert.ToHexStringLower(Labels.Encode(("job", "a"), ("__name__", "up"))));

    [Fact]
    public void What_is_encoded_is_walked_and_found_again() =>
        AnyLabels.Sample(static labels =>
        {
            byte[] run = Labels.Encode(labels);
            var walked = new List<(string, string)>();
            var reader = new LabelRunReader(run);
            while (reader.MoveNext()) walked.Add((Text(reader.Name), Text(reader.Value)));
            return !reader.IsMalformed
                && reader.BytesRead == run.Length
                && walked.SequenceEqual(labels.OrderBy(static label => label.Name, StringComparer.Ordinal))
                && Array.TrueForAll(labels, label => Labels.TryGet(run, Utf8(label.Name), out ReadOnlySpan<byte> value) && Text(value) == label.Value);
        });

    [Fact]
    public void Order_is_label_by_label_and_the_shorter_set_first() =>
        Gen.Select(AnyLabels, AnyLabels).Sample(static (left, right) =>
            Math.Sign(Labels.Compare(Labels.Encode(left), Labels.Encode(right))) == CompareSlowly(left, right));

    [Fact]
    public void Order_is_by_utf8_bytes_and_not_by_utf16_units() =>
        Assert.True(Labels.Compare(Labels.Encode(("a", "\uFFEE")), Labels.Encode(("a", "\U0001F600"))) < 0);

    [Fact]
    public void A_missing_label_is_not_found()
    {
        Assert.False(Labels.TryGet(Labels.Encode(("a", "b")), "b"u8, out ReadOnlySpan<byte> value));
        Assert.True(value.IsEmpty);
    }

    [Theory]
    [InlineData("0a060a016112016b", "{a=\"k\"}")]
    [InlineData("0a050a01611200", "{a=\"\"}")]
    [InlineData("0a080a0361206212016b", "{\"a b\"=\"k\"}")]
    [InlineData("0a090a01611204226e0a5c", "{a=\"\\\"n\\n\\\\\"}")]
    [InlineData("0a070a01611202c328", "{a=\"\\xc3(\"}")]
    [InlineData("0a080a01611203e280ae", "{a=\"\\u202e\"}")]
    [InlineData("0a090a01611204f3a08081", "{a=\"\\U000e0001\"}")]
    [InlineData("0a070a01611202c3a9", "{a=\"é\"}")]
    public void Printing_escapes_what_is_not_printable(string hex, string expected) =>
        Assert.Equal(expected, Labels.Print(Convert.FromHexString(hex)));

    [Fact]
    public void Printing_is_bounded_and_never_cuts_a_character()
    {
        string text = Labels.Print(Labels.Encode(("a", string.Concat(Enumerable.Repeat("😀", 100_000)))), 100);
        Assert.InRange(text.Length, 100, 110);
        Assert.EndsWith("😀...}", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0a")]
    [InlineData("0a05")]
    [InlineData("0a020a01")]
    [InlineData("1200")]
    [InlineData("0a01")]
    [InlineData("0a0108")]
    [InlineData("0a0100")]
    [InlineData("0a010b")]
    [InlineData("0a0509000000")]
    [InlineData("0a030d0000")]
    [InlineData("0a06808080808000")]
    public void Bytes_that_are_no_labels_are_malformed(string hex)
    {
        var reader = new LabelRunReader(Convert.FromHexString(hex));
        while (reader.MoveNext())
        {
        }

        Assert.True(reader.IsMalformed);
    }

    [Theory]
    [InlineData("0a0612016b0a0161")]
    [InlineData("0a090a017a12016b0a0161")]
    [InlineData("0a0818050a016112016b")]
    [InlineData("0a0f1900000000000000000a016112016b")]
    [InlineData("0a0b1d000000000a016112016b")]
    [InlineData("0a091a01780a016112016b")]
    [InlineData("8a00060a016112016b")]
    [InlineData("0a86000a016112016b")]
    [InlineData("0a070a81006112016b")]
    [InlineData("0a078a00016112016b")]
    public void Every_legal_spelling_is_read(string hex)
    {
        var reader = new LabelRunReader(Convert.FromHexString(hex));
        Assert.True(reader.MoveNext());
        Assert.Equal(("a", "k"), (Text(reader.Name), Text(reader.Value)));
        Assert.False(reader.MoveNext());
        Assert.False(reader.IsMalformed);
    }

    [Fact]
    public void Garbage_never_throws() =>
        Gen.Byte.Array[0, 60].Sample(static bytes =>
        {
            var reader = new LabelRunReader(bytes);
            while (reader.MoveNext())
            {
            }

            Labels.Print(bytes);
            return reader.IsMalformed || reader.BytesRead == bytes.Length;
        });

    private static int CompareSlowly((string Name, string Value)[] left, (string Name, string Value)[] right)
    {
        (string, string)[] a = [.. left.OrderBy(static label => label.Name, StringComparer.Ordinal)];
        (string, string)[] b = [.. right.OrderBy(static label => label.Name, StringComparer.Ordinal)];
        for (int i = 0; i < a.Length && i < b.Length; i++)
        {
            int order = string.CompareOrdinal(a[i].Item1, b[i].Item1);
            if (order == 0) order = string.CompareOrdinal(a[i].Item2, b[i].Item2);
            if (order != 0) return Math.Sign(order);
        }

        return a.Length.CompareTo(b.Length);
    }

    private static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text);

    private static string Text(ReadOnlySpan<byte> utf8) => System.Text.Encoding.UTF8.GetString(utf8);
}
