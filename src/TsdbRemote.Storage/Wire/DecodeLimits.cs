using System.Globalization;

namespace TsdbRemote.Storage.Wire;

/// <summary>What became of a decoded body.</summary>
public enum DecodeStatus
{
    /// <summary>The whole body is in the batch.</summary>
    Ok,

    /// <summary>Not a protobuf message of this kind.</summary>
    Malformed,

    /// <summary>More series than <see cref="DecodeLimits.MaxSeries"/>.</summary>
    TooManySeries,

    /// <summary>More samples and histograms than <see cref="DecodeLimits.MaxSamples"/>.</summary>
    TooManySamples,

    /// <summary>More symbols than <see cref="DecodeLimits.MaxSymbols"/>.</summary>
    TooManySymbols,

    /// <summary>Labels that had to be copied or expanded exceed <see cref="DecodeLimits.MaxLabelBytes"/>.</summary>
    TooLarge,
}

/// <summary>
/// What one request may ask for. Beyond any but the last two the whole request is rejected; metadata and exemplars beyond theirs are only not kept.
/// </summary>
/// <param name="MaxSeries">Series, the same one counted each time it appears (<c>limits.series_per_request</c>).</param>
/// <param name="MaxSamples">Float samples and histograms together (<c>limits.samples_per_request</c>).</param>
/// <param name="MaxSymbols">Entries of a 2.0 symbol table.</param>
/// <param name="MaxLabelBytes">
/// Bytes of label runs outside the body: few symbols and many references make much of little. Four times <c>limits.write_decoded</c>, and for one
/// body what <see cref="For"/> says.
/// </param>
/// <param name="MaxMetadata">Metadata entries kept; further ones are counted in <see cref="WriteBatch.MetadataDropped"/>.</param>
/// <param name="MaxExemplars">Exemplars kept; further ones are counted in <see cref="WriteBatch.ExemplarsDropped"/>.</param>
public readonly record struct DecodeLimits(
    int MaxSeries, int MaxSamples, int MaxSymbols, long MaxLabelBytes, int MaxMetadata, int MaxExemplars)
{
    private const int DefaultDecodedBytes = 32 << 20;

    // Senders' bodies are spelled out to some eight times their size. Two thousand series may each have 8 KiB of labels that they share.
    private const int LabelBytesOfByte = 32;
    private const int LabelBytesOfAny = 16 << 20;

    /// <summary>The defaults of the options.</summary>
    public static DecodeLimits Default { get; } = new(100_000, 500_000, 1_000_000, 4L * DefaultDecodedBytes, 10_000, 100_000);

    /// <summary>The limits of one body: what its labels may take grows with it, since only its own bytes are counted among those in flight.</summary>
    /// <param name="bodyBytes">Its length, unpacked.</param>
    public DecodeLimits For(int bodyBytes) =>
        this with { MaxLabelBytes = Math.Min(MaxLabelBytes, LabelBytesOfAny + (long)LabelBytesOfByte * bodyBytes) };

    /// <summary>One line for the sender: what was too much, and the option that says so.</summary>
    /// <param name="status">Any status that means too much.</param>
    internal string Explain(DecodeStatus status) => status switch
    {
        DecodeStatus.TooManySeries => Text($"too many series in one request (storage.limits.series_per_request = {MaxSeries})"),
        DecodeStatus.TooManySamples => Text($"too many samples in one request (storage.limits.samples_per_request = {MaxSamples})"),
        DecodeStatus.TooManySymbols => Text($"too many symbols in one request ({MaxSymbols} allowed)"),
        DecodeStatus.TooLarge => Text($"labels of one request too large ({MaxLabelBytes} bytes allowed: 16 MiB and 32 for each byte of it, at most 4 x storage.limits.write_decoded)"),
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "not a limit"),
    };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
