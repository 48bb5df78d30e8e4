using System.Net;
using Google.Protobuf;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Endpoints;
using TsdbRemote.Protos.Prometheus;
using TsdbRemote.Storage.Engine;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Endpoints;

/// <summary>The whole program in this process, with a data directory of its own, and a client for it.</summary>
/// <remarks>Options are given as on a command line. TestServer enforces no Kestrel limit; <see cref="OnKestrel"/> listens on a real port.</remarks>
public sealed class ServerUnderTest : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly WebApplicationFactory<Program> _factory;
    private readonly bool _kestrel;

    private ServerUnderTest(bool kestrel, IFileSystem? files, TimeProvider? time, (string Key, string Value)[] options)
    {
        _kestrel = kestrel;
        _factory = new WebApplicationFactory<Program>().WithWebHostBuilder(builder =>
        {
            builder.UseSetting("storage:data_dir", _directory["data"]);
            builder.UseSetting("Logging:LogLevel:Default", "None");
            builder.UseSetting("urls", "http://127.0.0.1:0");
            foreach ((string key, string value) in options) builder.UseSetting(key, value);
            builder.ConfigureTestServices(services =>
            {
                if (files is not null) services.AddSingleton(files);
                if (time is not null) services.AddSingleton(time);
            });
        });
        if (kestrel) _factory.UseKestrel();
        _factory.StartServer();
        Client = _factory.CreateClient();
    }

    public HttpClient Client { get; }

    public LsmEngine Engine => _factory.Services.GetRequiredService<EngineHost>().Engine;

    public IServiceProvider Services => _factory.Services;

    public HttpMessageHandler Handler => _factory.Server.CreateHandler();

    public Uri Address => Client.BaseAddress!;

    public static async Task<ServerUnderTest> StartAsync(params (string Key, string Value)[] options) => await ReadyAsync(new ServerUnderTest(false, null, null, options));

    public static async Task<ServerUnderTest> OnAsync(IFileSystem files, params (string Key, string Value)[] options) =>
        await ReadyAsync(new ServerUnderTest(false, files, null, options));

    public static async Task<ServerUnderTest> OnClockAsync(TimeProvider time) => await ReadyAsync(new ServerUnderTest(false, null, time, []));

    public static async Task<ServerUnderTest> OnKestrel(params (string Key, string Value)[] options) => await ReadyAsync(new ServerUnderTest(true, null, null, options));

    /// <summary>Starts without waiting for the replay.</summary>
    public static ServerUnderTest Replaying(IFileSystem files, params (string Key, string Value)[] options) => new(false, files, null, options);

    public async Task<Answer> SendAsync(HttpMethod method, string path, byte[]? body = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null) request.Content = new ByteArrayContent(body);
        foreach ((string name, string value) in headers)
        {
            if (!request.Headers.TryAddWithoutValidation(name, value)) request.Content?.Headers.TryAddWithoutValidation(name, value);
        }

        using HttpResponseMessage response = await Client.SendAsync(request);
        return await Answer.OfAsync(response);
    }

    /// <summary>Status of a request that seems to come from an address; in process only.</summary>
    public async Task<int> StatusFromAsync(IPAddress from, string method, string path, params (string Name, string Value)[] headers) => (await _factory.Server.SendAsync(context =>
    {
        context.Connection.RemoteIpAddress = from;
        context.Request.Method = method;
        context.Request.Path = path;
        foreach ((string name, string value) in headers) context.Request.Headers[name] = value;
    })).Response.StatusCode;

    public Task<Answer> WriteAsync(IMessage message, params (string Name, string Value)[] headers) =>
        SendAsync(HttpMethod.Post, "/api/v1/write", Requests.Compress(message), headers.Length > 0 ? headers : Requests.HeadersOf(message));

    public Task<Answer> ReadAsync(ReadRequest request) => SendAsync(HttpMethod.Post, "/api/v1/read", Requests.Compress(request), Requests.ReadHeaders);

    /// <summary>All samples of the series that match, by SAMPLES; the answer has to be a 200.</summary>
    public async Task<IReadOnlyList<TimeSeries>> SamplesAsync(params LabelMatcher[] matchers)
    {
        Answer answer = await ReadAsync(Requests.Read(Requests.Query(long.MinValue, long.MaxValue, matchers)));
        Assert.True(answer.Status == HttpStatusCode.OK, answer.Text);
        return answer.AsSamples().Results.Single().Timeseries;
    }

    /// <summary>Everything that has a metric name.</summary>
    public Task<IReadOnlyList<TimeSeries>> EverythingAsync() => SamplesAsync(Requests.Re("__name__", ".+"));

    public async ValueTask DisposeAsync()
    {
        LsmEngine? engine = _factory.Services.GetRequiredService<EngineHost>().OpenEngine;
        Client.Dispose();
        await _factory.DisposeAsync();

        // The program stops its host as well, and who comes second there does not wait for the first.
        if (engine is not null) await engine.DisposeAsync();
        _directory.Dispose();
    }

    public override string ToString() => _kestrel ? Address.ToString() : "in process";

    private static async Task<ServerUnderTest> ReadyAsync(ServerUnderTest server)
    {
        await server.Engine.WhenReady;
        return server;
    }
}
