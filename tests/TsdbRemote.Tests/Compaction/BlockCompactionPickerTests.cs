using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Tests.Compaction;

/// <summary>All that the picker decides, as <c>Data/compaction/blocks.txt</c> tells it; that page says what its lines mean.</summary>
/// <remarks>With <c>TSDB_REMOTE_REWRITE_GOLDEN=1</c> the answers are written anew.</remarks>
public sealed class BlockCompactionPickerTests
{
    private const long HourMs = 3_600_000;
    private const int NamesShown = 10;
    private const int MaxJobs = 1000;
    private const int NoMoreBlocks = 10_000;

    [Fact]
    public void Every_case_of_the_script_is_decided_as_it_says()
    {
        string path = Repository.TestData("compaction/blocks.txt");
        string text = File.ReadAllText(path);
        string[] paragraphs = text.TrimEnd().Split("\n\n");
        string actual = string.Join("\n\n", paragraphs.Select(Answer)) + "\n";
        if (Environment.GetEnvironmentVariable("TSDB_REMOTE_REWRITE_GOLDEN") == "1") File.WriteAllText(path, actual);
        Assert.True(paragraphs.Length > 25);
        Assert.Equal(text, actual);
    }

    [Fact]
    public void Ranges_grow_by_three_up_to_31_days_and_a_tenth_of_the_retention()
    {
        Assert.Equal([2, 6, 18, 54, 162, 486], RangesOf(null));
        Assert.Equal([2, 6, 18, 54, 162, 486], RangesOf(4860));
        Assert.Equal([2, 6, 18, 54, 162], RangesOf(4859));
        Assert.Equal([2], RangesOf(20));
        Assert.Equal([], RangesOf(19));
        Assert.Equal([744], new BlockCompactionPicker(744 * HourMs, 0, 0, null).Ranges.Select(static range => range / HourMs));
    }

    private static IEnumerable<long> RangesOf(long? retentionHours) => new BlockCompactionPicker(2 * HourMs, 0, 0, retentionHours * HourMs).Ranges.Select(static range => range / HourMs);

    private static string Answer(string paragraph)
    {
        int cut = paragraph.IndexOf("\n----", StringComparison.Ordinal);
        if (cut < 0) return paragraph; // prose
        string[] lines = [.. paragraph[..cut].Split('\n').Where(static line => !line.StartsWith('#'))];
        return $"{paragraph[..cut]}\n----\n{new Case(lines).Answer()}";
    }

    private sealed class Case
    {
        private readonly List<BlockFigures> _blocks = [];
        private readonly List<TimeRange> _waiting = [];
        private readonly List<TimeRange> _busy = [];
        private readonly HashSet<string> _alone = [];
        private readonly BlockCompactionPicker _picker;
        private readonly bool _isToRest;
        private readonly long _nowMs;
        private readonly HashSet<string>? _asked;
        private readonly bool _onlyAsked;
        private readonly int _atLeast = 2;

        public Case(string[] lines)
        {
            string[] command = lines[0].Split(' ');
            _isToRest = command[0] switch { "rest" => true, "pick" => false, _ => throw new FormatException(lines[0]) };
            _picker = new BlockCompactionPicker(2 * HourMs, HourMs / 2, HourMs / 6, null);
            foreach (string setting in command[1..])
            {
                string[] pair = setting.Split('=');
                switch (pair[0])
                {
                    case "now":
                        _nowMs = Hours(pair[1]);
                        break;
                    case "retention":
                        _picker = new BlockCompactionPicker(2 * HourMs, HourMs / 2, HourMs / 6, Hours(pair[1]));
                        break;
                    case "busy":
                        _busy.Add(Range(pair[1]));
                        break;
                    case "atleast":
                        _atLeast = int.Parse(pair[1], CultureInfo.InvariantCulture);
                        break;
                    case "asked":
                        _asked = [.. pair[1].Split(',')];
                        break;
                    case "only":
                        _onlyAsked = pair[1] == "asked";
                        break;
                    default:
                        throw new FormatException(setting);
                }
            }

            foreach (string line in lines[1..]) Add(line.Split(' '));
        }

        public string Answer()
        {
            if (!_isToRest) return Next() is { } next ? Print(next) : "nothing";
            var text = new StringBuilder();
            for (int jobs = 0; Next() is { } job; jobs++)
            {
                Assert.True(jobs < MaxJobs, "it does not come to rest");
                text.Append(Print(job)).Append('\n');
                _blocks.RemoveAll(block => job.Blocks.Contains(block));
                long rank = BlockCompactionJob.RankOf(job.Blocks.Select(static block => block.Rank));
                Assert.DoesNotContain(_blocks, block => block.Range.Overlaps(job.Range) && block.Rank >= job.Blocks.Min(static input => input.Rank) && block.Rank <= rank);
                _blocks.Add(new BlockFigures($"result{jobs}", job.Range, job.Blocks.Sum(static block => block.Bytes), rank, Adopted: false));
            }

            return $"{text}left: {string.Join(' ', _blocks.OrderBy(static block => block.Range.MinMs).Select(static block => Print(block.Range)))}";
        }

        private static long Hours(string text) => (long)(decimal.Parse(text, CultureInfo.InvariantCulture) * HourMs);

        private static TimeRange Range(string text)
        {
            int dash = text.IndexOf('-', 1);
            return new TimeRange(Hours(text[..dash]), Hours(text[(dash + 1)..]) - 1);
        }

        private static string Print(TimeRange range) =>
            string.Create(CultureInfo.InvariantCulture, $"{(decimal)range.MinMs / HourMs:0.##}-{(decimal)(range.MaxMs + 1) / HourMs:0.##}");

        private static string Print(BlockCompactionJob job) =>
            $"{Print(job.Range)}: {(job.Blocks.Length > NamesShown ? $"{job.Blocks.Length} blocks" : string.Join(' ', job.Blocks.Select(static block => block.Ulid)))}";

        private BlockCompactionJob? Next() =>
            _picker.Next(_blocks, () => _waiting, _nowMs, range => _busy.Exists(range.Overlaps), _alone.Contains, _atLeast, _asked, _onlyAsked);

        private void Add(string[] words)
        {
            if (words[0] == "waiting")
            {
                _waiting.AddRange(words[1..].Select(Range));
                return;
            }

            long bytes = 1 << 20;
            long madeMs = 0;
            bool isForeign = false;
            bool isAlone = false;
            foreach (string word in words[2..])
            {
                if (word == "foreign") isForeign = true;
                else if (word == "alone") isAlone = true;
                else if (word == "new") madeMs = _nowMs - HourMs / 6 + 1;
                else if (word == "ahead") madeMs = _nowMs + 1;
                else bytes = ByteSize.Parse(word).Bytes;
            }

            string[] span = words[1].Split('/');
            TimeRange all = Range(span[0]);
            long stepMs = span.Length > 1 ? Hours(span[1]) : all.MaxMs + 1 - all.MinMs;
            for (long start = all.MinMs; start < all.MaxMs; start += stepMs)
            {
                string name = words[0].EndsWith('*') ? $"{words[0][..^1]}{(start - all.MinMs) / stepMs}" : words[0];
                long rank = isForeign ? _blocks.Count - NoMoreBlocks : _blocks.Count + 2;
                _blocks.Add(new BlockFigures(name, new TimeRange(start, start + stepMs - 1), bytes, rank, isForeign) { MadeMs = madeMs });
                if (isAlone) _alone.Add(name);
            }
        }
    }
}
