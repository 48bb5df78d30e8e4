using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>What a server logs as a warning or worse, from its creation on.</summary>
internal sealed class Complaints : ILoggerProvider, ILogger
{
    private Complaints()
    {
    }

    public ConcurrentQueue<string> Heard { get; } = new();

    public static Complaints Of(ServerUnderTest server)
    {
        var complaints = new Complaints();
        server.Services.GetRequiredService<ILoggerFactory>().AddProvider(complaints);
        return complaints;
    }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel)) Heard.Enqueue($"{formatter(state, exception)} {exception}");
    }

    public void Dispose()
    {
    }
}
