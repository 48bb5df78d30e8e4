using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Storage.Levels;

/// <summary>The bytes of a manifest file: indented JSON, then one line with the checksum of all before it.</summary>
/// <remarks>
/// <code>
/// {
///   "format_version": 1,
///   …
/// }
/// crc32c: 0123abcd        8 lower-case hex digits, line feed; over every byte before this line
/// </code>
/// </remarks>
internal static class ManifestText
{
    private const int DigitsLength = 8;
    // Leaves quotes and letters of matchers readable: the file is for an operator's eyes and never part of a web page.
    private static readonly ManifestJson Json = new(
        new JsonSerializerOptions(ManifestJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    private static readonly int LineLength = LinePrefix.Length + DigitsLength + 1;

    private static ReadOnlySpan<byte> LinePrefix => "crc32c: "u8;

    /// <summary>Writes a manifest.</summary>
    public static byte[] Write(ManifestState state)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(state, Json.ManifestState);
        byte[] text = new byte[json.Length + 1 + LineLength];
        json.CopyTo(text, 0);
        text[json.Length] = (byte)'\n';
        ReadOnlySpan<byte> body = text.AsSpan(0, json.Length + 1);
        Span<byte> line = text.AsSpan(json.Length + 1);
        LinePrefix.CopyTo(line);
        Crc32C.Of(body).TryFormat(line[LinePrefix.Length..], out _, "x8", CultureInfo.InvariantCulture);
        line[^1] = (byte)'\n';
        return text;
    }

    /// <summary>The JSON of a manifest whose checksum holds.</summary>
    /// <returns>What is damaged, or null.</returns>
    public static string? TryOpen(ReadOnlySpan<byte> text, out ReadOnlySpan<byte> json)
    {
        json = default;
        if (text.Length < LineLength || !text[^LineLength..].StartsWith(LinePrefix)) return "the checksum line is missing";
        ReadOnlySpan<byte> body = text[..^LineLength];
        Span<byte> expected = stackalloc byte[DigitsLength + 1];
        Crc32C.Of(body).TryFormat(expected, out _, "x8", CultureInfo.InvariantCulture);
        expected[^1] = (byte)'\n';
        if (!text[^expected.Length..].SequenceEqual(expected)) return "the checksum differs";
        json = body;
        return null;
    }

    /// <summary>Reads JSON whose checksum holds: what is wrong with it now is no damage of the disk, and must not be passed over.</summary>
    /// <exception cref="ManifestException">A newer format, or no manifest.</exception>
    public static ManifestState Parse(ReadOnlySpan<byte> json, string path)
    {
        ManifestState? state;
        try
        {
            int version = VersionOf(json);
            if (version > ManifestState.CurrentFormatVersion)
                throw new ManifestException($"{path} {NewerFormatException.TextOf(version, ManifestState.CurrentFormatVersion)}");
            state = JsonSerializer.Deserialize(json, Json.ManifestState);
        }
        catch (JsonException unknown)
        {
            throw new ManifestException($"{path} is not what this program writes, though its checksum holds: {unknown.Message}. "
                + "It was written by another version, which must be used to open it", unknown);
        }

        string? problem = state is null ? "it is empty" : state.Problem();
        return problem is null ? state! : throw new ManifestException($"{path} contradicts itself, though its checksum holds: {problem}");
    }

    private static int VersionOf(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json);
        while (reader.Read())
        {
            if (reader.CurrentDepth != 1 || reader.TokenType != JsonTokenType.PropertyName) continue;
            bool isVersion = reader.ValueTextEquals("format_version"u8);
            reader.Read();
            if (isVersion && reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int version)) return version;
            reader.Skip();
        }

        return 0;
    }
}
