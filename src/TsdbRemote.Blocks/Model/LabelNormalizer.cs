using System.Buffers;
using System.Text;
using System.Text.Unicode;
using TsdbRemote.Blocks.Encoding;

namespace TsdbRemote.Blocks.Model;

/// <summary>Why a series' labels are refused.</summary>
public enum LabelProblem : byte
{
    /// <summary>Nothing is wrong.</summary>
    None,

    /// <summary>The bytes are not label messages.</summary>
    Malformed,

    /// <summary><c>__name__</c> is absent or empty.</summary>
    MissingMetricName,

    /// <summary>A label without a name.</summary>
    EmptyLabelName,

    /// <summary>A name or value is not UTF-8.</summary>
    InvalidUtf8,

    /// <summary>A name stands twice, whatever the values.</summary>
    DuplicateName,

    /// <summary>More labels than <see cref="LabelLimits.MaxLabels"/>.</summary>
    TooManyLabels,

    /// <summary>A name longer than <see cref="LabelLimits.MaxNameBytes"/>.</summary>
    NameTooLong,

    /// <summary>A value longer than <see cref="LabelLimits.MaxValueBytes"/>.</summary>
    ValueTooLong,

    /// <summary>The canonical run is longer than <see cref="LabelLimits.MaxRunBytes"/>.</summary>
    TooLong,
}

/// <summary>Bounds of one series' labels.</summary>
/// <param name="MaxLabels">Labels as sent, empty ones counted.</param>
/// <param name="MaxNameBytes">UTF-8 bytes of a name.</param>
/// <param name="MaxValueBytes">UTF-8 bytes of a value.</param>
/// <param name="MaxRunBytes">Bytes of the canonical run.</param>
public readonly record struct LabelLimits(int MaxLabels, int MaxNameBytes, int MaxValueBytes, int MaxRunBytes)
{
    /// <summary>64 labels, 1,024 bytes a name, 4,096 a value, 16 KiB together.</summary>
    public static LabelLimits Default { get; } = new(64, 1024, 4096, 16384);
}

/// <summary>Brings the labels of any sender into the one form by which series are known (see <see cref="Labels"/>).</summary>
/// <remarks>
/// Sorts by name, drops labels with an empty value (they mean the same as no label), refuses what no series may have. Never changes a name
/// or a value: no Unicode normalisation, no replacement characters. Stateless; thread-safe; allocates nothing for up to 64 labels.
/// </remarks>
public static class LabelNormalizer
{
    private static readonly LabelLimits NoLimits = new(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue);

    private const int MaxOnStack = 64;
    private const int MaxDetailChars = 128;

    /// <summary>Rewrites a run in canonical form.</summary>
    /// <param name="run">Label messages in any legal spelling and order.</param>
    /// <param name="limits">What is still accepted.</param>
    /// <param name="output">Receives the canonical run; cleared first, and empty if there is a problem.</param>
    /// <param name="detail">Name of the offending label, escaped and bounded, where the problem has one.</param>
    /// <returns>The first problem in the order sent, then what concerns the run as a whole.</returns>
    public static LabelProblem Normalize(ReadOnlySpan<byte> run, in LabelLimits limits, PooledBuffer output, out string? detail) =>
        Normalize(run, limits, isSeries: true, output, out detail);

    /// <summary>Rewrites labels that are not a series', such as those of an exemplar, in canonical form: they need no <c>__name__</c>, and may be none at all.</summary>
    /// <param name="run">Label messages in any legal spelling and order.</param>
    /// <param name="limits">What is still accepted.</param>
    /// <param name="output">Receives the canonical run; cleared first, and empty if there is a problem.</param>
    /// <returns>The first problem.</returns>
    public static LabelProblem NormalizeUnnamed(ReadOnlySpan<byte> run, in LabelLimits limits, PooledBuffer output) =>
        Normalize(run, limits, isSeries: false, output, out _);

    private static LabelProblem Normalize(ReadOnlySpan<byte> run, in LabelLimits limits, bool isSeries, PooledBuffer output, out string? detail)
    {
        output.SetLength(0);
        if (limits.MaxLabels <= MaxOnStack)
        {
            Span<LabelSlot> slots = stackalloc LabelSlot[MaxOnStack];
            return Normalize(run, limits, isSeries, slots, output, out detail);
        }

        // A label takes two bytes or more, so a short run needs no room for as many labels as are allowed.
        LabelSlot[] rented = ArrayPool<LabelSlot>.Shared.Rent(Math.Min(limits.MaxLabels, run.Length / 2 + 1));
        try
        {
            return Normalize(run, limits, isSeries, rented, output, out detail);
        }
        finally
        {
            ArrayPool<LabelSlot>.Shared.Return(rented);
        }
    }

    /// <summary>True for runs of series that are accepted as they are, which nearly all are: an eighth of the work of rewriting them.</summary>
    /// <param name="run">Label messages in any spelling and order.</param>
    /// <param name="limits">What is still accepted.</param>
    /// <returns>True if rewriting would find no problem and give the same bytes.</returns>
    public static bool IsCanonicalSeries(ReadOnlySpan<byte> run, in LabelLimits limits) =>
        run.Length <= limits.MaxRunBytes && IsCanonical(run, limits, out bool isNamed) && isNamed;

    /// <summary>True only for the exact canonical bytes; limits and <c>__name__</c> are not looked at.</summary>
    public static bool IsCanonical(ReadOnlySpan<byte> run) => IsCanonical(run, NoLimits, out _);

    private static bool IsCanonical(ReadOnlySpan<byte> run, in LabelLimits limits, out bool isNamed)
    {
        isNamed = false;
        bool isAscii = Ascii.IsValid(run); // nearly always, and then no text need be looked at by itself
        var labels = new LabelRunReader(run);
        ReadOnlySpan<byte> lastName = default;
        int count = 0;
        int start = 0;
        while (labels.MoveNext())
        {
            ReadOnlySpan<byte> name = labels.Name;
            ReadOnlySpan<byte> value = labels.Value;

            // The first name is above none, unless it is empty.
            if (value.IsEmpty || name.SequenceCompareTo(lastName) <= 0 || ++count > limits.MaxLabels) return false;
            if (name.Length > limits.MaxNameBytes || value.Length > limits.MaxValueBytes) return false;

            // No spelling of these two fields is shorter than the canonical one, so equal length leaves only their order to check.
            if (labels.BytesRead - start != Labels.SizeOf(name.Length, value.Length)) return false;
            if (OffsetOf(run, name) > OffsetOf(run, value)) return false;
            if (!isAscii && (!Utf8.IsValid(name) || !Utf8.IsValid(value))) return false;
            isNamed = isNamed || name.SequenceEqual("__name__"u8);
            lastName = name;
            start = labels.BytesRead;
        }

        return !labels.IsMalformed;
    }

    private static LabelProblem Normalize(
        ReadOnlySpan<byte> run, in LabelLimits limits, bool isSeries, Span<LabelSlot> slots, PooledBuffer output, out string? detail)
    {
        LabelProblem problem = Collect(run, limits, slots, out int count, out detail);
        if (problem != LabelProblem.None) return problem;
        slots = slots[..count];
        bool named = !isSeries;
        long size = 0;
        foreach (LabelSlot slot in slots)
        {
            if (slot.ValueLength == 0) continue;
            named |= slot.Name(run).SequenceEqual("__name__"u8);
            size += Labels.SizeOf(slot.NameLength, slot.ValueLength);
        }

        if (!named) return LabelProblem.MissingMetricName;
        if (size > limits.MaxRunBytes) return LabelProblem.TooLong;
        Span<byte> target = output.Reserve((int)size);
        int at = 0;
        foreach (LabelSlot slot in slots)
        {
            if (slot.ValueLength != 0) at += Labels.Write(target[at..], slot.Name(run), slot.Value(run));
        }

        output.SetLength(at);
        return LabelProblem.None;
    }

    /// <summary>Checks each label and files it by name.</summary>
    private static LabelProblem Collect(
        ReadOnlySpan<byte> run, in LabelLimits limits, Span<LabelSlot> slots, out int count, out string? detail)
    {
        count = 0;
        var labels = new LabelRunReader(run);
        while (labels.MoveNext())
        {
            LabelProblem problem = Check(labels.Name, labels.Value, limits);
            if (problem == LabelProblem.None && count == limits.MaxLabels) problem = LabelProblem.TooManyLabels;
            if (problem == LabelProblem.None)
            {
                var slot = new LabelSlot(OffsetOf(run, labels.Name), labels.Name.Length, OffsetOf(run, labels.Value), labels.Value.Length);
                if (!TryInsert(run, slots, count, slot)) problem = LabelProblem.DuplicateName;
            }

            if (problem != LabelProblem.None)
            {
                bool named = problem is not (LabelProblem.EmptyLabelName or LabelProblem.TooManyLabels);
                detail = named ? LabelText.Escape(labels.Name, MaxDetailChars) : null;
                return problem;
            }

            count++;
        }

        detail = null;
        return labels.IsMalformed ? LabelProblem.Malformed : LabelProblem.None;
    }

    private static LabelProblem Check(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, in LabelLimits limits)
    {
        if (name.IsEmpty) return LabelProblem.EmptyLabelName;
        if (name.Length > limits.MaxNameBytes) return LabelProblem.NameTooLong;
        if (value.Length > limits.MaxValueBytes) return LabelProblem.ValueTooLong;
        return Utf8.IsValid(name) && Utf8.IsValid(value) ? LabelProblem.None : LabelProblem.InvalidUtf8;
    }

    /// <summary>Binary insertion: one comparison a label for senders that sort, and n log n at worst.</summary>
    private static bool TryInsert(ReadOnlySpan<byte> run, Span<LabelSlot> slots, int count, LabelSlot slot)
    {
        ReadOnlySpan<byte> name = slot.Name(run);
        int low = 0;
        int high = count;
        int middle = count - 1;
        while (low < high)
        {
            int order = slots[middle].Name(run).SequenceCompareTo(name);
            if (order == 0) return false;
            if (order < 0) low = middle + 1;
            else high = middle;
            middle = (low + high) >> 1;
        }

        slots[low..count].CopyTo(slots[(low + 1)..]);
        slots[low] = slot;
        return true;
    }

    private static int OffsetOf(ReadOnlySpan<byte> run, ReadOnlySpan<byte> part) => run.Overlaps(part, out int offset) ? offset : 0;

    private readonly record struct LabelSlot(int NameOffset, int NameLength, int ValueOffset, int ValueLength)
    {
        public ReadOnlySpan<byte> Name(ReadOnlySpan<byte> run) => run.Slice(NameOffset, NameLength);

        public ReadOnlySpan<byte> Value(ReadOnlySpan<byte> run) => run.Slice(ValueOffset, ValueLength);
    }
}
