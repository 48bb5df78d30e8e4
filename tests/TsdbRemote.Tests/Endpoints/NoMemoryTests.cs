using System.Net;
using System.Text;
using TsdbRemote.Blocks.Encoding;
using static TsdbRemote.Tests.Endpoints.Requests;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>The pool of request buffers has no memory: at each rent of a request in turn.</summary>
[Collection(nameof(AloneInTheProcess))]
public sealed class NoMemoryTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private long _rented;
    private long _failAt = long.MaxValue;

    public NoMemoryTests()
    {
        PooledBuffer.Renting = _ =>
        {
            if (Interlocked.Decrement(ref _failAt) == 0) throw new InsufficientMemoryException("injected"); // an OutOfMemoryException that others than the runtime may throw
            Interlocked.Increment(ref _rented);
        };
        PooledBuffer.Returned = () => Interlocked.Decrement(ref _rented);
    }

    public void Dispose()
    {
        PooledBuffer.Renting = null;
        PooledBuffer.Returned = null;
    }

    [Theory]
    [InlineData("1.0")]
    [InlineData("2.0")]
    [InlineData("2.0, refused in part")]
    [InlineData("otlp")]
    [InlineData("samples")]
    [InlineData("streamed")]
    public async Task T78_where_there_is_no_memory_for_a_request_it_is_a_503_and_every_buffer_is_given_back_and_the_next_is_served(string kind)
    {
        await using ServerUnderTest server = await ServerUnderTest.StartAsync();
        for (int i = 0; i < 3; i++) AssertServed(kind, await SendAsync(server, kind, i)); // what is kept from request to request is made
        await Task.Delay(100);
        long before = Interlocked.Read(ref _rented);
        int refused = 0;
        while (true)
        {
            Interlocked.Exchange(ref _failAt, refused + 1);
            Answer answer = await SendAsync(server, kind, 3 + refused);
            bool isInjected = Interlocked.Exchange(ref _failAt, long.MaxValue) <= 0;
            if (!isInjected)
            {
                AssertServed(kind, answer);
                break;
            }

            refused++;
            Assert.True(answer.Status == HttpStatusCode.ServiceUnavailable, $"rent {refused}: {answer.Status} {answer.Text}");
            Assert.NotNull(answer["Retry-After"]);
            if (kind.StartsWith("2.0", StringComparison.Ordinal)) Assert.Equal("0/0/0", answer.Written);
            await AssertRentedAsync(before, $"after rent {refused}");
            AssertServed(kind, await SendAsync(server, kind, 3 + refused));
            await AssertRentedAsync(before, $"after the request that followed rent {refused}");
        }

        Assert.True(refused >= (kind == "streamed" ? 1 : 2), $"only {refused} rents");
    }

    private async Task AssertRentedAsync(long expected, string when)
    {
        // The log gives a body back on its own thread, maybe just after the answer.
        using var patience = new CancellationTokenSource(Patience);
        while (Interlocked.Read(ref _rented) != expected && !patience.IsCancellationRequested) await Task.Delay(5);
        Assert.True(Interlocked.Read(ref _rented) == expected, $"{Interlocked.Read(ref _rented) - expected} buffers are not given back {when}");
    }

    private static Task<Answer> SendAsync(ServerUnderTest server, string kind, int number)
    {
        string big = new('x', 3000);
        return kind switch
        {
            "1.0" => server.WriteAsync(V1(SeriesOf("__name__=a", (number + 1, 1)), SeriesOf($"__name__=b,b={big}", (number + 1, 1)))),
            "2.0" => server.WriteAsync(V2Of(("__name__=a", [(number + 1, 1)]), ($"__name__=b,b={big}", [(number + 1, 1)]))),
            "2.0, refused in part" => server.WriteAsync(V2Of(("__name__=a", [(number + 1, 1)]), ($"__name__=b,b={new string('x', 5000)}", [(number + 1, 1)]))),
            "otlp" => server.SendAsync(HttpMethod.Post, "/api/v1/otlp/v1/metrics", Encoding.UTF8.GetBytes(
                $$$"""{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"timeUnixNano":"{{{number + 1}}}000000","asInt":"1","attributes":[]}]}}]}]}]}"""),
                ("Content-Type", "application/json")),
            "samples" => server.ReadAsync(Read(Query(0, 9, Eq("__name__", "a")))),
            _ => server.ReadAsync(Read(Query(0, 9, Eq("__name__", "a"))).Accepting(1)),
        };
    }

    private static void AssertServed(string kind, Answer answer)
    {
        HttpStatusCode expected = kind switch
        {
            "1.0" or "2.0" => HttpStatusCode.NoContent,
            "2.0, refused in part" => HttpStatusCode.BadRequest,
            _ => HttpStatusCode.OK,
        };
        Assert.True(answer.Status == expected, $"{answer.Status} {answer.Text}");
    }
}
