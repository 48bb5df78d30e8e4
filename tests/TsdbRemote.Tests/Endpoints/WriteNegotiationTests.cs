using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;
using TsdbRemote.Endpoints;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Tests.Endpoints;

public sealed class WriteNegotiationTests
{
    private const string Supported = "supported: prometheus.WriteRequest, io.prometheus.write.v2.Request";

    [Theory]
    [InlineData(null, WriteProtocol.V1)]
    [InlineData("", WriteProtocol.V1)]
    [InlineData("application/x-protobuf", WriteProtocol.V1)]
    [InlineData("application/x-protobuf;proto=prometheus.WriteRequest", WriteProtocol.V1)]
    [InlineData("application/x-protobuf;proto=io.prometheus.write.v2.Request", WriteProtocol.V2)]
    [InlineData("application/x-protobuf; proto=io.prometheus.write.v2.Request", WriteProtocol.V2)]
    [InlineData(" APPLICATION/X-PROTOBUF\t;\tPROTO = \"io.prometheus.write.v2.Request\" ", WriteProtocol.V2)]
    [InlineData("application/x-protobuf;charset=utf-8;proto=io.prometheus.write.v2.Request;", WriteProtocol.V2)]
    [InlineData("application/x-protobuf;proto=io.prometheus.write.v2.Request;proto=yolo", WriteProtocol.V2)]
    [InlineData("application/x-protobuf;version=2.0", WriteProtocol.V1)]
    public void A_content_type_names_the_message(string? contentType, WriteProtocol expected)
    {
        Assert.Null(WriteNegotiation.Decide(contentType, "snappy", out WriteProtocol protocol, out _));
        Assert.Equal(expected, protocol);
    }

    [Theory]
    [InlineData("yolo", "expected application/x-protobuf as the first (media) part, got yolo content-type")]
    [InlineData("application/json;proto=prometheus.WriteRequest", "expected application/x-protobuf as the first (media) part, got application/json content-type")]
    [InlineData(";proto=prometheus.WriteRequest", "expected application/x-protobuf as the first (media) part, got  content-type")]
    [InlineData("application/x-protobuf;foo", "expected parameters to be key-values, got foo in application/x-protobuf;foo content-type")]
    [InlineData("application/x-protobuf;a=b=c", "expected parameters to be key-values, got a=b=c in application/x-protobuf;a=b=c content-type")]
    [InlineData(
        "application/x-protobuf;proto=yolo", "got application/x-protobuf;proto=yolo content type; unknown type for remote write protobuf message yolo, " + Supported)]
    [InlineData(
        "application/x-protobuf;proto=PROMETHEUS.WriteRequest",
        "got application/x-protobuf;proto=PROMETHEUS.WriteRequest content type; unknown type for remote write protobuf message PROMETHEUS.WriteRequest, " + Supported)]
    public void Another_content_type_is_a_415_that_says_what_was_wrong(string contentType, string text) =>
        Assert.Equal(new HttpAnswer(StatusCodes.Status415UnsupportedMediaType, text), WriteNegotiation.Decide(contentType, "gzip", out _, out _));

    [Fact]
    public void Two_content_types_are_refused() =>
        Assert.Equal(415, WriteNegotiation.Decide(new StringValues(["application/x-protobuf", "application/x-protobuf"]), "snappy", out _, out _)!.Value.Status);

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("snappy")]
    [InlineData(" Snappy ")]
    public void No_encoding_means_snappy(string? encoding) => AssertDecides(encoding, Compression.Snappy);

    [Fact]
    public void The_encoding_zstd_means_zstd() => AssertDecides(" ZSTD", Compression.Zstd);

    [Theory]
    [InlineData("gzip")]
    [InlineData("snappy,zstd")]
    [InlineData("snappy,snappy")]
    public void Another_encoding_is_a_415_by_name(string encoding) => Assert.Equal(
        new HttpAnswer(415, $"{encoding} encoding (compression) is not accepted by this server; only snappy and zstd are acceptable"),
        WriteNegotiation.Decide("application/x-protobuf", encoding, out _, out _));

    [Fact]
    public void What_a_sender_gave_is_repeated_bounded_and_without_control_characters()
    {
        string text = WriteNegotiation.Decide("bad\u001b[31m\u202e" + new string('x', 1000), "", out _, out _)!.Value.Text!;
        Assert.Contains("bad\\u001b[31m\\u202exxx", text, StringComparison.Ordinal);
        Assert.InRange(text.Length, 256, 400);
    }

    private static void AssertDecides(string? encoding, Compression expected)
    {
        Assert.Null(WriteNegotiation.Decide("application/x-protobuf", encoding, out _, out Compression compression));
        Assert.Equal(expected, compression);
    }
}
