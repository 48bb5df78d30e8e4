using System.Globalization;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Endpoints;

/// <summary>One query of a read request, checked.</summary>
/// <param name="Matchers">All must hold; none at all selects nothing.</param>
/// <param name="Range">Closed; empty if the start lies behind the end.</param>
internal sealed record ReadQuery(IReadOnlyList<Matcher> Matchers, TimeRange Range);

/// <summary>A read request, checked.</summary>
/// <param name="Queries">In the order of the request.</param>
/// <param name="Streamed">True for STREAMED_XOR_CHUNKS, false for SAMPLES.</param>
internal sealed record ReadQueries(IReadOnlyList<ReadQuery> Queries, bool Streamed)
{
    /// <summary>Most bytes of the decompressed request.</summary>
    public const int MaxDecoded = 4 << 20;

    private const int MaxQueries = 32;
    private const int MaxMatchers = 100;
    private const int MaxMatcherChars = 16 << 10;

    /// <summary>Reads a request. Hints are not looked at: the query's own bounds are what was asked for.</summary>
    /// <param name="body">A snappy block of a <c>prometheus.ReadRequest</c>.</param>
    /// <param name="queries">The request, if it holds.</param>
    /// <returns>Null, or the refusal.</returns>
    public static HttpAnswer? TryParse(ReadOnlySpan<byte> body, out ReadQueries? queries)
    {
        queries = null;
        SnappyStatus status = SnappyBlock.TryDecompress(body, MaxDecoded, out PooledBuffer? raw);
        if (status != SnappyStatus.Ok || raw is null) return HttpAnswers.BadSnappy(status, MaxDecoded);
        using (raw)
        {
            try
            {
                return Check(ReadRequest.Parser.ParseFrom(raw.Span), out queries);
            }
            catch (InvalidProtocolBufferException broken)
            {
                return HttpAnswers.BadRead(broken.Message);
            }
        }
    }

    private static HttpAnswer? Check(ReadRequest request, out ReadQueries? queries)
    {
        queries = null;
        if (request.Queries.Count > MaxQueries) return TooMany("queries in a request", MaxQueries, request.Queries.Count);
        if (!TryNegotiate(request, out bool streamed)) return HttpAnswers.ResponseTypes(request.AcceptedResponseTypes.Select(static type => (int)type));
        var checkedQueries = new List<ReadQuery>(request.Queries.Count);
        foreach (Query query in request.Queries)
        {
            if (query.Matchers.Count > MaxMatchers) return TooMany("matchers in a query", MaxMatchers, query.Matchers.Count);
            if (Matchers(query, out List<Matcher> matchers) is { } refused) return refused;
            checkedQueries.Add(new ReadQuery(matchers, new TimeRange(query.StartTimestampMs, query.EndTimestampMs)));
        }

        queries = new ReadQueries(checkedQueries, streamed);
        return null;
    }

    /// <summary>The first type asked for that we know; SAMPLES if none was asked for.</summary>
    private static bool TryNegotiate(ReadRequest request, out bool streamed)
    {
        streamed = false;
        if (request.AcceptedResponseTypes.Count == 0) return true;
        foreach (ReadRequest.Types.ResponseType type in request.AcceptedResponseTypes)
        {
            streamed = type == ReadRequest.Types.ResponseType.StreamedXorChunks;
            if (streamed || type == ReadRequest.Types.ResponseType.Samples) return true;
        }

        return false;
    }

    private static HttpAnswer? Matchers(Query query, out List<Matcher> matchers)
    {
        matchers = new List<Matcher>(query.Matchers.Count);
        foreach (LabelMatcher matcher in query.Matchers)
        {
            if (!Enum.IsDefined(matcher.Type)) return HttpAnswers.BadRead(string.Create(CultureInfo.InvariantCulture, $"invalid matcher type {(int)matcher.Type}"));
            if (matcher.Name.Length + matcher.Value.Length > MaxMatcherChars)
                return TooMany("characters in a matcher", MaxMatcherChars, matcher.Name.Length + matcher.Value.Length);
            try
            {
                matchers.Add(Matcher.Create((MatcherType)(int)matcher.Type, matcher.Name, matcher.Value));
            }
            catch (MatcherException refused)
            {
                return HttpAnswers.BadRead(refused.Message);
            }
        }

        return null;
    }

    private static HttpAnswer TooMany(string what, int limit, int given) =>
        HttpAnswers.BadRead(string.Create(CultureInfo.InvariantCulture, $"too many {what}: {given} given, {limit} allowed"));
}
