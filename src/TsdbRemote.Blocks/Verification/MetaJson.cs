using System.Text.Json;
using System.Text.Unicode;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Format;

namespace TsdbRemote.Blocks.Verification;

/// <summary>Reads meta.json: rule 2 where it cannot be read, the rule of a field where that is of a wrong kind.</summary>
internal static class MetaJson
{
    /// <summary>Name of the file.</summary>
    public const string File = "meta.json";

    // 30,000 sources; a block that has more was made of more blocks than any compactor plans for.
    private const int MaxBytes = 1 << 20;

    /// <summary>Reads the file.</summary>
    /// <returns>Null if it cannot be read; that has been reported.</returns>
    public static MetaFacts? TryRead(VerifyContext context)
    {
        using FileSource? source = context.TryOpen(File);
        if (source is null)
        {
            context.Findings.Error(2, File, 0, $"there is none: the block is not finished");
            return null;
        }

        if (source.Length > MaxBytes)
        {
            context.Findings.Error(2, File, 0, $"has {source.Length} bytes; {MaxBytes} are allowed");
            return null;
        }

        byte[] bytes = new byte[source.Length];
        PooledBuffer? scratch = null;
        source.Read(0, bytes.Length, ref scratch).CopyTo(bytes);
        scratch?.Dispose();
        if (!Utf8.IsValid(bytes))
        {
            // Go puts U+FFFD in the place of what is none, and so reads something that nobody wrote.
            context.Findings.Error(2, File, 0, $"is not UTF-8");
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes);
            return new Reader(context.Findings).Read(document.RootElement);
        }
        catch (Exception problem) when (problem is JsonException or InvalidOperationException)
        {
            // Strings are checked only when they are asked for: one that is no UTF-8 is an InvalidOperationException.
            context.Findings.Error(2, File, 0, $"is not JSON as Go reads it: {problem.Message}");
            return null;
        }
    }

    private readonly struct Reader(Findings findings)
    {
        public MetaFacts? Read(JsonElement root)
        {
            if (root.ValueKind != JsonValueKind.Object)
            {
                findings.Error(2, File, 0, $"holds no object");
                return null;
            }

            JsonElement stats = Child(root, "stats", 7);
            JsonElement compaction = Child(root, "compaction", 9);
            return new MetaFacts
            {
                Ulid = Text(root, "ulid", 1),
                Version = Number(root, "version", 2),
                MinTimeMs = Number(root, "minTime", 4),
                MaxTimeMs = Number(root, "maxTime", 4),
                Stats = new MetaStats(
                    Count(stats, "numSamples", 7), Count(stats, "numFloatSamples", 7), Count(stats, "numHistogramSamples", 7),
                    Count(stats, "numSeries", 7), Count(stats, "numChunks", 7), Count(stats, "numTombstones", 8)),
                Level = Number(compaction, "level", 9),
                Sources = Texts(compaction, "sources", 9),
                Parents = [.. Items(compaction, "parents", 10).Select(Parent)],
                Hints = Texts(compaction, "hints", 11),
                IsDeletable = Flag(compaction, "deletable"),
                IsFailed = Flag(compaction, "failed"),
                Thanos = Thanos(root),
            };
        }

        private ThanosFacts? Thanos(JsonElement root)
        {
            JsonElement thanos = Child(root, "thanos", 2);
            if (thanos.ValueKind != JsonValueKind.Object) return null;
            var labels = new Dictionary<string, string>(StringComparer.Ordinal);
            JsonElement given = Child(thanos, "labels", 47);
            if (given.ValueKind == JsonValueKind.Object)
            {
                foreach (JsonProperty label in given.EnumerateObject()) labels[label.Name] = Text(given, label.Name, 47) ?? "";
            }

            return new ThanosFacts
            {
                Version = Number(thanos, "version", 2),
                Labels = labels,
                ResolutionMs = Number(Child(thanos, "downsample", 47), "resolution", 47),
                IsRewritten = Items(thanos, "rewrites", 9).Count > 0,
                SegmentFiles = Texts(thanos, "segment_files", 47),
                Files = [.. Items(thanos, "files", 47).Select(ListedFile)],
            };
        }

        private string Parent(JsonElement item)
        {
            if (item.ValueKind != JsonValueKind.Object) return "";
            foreach (string bound in (ReadOnlySpan<string>)["minTime", "maxTime"])
            {
                if (!Find(item, bound, out _)) Wrong($"parents[].{bound}", "there", 10);
                else Number(item, bound, 10);
            }

            return Text(item, "ulid", 10) ?? "";
        }

        private (string Path, long? Size) ListedFile(JsonElement item) =>
            item.ValueKind == JsonValueKind.Object ? (Text(item, "rel_path", 47) ?? "", Number(item, "size_bytes", 47)) : ("", null);

        /// <summary>An object; a default element if it is absent, null or something else.</summary>
        private JsonElement Child(JsonElement parent, string name, int rule)
        {
            if (!Find(parent, name, out JsonElement child) || child.ValueKind == JsonValueKind.Object) return child;
            Wrong(name, "an object", rule);
            return default;
        }

        private long? Number(JsonElement parent, string name, int rule)
        {
            if (!Find(parent, name, out JsonElement number)) return null;
            if (number.ValueKind == JsonValueKind.Number && number.TryGetInt64(out long value)) return value;
            Wrong(name, "a plain integer of 64 bits", rule);
            return null;
        }

        private ulong Count(JsonElement parent, string name, int rule)
        {
            if (!Find(parent, name, out JsonElement number)) return 0;
            if (number.ValueKind == JsonValueKind.Number && number.TryGetUInt64(out ulong value)) return value;
            Wrong(name, "a plain integer of 0 or more", rule);
            return 0;
        }

        private string? Text(JsonElement parent, string name, int rule)
        {
            if (!Find(parent, name, out JsonElement text)) return null;
            if (text.ValueKind == JsonValueKind.String) return text.GetString();
            Wrong(name, "a string", rule);
            return null;
        }

        private bool Flag(JsonElement parent, string name)
        {
            if (!Find(parent, name, out JsonElement flag)) return false;
            if (flag.ValueKind is not (JsonValueKind.True or JsonValueKind.False)) Wrong(name, "true or false", 11);
            return flag.ValueKind == JsonValueKind.True;
        }

        private List<string> Texts(JsonElement parent, string name, int rule)
        {
            List<JsonElement> items = Items(parent, name, rule);
            var texts = new List<string>(items.Count);
            foreach (JsonElement item in items)
            {
                if (item.ValueKind == JsonValueKind.String) texts.Add(item.GetString()!);
                else Wrong(name, "a list of strings", rule);
            }

            return texts;
        }

        private List<JsonElement> Items(JsonElement parent, string name, int rule)
        {
            if (!Find(parent, name, out JsonElement list)) return [];
            if (list.ValueKind == JsonValueKind.Array) return [.. list.EnumerateArray()];
            Wrong(name, "a list", rule);
            return [];
        }

        private static bool Find(JsonElement parent, string name, out JsonElement child)
        {
            child = default;
            return parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out child) && child.ValueKind != JsonValueKind.Null;
        }

        private void Wrong(string name, string expected, int rule) => findings.Error(rule, File, 0, $"{name} is not {expected}");
    }
}
