using System.Globalization;

namespace TsdbRemote.Endpoints;

/// <summary>The header <c>Retry-After</c>, drawn anew for each answer, so that senders who were refused together do not come back in step.</summary>
internal static class RetryAfter
{
    // What is over in seconds is a queue; what lasts until somebody acts, or a disk has room, is a state.
    private const int ShortestState = 30;
    private const int LongestState = 60;
    private const int LongestQueue = 5;

    /// <summary>Whole seconds: 1 to 5 for a queue, 30 to 60 for a state.</summary>
    /// <param name="seconds">What would do for a single sender; from 30 on it is a state.</param>
    public static int Jittered(int seconds) =>
        seconds >= ShortestState ? Random.Shared.Next(ShortestState, LongestState + 1) : Random.Shared.Next(1, LongestQueue + 1);

    /// <summary>Sets the header; not for 0.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="seconds">As for <see cref="Jittered"/>.</param>
    public static void Set(HttpResponse response, int seconds)
    {
        if (seconds > 0) response.Headers.RetryAfter = Jittered(seconds).ToString(CultureInfo.InvariantCulture);
    }
}
