using System.Text.Json.Serialization;

namespace TsdbRemote.Storage.Levels;

/// <summary>
/// How a manifest is written as JSON: strict in both directions, so that nothing that a newer program meant is dropped in silence.
/// </summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    NewLine = "\n",
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ManifestState))]
internal sealed partial class ManifestJson : JsonSerializerContext;
