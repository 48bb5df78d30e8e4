using System.Collections;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace TsdbRemote.Blocks.Format;

/// <summary>How <c>meta.json</c> is written and read: the spelling of Prometheus, and what a damaged file is blamed for.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    IndentCharacter = '\t',
    IndentSize = 1,
    NewLine = "\n",
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    AllowDuplicateProperties = false,
    Converters = [typeof(UlidJsonConverter)])]
[JsonSerializable(typeof(BlockMeta))]
internal sealed partial class BlockMetaJson : JsonSerializerContext
{
    private static readonly JsonSerializerOptions Spelling = new(Default.Options)
    {
        // Labels in Thanos' section stay readable: the file is for an operator's eyes and never part of a web page.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = ((IJsonTypeInfoResolver)Default).WithAddedModifier(LeaveOutNothings),
    };

    /// <summary>The whole file.</summary>
    public static JsonTypeInfo<BlockMeta> Meta { get; } = (JsonTypeInfo<BlockMeta>)Spelling.GetTypeInfo(typeof(BlockMeta));

    /// <summary>A section that is kept unread.</summary>
    public static JsonTypeInfo<JsonElement> Section { get; } = (JsonTypeInfo<JsonElement>)Spelling.GetTypeInfo(typeof(JsonElement));

    /// <summary>What is wrong, with the field's name first.</summary>
    public static string Describe(JsonException malformed)
    {
        string message = malformed.Message;
        int location = message.IndexOf(" Path: $", StringComparison.Ordinal);
        if (location > 0) message = message[..location];
        string field = malformed.Path is null or "$" ? "" : malformed.Path[2..] + ": ";
        return field + message;
    }

    /// <summary>Where in the file the reader stood, in bytes.</summary>
    public static long OffsetOf(JsonException malformed, ReadOnlySpan<byte> json)
    {
        int start = 0;
        for (long line = malformed.LineNumber ?? 0; line > 0; line--) start += json[start..].IndexOf((byte)'\n') + 1;
        return start + (malformed.BytePositionInLine ?? 0);
    }

    /// <summary>Required keys always stand in the file, others only where they say something, as Go's <c>omitempty</c>.</summary>
    private static void LeaveOutNothings(JsonTypeInfo type)
    {
        foreach (JsonPropertyInfo property in type.Properties)
        {
            if (!property.IsRequired) property.ShouldSerialize = static (_, value) => value is not (null or 0L or false or ICollection { Count: 0 });
        }
    }
}

/// <summary>A ULID as a JSON string.</summary>
internal sealed class UlidJsonConverter : JsonConverter<Ulid>
{
    /// <inheritdoc/>
    public override Ulid Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        // Longer than any spelling of one with escapes: the text is not even unescaped then.
        bool isText = reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length <= Ulid.TextLength * 6;
        if (isText && Ulid.TryParse(reader.GetString(), out Ulid ulid)) return ulid;
        throw new JsonException("a ULID is expected");
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, Ulid value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}
