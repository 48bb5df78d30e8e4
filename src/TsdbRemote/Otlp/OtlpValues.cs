using System.Globalization;
using System.Text;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Otlp;

/// <summary>Values of attributes as the text of a label: plain ones as they are, lists and maps as JSON, in the form of Go's libraries.</summary>
/// <remarks>The same value has to give the same text as in Prometheus: it is part of a series' name. Source: the collector's pdata (pcommon), Go's encoding/json.</remarks>
internal static class OtlpValues
{
    /// <summary>The text of a value.</summary>
    public static string Print(AnyValue? value)
    {
        switch (value?.ValueCase)
        {
            case AnyValue.ValueOneofCase.StringValue: return value.StringValue;
            case AnyValue.ValueOneofCase.BoolValue: return value.BoolValue ? "true" : "false";
            case AnyValue.ValueOneofCase.IntValue: return value.IntValue.ToString(CultureInfo.InvariantCulture);
            case AnyValue.ValueOneofCase.DoubleValue: return Print(value.DoubleValue);
            case AnyValue.ValueOneofCase.BytesValue: return value.BytesValue.ToBase64();
            case AnyValue.ValueOneofCase.ArrayValue:
            case AnyValue.ValueOneofCase.KvlistValue:
                var json = new StringBuilder();
                return TryAppend(json, value) ? json.ToString() : "";
            default: return "";
        }
    }

    private static string Print(double value) => double.IsFinite(value) ? GoNumber.Json(value) : "json: unsupported value: " + GoNumber.Shortest(value);

    /// <summary>Appends a value inside a list or a map.</summary>
    /// <returns>False for what JSON cannot say, a number that is none: then the whole text is empty.</returns>
    private static bool TryAppend(StringBuilder json, AnyValue? value)
    {
        switch (value?.ValueCase)
        {
            case AnyValue.ValueOneofCase.StringValue: return AppendString(json, value.StringValue);
            case AnyValue.ValueOneofCase.BytesValue: return AppendString(json, value.BytesValue.ToBase64());
            case AnyValue.ValueOneofCase.ArrayValue: return TryAppend(json, value.ArrayValue);
            case AnyValue.ValueOneofCase.KvlistValue: return TryAppend(json, value.KvlistValue);
            case AnyValue.ValueOneofCase.DoubleValue when !double.IsFinite(value.DoubleValue): return false;
            case AnyValue.ValueOneofCase.BoolValue:
            case AnyValue.ValueOneofCase.IntValue:
            case AnyValue.ValueOneofCase.DoubleValue:
                json.Append(Print(value));
                return true;
            default:
                json.Append("null");
                return true;
        }
    }

    private static bool TryAppend(StringBuilder json, ArrayValue list)
    {
        json.Append('[');
        for (int i = 0; i < list.Values.Count; i++)
        {
            if (i > 0) json.Append(',');
            if (!TryAppend(json, list.Values[i])) return false;
        }

        json.Append(']');
        return true;
    }

    private static bool TryAppend(StringBuilder json, KeyValueList map)
    {
        // The last of equal keys stays, as in a map that is filled in order.
        var sorted = new SortedDictionary<string, AnyValue?>(StringComparer.Ordinal);
        foreach (KeyValue pair in map.Values) sorted[pair.Key] = pair.Value;
        json.Append('{');
        bool isFirst = true;
        foreach ((string key, AnyValue? value) in sorted)
        {
            if (!isFirst) json.Append(',');
            isFirst = false;
            AppendString(json, key);
            json.Append(':');
            if (!TryAppend(json, value)) return false;
        }

        json.Append('}');
        return true;
    }

    /// <summary>Go escapes what HTML or JavaScript could trip over, and nothing else that it need not.</summary>
    private static bool AppendString(StringBuilder json, string text)
    {
        json.Append('"');
        foreach (char c in text)
        {
            switch (c)
            {
                case '"' or '\\': json.Append('\\').Append(c); break;
                case '\n': json.Append("\\n"); break;
                case '\r': json.Append("\\r"); break;
                case '\t': json.Append("\\t"); break;
                case '\b': json.Append("\\b"); break;
                case '\f': json.Append("\\f"); break;
                case < ' ' or '<' or '>' or '&' or '\u2028' or '\u2029': json.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"); break;
                default: json.Append(c); break;
            }
        }

        json.Append('"');
        return true;
    }
}
