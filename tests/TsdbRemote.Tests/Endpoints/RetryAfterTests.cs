using System.Globalization;
using Microsoft.AspNetCore.Http;
using TsdbRemote.Endpoints;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>Senders who are refused together are told different times.</summary>
public sealed class RetryAfterTests
{
    private const int Answers = 2000;

    [Theory]
    [InlineData(2, 1, 5)]
    [InlineData(5, 1, 5)]
    [InlineData(30, 30, 60)]
    [InlineData(60, 30, 60)]
    public async Task Every_second_of_the_range_is_told_and_no_other(int seconds, int least, int most)
    {
        var told = new SortedSet<int>();
        for (int i = 0; i < Answers; i++)
        {
            HttpContext plain = new DefaultHttpContext();
            await HttpAnswers.SendAsync(plain, HttpAnswers.Unavailable("not now", seconds));
            told.Add(int.Parse(plain.Response.Headers.RetryAfter!, CultureInfo.InvariantCulture));
            HttpContext json = new DefaultHttpContext();
            await ApiJson.RefuseAsync(json, StatusCodes.Status503ServiceUnavailable, ApiJson.Unavailable, "not now", seconds);
            told.Add(int.Parse(json.Response.Headers.RetryAfter!, CultureInfo.InvariantCulture));
        }

        Assert.Equal(Enumerable.Range(least, most - least + 1), told);
    }

    [Fact]
    public async Task An_answer_that_asks_nobody_to_come_again_has_no_such_header()
    {
        HttpContext context = new DefaultHttpContext();
        await HttpAnswers.SendAsync(context, HttpAnswers.MethodNotAllowed);
        Assert.Equal(0, context.Response.Headers.RetryAfter.Count);
    }
}
