using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Protos.Otlp;

namespace TsdbRemote.Otlp;

/// <summary>The two forms of an export request: protobuf, and JSON in OTLP's dialect (ids in hexadecimal). Stateless, thread-safe.</summary>
/// <remarks>
/// Parsed, a request takes many times its bytes: an attribute of four is two objects. So it is weighed first, without taking memory, and parsed only if the
/// weight is allowed. Text that is no UTF-8 is refused, never replaced.
/// </remarks>
internal static class OtlpMessage
{
    /// <summary>Numbers in a list that weigh as much as a message.</summary>
    private const int NumbersOfWeight = 16;

    private const int MaxDepth = 100;
    private const int TraceIdBytes = 16;
    private const int SpanIdBytes = 8;

    private static readonly JsonParser Json = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));
    private static readonly MessageParser<ExportRequest> Protobuf = ExportRequest.Parser.WithDiscardUnknownFields(true);

    /// <summary>Weighs a request: messages, and numbers in lists.</summary>
    /// <param name="body">The request.</param>
    /// <param name="isJson">Its form.</param>
    /// <param name="weight">Its weight.</param>
    /// <returns>Null, or why it is no request.</returns>
    public static string? Weigh(ReadOnlySpan<byte> body, bool isJson, out long weight)
    {
        weight = 0;
        if (isJson) return WeighJson(body, out weight);
        return TryWeigh(body, ExportRequest.Descriptor, 0, ref weight) ? null : "a text of the request is not UTF-8";
    }

    /// <summary>Parses a request that was weighed.</summary>
    /// <param name="body">The request.</param>
    /// <param name="isJson">Its form.</param>
    /// <param name="request">The request.</param>
    /// <returns>Null, or why it is none.</returns>
    public static string? Parse(ReadOnlySpan<byte> body, bool isJson, out ExportRequest request)
    {
        request = new ExportRequest();
        try
        {
            request = isJson ? Json.Parse<ExportRequest>(Encoding.UTF8.GetString(body)) : Protobuf.ParseFrom(body);
            return ExemplarsOf(request).Select(exemplar => Check(exemplar, isJson)).FirstOrDefault(static problem => problem is not null);
        }
        catch (Exception broken) when (broken is InvalidProtocolBufferException or InvalidJsonException or FormatException or OverflowException)
        {
            return broken.Message;
        }
    }

    private static string? WeighJson(ReadOnlySpan<byte> body, out long weight)
    {
        weight = 0;
        if (!Utf8.IsValid(body)) return "the body is not UTF-8";
        try
        {
            var reader = new Utf8JsonReader(body, new JsonReaderOptions { MaxDepth = 4 * MaxDepth });
            long others = 0;
            while (reader.Read())
            {
                if (reader.TokenType == JsonTokenType.StartObject) weight++;
                else others++;
            }

            weight += others / NumbersOfWeight;
            return null;
        }
        catch (JsonException broken)
        {
            return broken.Message;
        }
    }

    /// <summary>Walks a message; where it is broken, or deeper than the parser goes, the walk ends: the parser will say so.</summary>
    /// <returns>False for a text that is not UTF-8.</returns>
    private static bool TryWeigh(ReadOnlySpan<byte> message, MessageDescriptor type, int depth, ref long weight)
    {
        int at = 0;
        while (depth <= MaxDepth && at < message.Length && Varint.TryRead(message, ref at, out ulong tag))
        {
            ulong length = 0;
            int wire = (int)(tag & 7);
            if (wire == 0 ? !Varint.TryRead(message, ref at, out _) : wire == 2 && !Varint.TryRead(message, ref at, out length)) return true;
            if (wire is 1 or 5) length = wire == 1 ? 8UL : 4UL;
            if (wire is 3 or 4 or > 5 || length > (ulong)(message.Length - at)) return true;
            ReadOnlySpan<byte> value = message.Slice(at, (int)length);
            at += (int)length;
            FieldDescriptor? field = tag >> 3 <= int.MaxValue ? type.FindFieldByNumber((int)(tag >> 3)) : null;
            if (field is null || wire != 2) continue;
            weight += field.FieldType == FieldType.Message ? 1 : (long)length / NumbersOfWeight;
            if (field.FieldType == FieldType.String && !Utf8.IsValid(value)) return false;
            if (field.FieldType == FieldType.Message && !TryWeigh(value, field.MessageType, depth + 1, ref weight)) return false;
        }

        return true;
    }

    private static IEnumerable<Exemplar> ExemplarsOf(ExportRequest request) =>
        request.ResourceMetrics.SelectMany(static resource => resource.ScopeMetrics).SelectMany(static scope => scope.Metrics).SelectMany(static metric => metric.DataCase switch
        {
            Metric.DataOneofCase.Gauge => metric.Gauge.DataPoints.SelectMany(static point => point.Exemplars),
            Metric.DataOneofCase.Sum => metric.Sum.DataPoints.SelectMany(static point => point.Exemplars),
            Metric.DataOneofCase.Histogram => metric.Histogram.DataPoints.SelectMany(static point => point.Exemplars),
            Metric.DataOneofCase.ExponentialHistogram => metric.ExponentialHistogram.DataPoints.SelectMany(static point => point.Exemplars),
            _ => [],
        });

    /// <summary>Gives ids their bytes, and holds them against their length.</summary>
    private static string? Check(Exemplar exemplar, bool isJson)
    {
        if (isJson) (exemplar.TraceId, exemplar.SpanId) = (FromHex(exemplar.TraceId), FromHex(exemplar.SpanId));
        if (exemplar.TraceId.Length is not (0 or TraceIdBytes)) return "invalid length for a trace id";
        return exemplar.SpanId.Length is 0 or SpanIdBytes ? null : "invalid length for a span id";
    }

    /// <summary>Protobuf's JSON has bytes in base64, OTLP's has ids in hexadecimal: digits that are base64 too, so the parser took them for it.</summary>
    private static ByteString FromHex(ByteString read) => ByteString.CopyFrom(Convert.FromHexString(read.ToBase64()));
}
