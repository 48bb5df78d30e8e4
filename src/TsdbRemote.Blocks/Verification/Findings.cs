using System.Globalization;
using System.Runtime.CompilerServices;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Collects what is found: keeps the first of each rule and severity and up to 100 others, counts all.</summary>
/// <remarks>
/// The text of a finding that will not be kept is never built, so that a block of a million faults costs a million additions.
/// Not thread-safe.
/// </remarks>
internal sealed class Findings
{
    /// <summary>Findings kept before only the first of a rule is.</summary>
    public const int MaxKept = 100;

    private const int RuleCount = 52;

    private readonly List<BlockFinding> _kept = [];
    private readonly long[] _errors = new long[RuleCount + 1];
    private readonly long[] _warnings = new long[RuleCount + 1];
    private readonly SortedSet<int> _notRun = [];

    /// <summary>What is kept, in the order of finding.</summary>
    public IReadOnlyList<BlockFinding> Kept => _kept;

    /// <summary>Errors of all rules.</summary>
    public long Errors => _errors.Sum();

    /// <summary>Warnings of all rules.</summary>
    public long Warnings => _warnings.Sum();

    /// <summary>Rules that were not, or not wholly, checked.</summary>
    public IReadOnlyList<int> NotRun => [.. _notRun];

    /// <summary>Says that a rule is broken.</summary>
    public void Error(int rule, string file, long offset, [InterpolatedStringHandlerArgument("", nameof(rule))] ref ErrorText what)
    {
        _errors[rule]++;
        if (what.IsWanted) _kept.Add(new BlockFinding(rule, IsError: true, file, offset, what.Take()));
    }

    /// <summary>Says that something is odd which readers get along with.</summary>
    public void Warning(int rule, string file, long offset, [InterpolatedStringHandlerArgument("", nameof(rule))] ref WarningText what)
    {
        _warnings[rule]++;
        if (what.IsWanted) _kept.Add(new BlockFinding(rule, IsError: false, file, offset, what.Take()));
    }

    /// <summary>Says that rules were not, or not wholly, checked.</summary>
    public void Skip(params ReadOnlySpan<int> rules)
    {
        foreach (int rule in rules) _notRun.Add(rule);
    }

    private bool Wants(long[] counts, int rule) => counts[rule] == 0 || _kept.Count < MaxKept;

    /// <summary>The words of an error, put together only if they are kept.</summary>
    [InterpolatedStringHandler]
    internal ref struct ErrorText
    {
        private DefaultInterpolatedStringHandler _text;

        public ErrorText(int literalLength, int formattedCount, Findings owner, int rule, out bool isWanted)
        {
            IsWanted = isWanted = owner.Wants(owner._errors, rule);
            _text = isWanted ? new DefaultInterpolatedStringHandler(literalLength, formattedCount, CultureInfo.InvariantCulture) : default;
        }

        public bool IsWanted { get; }

        public void AppendLiteral(string value) => _text.AppendLiteral(value);

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        public void AppendFormatted<T>(T value, string? format) => _text.AppendFormatted(value, format);

        internal string Take() => _text.ToStringAndClear();
    }

    /// <summary>The words of a warning, put together only if they are kept.</summary>
    [InterpolatedStringHandler]
    internal ref struct WarningText
    {
        private DefaultInterpolatedStringHandler _text;

        public WarningText(int literalLength, int formattedCount, Findings owner, int rule, out bool isWanted)
        {
            IsWanted = isWanted = owner.Wants(owner._warnings, rule);
            _text = isWanted ? new DefaultInterpolatedStringHandler(literalLength, formattedCount, CultureInfo.InvariantCulture) : default;
        }

        public bool IsWanted { get; }

        public void AppendLiteral(string value) => _text.AppendLiteral(value);

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        internal string Take() => _text.ToStringAndClear();
    }
}
