using System.Collections;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.Unicode;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Blocks.Format;

/// <summary>The text of a <c>meta.json</c>: to and from JSON, with damage named by field and offset.</summary>
internal static class BlockMetaText
{
    private static readonly JsonSerializerOptions Spelling = new(BlockMetaJson.Default.Options)
    {
        // Labels in Thanos' section stay readable: the file is for an operator's eyes and never part of a web page.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = ((IJsonTypeInfoResolver)BlockMetaJson.Default).WithAddedModifier(LeaveOutNothings),
    };

    private static readonly JsonTypeInfo<BlockMeta> Meta = (JsonTypeInfo<BlockMeta>)Spelling.GetTypeInfo(typeof(BlockMeta));
    private static readonly JsonTypeInfo<JsonElement> Section = (JsonTypeInfo<JsonElement>)Spelling.GetTypeInfo(typeof(JsonElement));

    /// <summary>Writes the text.</summary>
    public static byte[] Write(BlockMeta meta) => JsonSerializer.SerializeToUtf8Bytes(meta, Meta);

    /// <summary>Reads the text; what it says is not judged yet.</summary>
    /// <exception cref="CorruptFileException">It is not JSON, or not of this shape.</exception>
    public static BlockMeta Parse(ReadOnlySpan<byte> json, string path)
    {
        if (!Utf8.IsValid(json)) throw new CorruptFileException(path, 0, "not UTF-8");
        BlockMeta meta;
        try
        {
            meta = JsonSerializer.Deserialize(json, Meta) ?? throw new CorruptFileException(path, 0, "it is null");
        }
        catch (JsonException malformed)
        {
            throw new CorruptFileException(path, OffsetOf(malformed, json), Describe(malformed));
        }

        if (meta.Thanos is { } section && !CanBeWritten(section)) throw new CorruptFileException(path, 0, "thanos: holds text that is no Unicode");
        return meta;
    }

    /// <summary>What is kept unread must not fail when the file is written again: an escape can name half a character.</summary>
    private static bool CanBeWritten(JsonElement section)
    {
        try
        {
            _ = JsonSerializer.SerializeToUtf8Bytes(section, Section);
            return true;
        }
        catch (Exception unreadable) when (unreadable is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    private static string Describe(JsonException malformed)
    {
        string message = malformed.Message;
        int location = message.IndexOf(" Path: $", StringComparison.Ordinal);
        if (location > 0) message = message[..location];
        string field = malformed.Path is null or "$" ? "" : malformed.Path[2..] + ": ";
        return field + message;
    }

    private static long OffsetOf(JsonException malformed, ReadOnlySpan<byte> json)
    {
        int start = 0;
        for (long line = malformed.LineNumber ?? 0; line > 0; line--) start += json[start..].IndexOf((byte)'\n') + 1;
        return start + (malformed.BytePositionInLine ?? 0);
    }

    /// <summary>Required keys always stand in the file, others only where they say something, as with Go's <c>omitempty</c>.</summary>
    private static void LeaveOutNothings(JsonTypeInfo type)
    {
        foreach (JsonPropertyInfo property in type.Properties)
        {
            if (!property.IsRequired) property.ShouldSerialize = static (_, value) => value is not (null or 0L or false or ICollection { Count: 0 });
        }
    }
}
