namespace TsdbRemote.Storage.Wire;

/// <summary>Why a series of a 2.0 request cannot be taken although its bytes are legal (protocols §2.3).</summary>
public enum SeriesProblem : byte
{
    /// <summary>None found while decoding; labels and samples may still be refused.</summary>
    None,

    /// <summary>An odd number of label references.</summary>
    OddLabelRefs,

    /// <summary>A label reference outside the symbol table.</summary>
    LabelRefOutOfTable,

    /// <summary>The metadata's unit is outside the symbol table.</summary>
    UnitRefOutOfTable,

    /// <summary>The metadata's help text is outside the symbol table.</summary>
    HelpRefOutOfTable,

    /// <summary>
    /// Neither a sample nor a histogram, nor an exemplar, which Prometheus sends in entries of their own. Prometheus looks at the labels first, and so names a problem of theirs
    /// before this one.
    /// </summary>
    NoData,
}

/// <summary>One series of a request, in the order of the wire. Plain data in an array; see <see cref="WriteBatch"/>.</summary>
public struct SeriesEntry
{
    /// <summary>Where the label run starts: in the body, or in the arena if <see cref="LabelsInArena"/>.</summary>
    public int LabelsOffset;

    /// <summary>Bytes of the label run; 0 if there are no labels, or none that can be read.</summary>
    public int LabelsLength;

    /// <summary>Index of the first sample in <see cref="WriteBatch.Samples"/>.</summary>
    public int FirstSample;

    /// <summary>Float samples.</summary>
    public int SampleCount;

    /// <summary>Histograms, good and bad: so many of <see cref="WriteBatch.Histograms"/>, which has them in the order of the series.</summary>
    public int HistogramCount;

    /// <summary>Exemplars, good and bad: so many of <see cref="WriteBatch.Exemplars"/>, which has them in the order of the series.</summary>
    public int ExemplarCount;

    /// <summary>Exemplars among them whose label references are bad (2.0 only): named in a 400, while the samples stay.</summary>
    public int BadExemplarCount;

    /// <summary>Where the series' message starts in the body.</summary>
    public int MessageOffset;

    /// <summary>Bytes of the series' message.</summary>
    public int MessageLength;

    /// <summary>Number + 1 that <see cref="IKnownSeries"/> gave the series; 0 if it does not know it.</summary>
    internal uint Known;

    /// <summary>True if it was the one expected behind the series before it; false if it was looked up, or is not known.</summary>
    internal bool WasExpected;

    /// <summary>
    /// True if the label run is not in the body: a 2.0 series, or a 1.0 series whose labels are scattered or oddly spelled.
    /// </summary>
    public bool LabelsInArena;

    /// <summary>Why the series cannot be taken; only in 2.0.</summary>
    public SeriesProblem Problem;

    /// <summary>True if there is nothing to the series but floats, and nothing wrong with it.</summary>
    public readonly bool IsPlain => Problem == SeriesProblem.None && SampleCount > 0 && (HistogramCount | BadExemplarCount) == 0;
}

/// <summary>One histogram of a request: where it is, and what a first look at it gave.</summary>
/// <param name="Message">Its message in the body.</param>
/// <param name="TimeMs">Its time, ms.</param>
/// <param name="IsValid">False if it may not be stored: <see cref="WriteBatch.ExplainHistogram"/> says why.</param>
public readonly record struct HistogramEntry(BodyRange Message, long TimeMs, bool IsValid);

/// <summary>One exemplar of a request: where it is. <see cref="WriteBatch.TryReadExemplar"/> reads it.</summary>
/// <param name="Message">Its message in the body, legal protobuf.</param>
/// <param name="IsGood">False if its label references are bad (2.0 only).</param>
public readonly record struct ExemplarEntry(BodyRange Message, bool IsGood);

/// <summary>A run of bytes in the body.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct BodyRange(int Offset, int Length);

/// <summary>What a metric family is. The texts are in the body and unchecked: UTF-8 may be invalid, lengths are the sender's.</summary>
/// <param name="Type">The enum's number as sent; above 7 means unknown.</param>
/// <param name="Family">Name of the family; in 2.0 the series' own name.</param>
/// <param name="Help">Help text, may be empty.</param>
/// <param name="Unit">Unit, may be empty.</param>
public readonly record struct MetadataEntry(uint Type, BodyRange Family, BodyRange Help, BodyRange Unit);
