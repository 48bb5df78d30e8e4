using System.Text.Json;
using System.Text.Json.Serialization;

namespace TsdbRemote.Blocks.Format;

/// <summary>How <c>meta.json</c> is spelt: as Prometheus writes it. Unknown keys are passed over, no others.</summary>
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
internal sealed partial class BlockMetaJson : JsonSerializerContext;

/// <summary>A ULID as a JSON string.</summary>
internal sealed class UlidJsonConverter : JsonConverter<Ulid>
{
    // Longer than any spelling of one with escapes: such a text is not even unescaped.
    private const int MaxSpellingBytes = Ulid.TextLength * 6;

    /// <inheritdoc/>
    public override Ulid Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        bool isText = reader.TokenType == JsonTokenType.String && reader.ValueSpan.Length <= MaxSpellingBytes;
        if (isText && Ulid.TryParse(reader.GetString(), out Ulid ulid)) return ulid;
        throw new JsonException("a ULID is expected");
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, Ulid value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}
