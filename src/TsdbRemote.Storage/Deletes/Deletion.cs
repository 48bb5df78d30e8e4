using System.Collections.Immutable;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Levels;

namespace TsdbRemote.Storage.Deletes;

/// <summary>A tombstone, ready to be asked about series. Thread-safe.</summary>
internal sealed class Deletion
{
    // A matcher counts the time that its values took over its life, which here is as long as the tombstone's; a new one begins at nothing.
    private const int Attempts = 5;

    private Matcher[] _matchers;

    private Deletion(TombstoneEntry entry, IEnumerable<Matcher> matchers)
    {
        Entry = entry;
        _matchers = [.. matchers];
    }

    /// <summary>What the manifest says.</summary>
    public TombstoneEntry Entry { get; }

    /// <summary>The conditions, all of which must hold.</summary>
    public IReadOnlyList<Matcher> Matchers => Volatile.Read(ref _matchers);

    /// <summary>A new delete.</summary>
    /// <param name="matchers">What it selects.</param>
    /// <param name="range">The time deleted, not empty.</param>
    /// <param name="segment">The log segment that it begins.</param>
    public static Deletion Of(IReadOnlyList<Matcher> matchers, TimeRange range, long segment) =>
        new(new TombstoneEntry(TombstoneEntry.SequenceOf(segment), range.MinMs, range.MaxMs, TextOf(matchers)), matchers);

    /// <summary>The delete that a manifest names.</summary>
    /// <exception cref="ManifestException">Its matchers are none.</exception>
    public static Deletion Of(TombstoneEntry entry)
    {
        try
        {
            return new Deletion(entry, SelectorParser.Parse($"{{{string.Join(',', entry.Matchers)}}}").Select(Compile));
        }
        catch (Exception refused) when (refused is SelectorException or MatcherException)
        {
            throw new ManifestException($"the tombstone of sequence {entry.Sequence} has matchers that cannot be read: {refused.Message}", refused);
        }
    }

    /// <summary>Matchers as the manifest has them: names and values quoted, whatever they are.</summary>
    public static ImmutableArray<string> TextOf(IEnumerable<Matcher> matchers) => [.. matchers.Select(static matcher => matcher.ToSelectorTerm())];

    /// <summary>True if the series is selected.</summary>
    /// <param name="labels">Its labels as a run.</param>
    /// <exception cref="IOException">One expression took seconds for one value, again and again.</exception>
    public bool Matches(ReadOnlySpan<byte> labels)
    {
        for (int attempt = 1; ; attempt++)
        {
            Matcher[] matchers = Volatile.Read(ref _matchers);
            try
            {
                return Matches(matchers, labels);
            }
            catch (MatcherException) when (attempt < Attempts)
            {
                Interlocked.CompareExchange(ref _matchers, [.. matchers.Select(static old => Matcher.Create(old.Type, old.Name, old.Value))], matchers);
            }
            catch (MatcherException expensive)
            {
                throw new IOException($"a delete cannot be applied: {expensive.Message}", expensive);
            }
        }
    }

    private static bool Matches(Matcher[] matchers, ReadOnlySpan<byte> labels)
    {
        foreach (Matcher matcher in matchers)
        {
            Labels.TryGet(labels, matcher.NameUtf8.Span, out ReadOnlySpan<byte> value);
            if (!matcher.Matches(value)) return false;
        }

        return true;
    }

    private static Matcher Compile(SelectorTerm term) => Matcher.Create(term.Type, term.Name, term.Value);
}
