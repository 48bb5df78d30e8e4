using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace TsdbRemote.Storage.Levels;

/// <summary>How a manifest is written as JSON: strict in both directions, so that nothing that a newer program meant is dropped in silence.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    NewLine = "\n",
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ManifestState))]
internal sealed partial class ManifestJson : JsonSerializerContext
{
    /// <summary>Leaves quotes and letters of matchers readable: the file is for an operator's eyes, never part of a web page.</summary>
    public static ManifestJson Readable { get; } = new(new JsonSerializerOptions(Default.Options!) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
