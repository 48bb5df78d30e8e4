using CsCheck;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Tests.Engine;

/// <summary>A delete of a history over series whose labels are <c>__name__</c> (m for even numbers, n for odd ones), <c>i</c> (the number) and <c>odd</c> (yes for every third).</summary>
/// <param name="Kind">Which selector.</param>
/// <param name="Series">A number for those that name one.</param>
/// <param name="From">First instant: windows back from the current one, and a place in it.</param>
/// <param name="To">Last instant, or the first, whichever order they come in.</param>
/// <param name="IsAllTime">The instants do not count.</param>
internal sealed record ModelDelete(int Kind, int Series, (int WindowsBack, long Offset) From, (int WindowsBack, long Offset) To, bool IsAllTime)
{
    private const int Kinds = 7;

    public string Selector => Kind switch
    {
        0 => "m",
        1 => $$"""{i="{{Series}}"}""",
        2 => """{odd="yes"}""",
        3 => """{__name__=~"m|n",odd=""}""",
        4 => """{i=~"[0-2]"}""",
        5 => """{__name__=~".+"}""",
        _ => """n{i!="1"}""",
    };

    public static Gen<ModelDelete> Of(int seriesCount, Gen<(int WindowsBack, long Offset)> place) => Gen.Select(
        Gen.Int[0, Kinds - 1], Gen.Int[0, seriesCount - 1], place, place, Gen.Int[0, 3],
        static (kind, series, from, to, allTime) => new ModelDelete(kind, series, from, to, allTime == 0));

    public bool Selects(int series) => Kind switch
    {
        0 => series % 2 == 0,
        1 => series == Series,
        2 => series % 3 == 0,
        3 => series % 3 != 0,
        4 => series <= 2,
        5 => true,
        _ => series % 2 == 1 && series != 1,
    };

    public TimeRange Range(Func<(int WindowsBack, long Offset), long> timeOf)
    {
        if (IsAllTime) return TimeRange.All;
        long from = timeOf(From);
        long to = timeOf(To);
        return new TimeRange(Math.Min(from, to), Math.Max(from, to));
    }
}
