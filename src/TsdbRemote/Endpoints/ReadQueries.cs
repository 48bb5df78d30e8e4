using System.Globalization;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Endpoints;

/// <summary>One query of a read request, compiled.</summary>
/// <param name="Matchers">All must hold; none at all selects nothing.</param>
/// <param name="Range">Closed; empty if the start lies behind the end.</param>
internal sealed record ReadQuery(IReadOnlyList<Matcher> Matchers, TimeRange Range);

/// <summary>A read request whose form is checked. Its regular expressions may still cost minutes, all together: they are compiled in the read's slot.</summary>
/// <param name="Queries">In the order of the request.</param>
/// <param name="Streamed">True for STREAMED_XOR_CHUNKS, false for SAMPLES.</param>
internal sealed record ReadQueries(IReadOnlyList<Query> Queries, bool Streamed)
{
    /// <summary>Most bytes of the decompressed request.</summary>
    public const int MaxDecoded = 4 << 20;

    private const int MaxQueries = 32;
    private const int MaxMatchers = 100;

    /// <summary>As many as a list of values may have, which is what a dashboard sends for a variable of many hosts; the matcher holds an expression to less.</summary>
    private const int MaxMatcherChars = Matcher.MaxLiteralsBytes;

    /// <summary>Characters of expressions whose syntax is checked before there is a slot: more than mistakes are made in, and at worst 50 ms of work (folded classes).</summary>
    private const int MaxCharsCheckedAtOnce = 1 << 10;

    /// <summary>Time that the matchers of one request may take to compile, looked at between two of them.</summary>
    private static readonly TimeSpan MaxCompile = TimeSpan.FromSeconds(2);

    /// <summary>What one counts at most. Its size bounds what it costs to less; beyond, the machine paused.</summary>
    private static readonly TimeSpan MostOfOne = TimeSpan.FromMilliseconds(500);

    /// <summary>Reads a request. Hints are not looked at: the query's own bounds are what was asked for.</summary>
    /// <param name="body">A snappy block of a <c>prometheus.ReadRequest</c>.</param>
    /// <param name="queries">The request, if it holds.</param>
    /// <returns>Null, or the refusal.</returns>
    public static HttpAnswer? TryParse(ReadOnlySpan<byte> body, out ReadQueries? queries)
    {
        queries = null;
        CompressionStatus status = SnappyBlock.TryDecompress(body, MaxDecoded, out PooledBuffer? raw);
        if (status != CompressionStatus.Ok || raw is null) return HttpAnswers.BadSnappy(status, MaxDecoded);
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

    /// <summary>Selectors as queries over all of time.</summary>
    public static ReadQueries Of(IEnumerable<IReadOnlyList<SelectorTerm>> selectors)
    {
        var queries = new List<Query>();
        foreach (IReadOnlyList<SelectorTerm> terms in selectors)
        {
            var query = new Query { StartTimestampMs = long.MinValue, EndTimestampMs = long.MaxValue };
            foreach (SelectorTerm term in terms)
                query.Matchers.Add(new LabelMatcher { Type = (LabelMatcher.Types.Type)(int)term.Type, Name = term.Name, Value = term.Value });
            queries.Add(query);
        }

        return new ReadQueries(queries, Streamed: false);
    }

    /// <summary>Compiles the matchers. Costs up to some seconds, on the caller's thread.</summary>
    /// <param name="clock">Tells how long it takes.</param>
    /// <param name="stop">Ends it between two matchers.</param>
    /// <param name="compiled">The queries, if all their matchers could be compiled.</param>
    /// <returns>Null, or the refusal.</returns>
    /// <exception cref="OperationCanceledException">The reader is gone, or its time is up.</exception>
    public HttpAnswer? TryCompile(TimeProvider clock, CancellationToken stop, out IReadOnlyList<ReadQuery> compiled)
    {
        var queries = new List<ReadQuery>(Queries.Count);
        compiled = queries;
        TimeSpan spent = TimeSpan.Zero;
        foreach (Query query in Queries)
        {
            var matchers = new List<Matcher>(query.Matchers.Count);
            foreach (LabelMatcher matcher in query.Matchers)
            {
                stop.ThrowIfCancellationRequested();
                if (spent > MaxCompile) return HttpAnswers.ExpressionsTooExpensive(MaxCompile, queries.Count, matcher.Name, matcher.Value);
                long began = clock.GetTimestamp();
                if (Refusal(() => matchers.Add(Matcher.Create(TypeOf(matcher), matcher.Name, matcher.Value))) is { } refused) return refused;
                TimeSpan elapsed = clock.GetElapsedTime(began);
                spent += elapsed < MostOfOne ? elapsed : MostOfOne;
            }

            queries.Add(new ReadQuery(matchers, new TimeRange(query.StartTimestampMs, query.EndTimestampMs)));
        }

        return null;
    }

    private static HttpAnswer? Check(ReadRequest request, out ReadQueries? queries)
    {
        queries = null;
        if (request.Queries.Count > MaxQueries) return TooMany("queries in a request", MaxQueries, request.Queries.Count);
        if (!TryNegotiate(request, out bool streamed)) return HttpAnswers.ResponseTypes(request.AcceptedResponseTypes.Select(static type => (int)type));
        int charsChecked = 0;
        foreach (Query query in request.Queries)
        {
            if (query.Matchers.Count > MaxMatchers) return TooMany("matchers in a query", MaxMatchers, query.Matchers.Count);
            foreach (LabelMatcher matcher in query.Matchers)
            {
                if (Check(matcher, ref charsChecked) is { } refused) return refused;
            }
        }

        queries = new ReadQueries(request.Queries, streamed);
        return null;
    }

    private static HttpAnswer? Check(LabelMatcher matcher, ref int charsChecked)
    {
        if (!Enum.IsDefined(matcher.Type)) return HttpAnswers.BadRead(string.Create(CultureInfo.InvariantCulture, $"invalid matcher type {(int)matcher.Type}"));
        int chars = matcher.Name.Length + matcher.Value.Length;
        if (chars > MaxMatcherChars) return TooMany("characters in a matcher", MaxMatcherChars, chars);

        // A mistake is told at once, however many reads wait for a slot. Where there is more to look at, the slot bounds how many do so at a time.
        charsChecked += matcher.Value.Length;
        return charsChecked > MaxCharsCheckedAtOnce ? null : Refusal(() => Matcher.CheckSyntax(TypeOf(matcher), matcher.Value));
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

    private static HttpAnswer? Refusal(Action work)
    {
        try
        {
            work();
            return null;
        }
        catch (MatcherException refused)
        {
            return HttpAnswers.BadRead(refused.Message);
        }
    }

    private static MatcherType TypeOf(LabelMatcher matcher) => (MatcherType)(int)matcher.Type;

    private static HttpAnswer TooMany(string what, int limit, int given) =>
        HttpAnswers.BadRead(string.Create(CultureInfo.InvariantCulture, $"too many {what}: {given} given, {limit} allowed"));
}
