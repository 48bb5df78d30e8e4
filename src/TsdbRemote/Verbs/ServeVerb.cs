using System.Runtime.InteropServices;
using Prometheus;
using TsdbRemote.Access;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Endpoints;
using TsdbRemote.Options;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Telemetry;
using Metrics = TsdbRemote.Telemetry.Metrics;

namespace TsdbRemote.Verbs;

/// <summary>Runs the server until it is told to stop.</summary>
internal static class ServeVerb
{
    /// <summary>Exit code of a start that a log segment stopped: damaged under <c>refuse</c>, of another version, or unreadable.</summary>
    private const string RequestDiagnostics = "Microsoft.AspNetCore.Hosting.Diagnostics";

    private const int LogRefused = 3;

    /// <summary>Time that requests may take to end once the server is told to stop; the flush has its own.</summary>
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Runs the server.</summary>
    /// <returns>The process' exit code.</returns>
    public static int Run(string[] args)
    {
        NativeHeap.GiveBackLargeBlocks();
        try
        {
            WebApplication app = Build(args);
            EngineHost host = app.Services.GetRequiredService<EngineHost>();
            app.Run();
            return host.IsRefused ? LogRefused : 0;
        }
        catch (Exception failure) when (failure is OptionsException or InvalidDataException or FileNotFoundException or DirectoryNotFoundException)
        {
            Console.Error.WriteLine(failure is InvalidDataException { InnerException: { } cause } ? $"{failure.Message} {cause.Message}" : failure.Message);
            return 2;
        }
        catch (FormatException failure)
        {
            // The server's own check of its addresses.
            Console.Error.WriteLine($"urls: {failure.Message}");
            return 2;
        }
        catch (Exception failure) when (failure is DataDirectoryException or IOException)
        {
            Console.Error.WriteLine(failure.Message);
            return failure.InnerException is LogRefusedException ? LogRefused : 1;
        }
    }

    private static WebApplication Build(string[] args)
    {
        // Our layers replace its sources below; without this it would go on watching the working directory, and with it the data.
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder([.. args, "--hostBuilder:reloadConfigOnChange=false"]);
        ConfigurationLayers.Apply(builder.Configuration, args);
        TsdbRemoteOptions options = OptionsChecks.Read(builder.Configuration);
        var files = new LocalFileSystem(options.Storage.Read.Mmap);
        WebAccess? access = options.Http.WebConfig is { } path ? WebAccess.Load(path, files) : null;
        Listener.Check(builder.Configuration["urls"] ?? "", access);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            Listener.Limit(kestrel, options.Http);
            Listener.Listen(kestrel, options.Http, access);
        });
        // A start that fails says so once: below, or as an unhandled exception.
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical);

        // It makes a scope, an activity and their copies of the execution context for each request, two kilobytes of garbage, for lines that nobody reads: failures are
        // logged by RequestFailures and by the start itself. Who wants the lines names the category.
        if (builder.Configuration[$"Logging:LogLevel:{RequestDiagnostics}"] is null) builder.Logging.AddFilter(RequestDiagnostics, LogLevel.None);
        builder.Logging.AddSimpleConsole(static console =>
        {
            console.SingleLine = true;
            console.UseUtcTimestamp = true;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
        });
        AddServices(builder.Services, options, files);
        AddAccess(builder.Services, access);
        WebApplication app = builder.Build();
        MapAll(app);
        Announce(app, options);
        return app;
    }

    private static void AddServices(IServiceCollection services, TsdbRemoteOptions options, LocalFileSystem files)
    {
        services.Configure<HostOptions>(static host => host.ShutdownTimeout = DrainTimeout);
        services.AddSingleton(options);
        services.AddSingleton(options.Storage);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton<IFileSystem>(files);
        services.AddSingleton<EngineHost>();
        services.AddHostedService(static provider => provider.GetRequiredService<EngineHost>());
        services.AddSingleton(static _ => Prometheus.Metrics.NewCustomRegistry());
        services.AddSingleton<HttpMetrics>();
        services.AddSingleton<RuntimeMetrics>();
        services.AddSingleton(static provider => new Metrics(
            provider.GetRequiredService<CollectorRegistry>(), () => provider.GetRequiredService<EngineHost>().OpenEngine?.Stats()));
        services.AddSingleton<BodiesInFlight>();
        services.AddSingleton<WriteEndpoint>();
        services.AddSingleton<OtlpEndpoint>();
        services.AddSingleton<ReadSlots>();
        services.AddSingleton<ReadEndpoint>();
        services.AddSingleton<SeriesEndpoints>();
        services.AddSingleton<ExemplarEndpoint>();
        services.AddResponseCompression(ApiSurface.Compress);
    }

    private static void AddAccess(IServiceCollection services, WebAccess? access)
    {
        services.AddSingleton<AccessMetrics>();
        if (access is null) return;
        services.AddSingleton(access);
        services.AddSingleton<PasswordChecks>();
        services.AddSingleton<WebConfigReloads>();
        services.AddHostedService(static provider => provider.GetRequiredService<WebConfigReloads>());
    }

    private static void MapAll(WebApplication app)
    {
        app.UseMiddleware<RequestFailures>();
        if (app.Services.GetService<WebAccess>() is not null) app.UseMiddleware<AccessGate>();
        app.UseMiddleware<ApiSurface>();
        app.UseWhen(ApiSurface.MayBeCompressed, static branch => branch.UseResponseCompression());
        RouteGroupBuilder writers = app.MapFor(Right.Write).NotFromPages();
        WriteEndpoint write = app.Services.GetRequiredService<WriteEndpoint>();
        foreach (string path in WriteEndpoint.Paths) writers.Map(path, write.HandleAsync);
        writers.Map(OtlpEndpoint.Path, app.Services.GetRequiredService<OtlpEndpoint>().HandleAsync);
        MapReads(app, app.MapFor(Right.Read));
        app.MapFor(Right.None).MapHealth();
        app.MapFor(Right.Read).OnlyHereUnlessGuarded().MapStatus();
        RouteGroupBuilder admins = app.MapFor(Right.Admin).OnlyHereUnlessGuarded();
        admins.MapAdmin();
        admins.MapVerify();
    }

    private static void MapReads(WebApplication app, RouteGroupBuilder readers)
    {
        readers.Map("/api/v1/read", app.Services.GetRequiredService<ReadEndpoint>().HandleAsync);
        readers.MapMethods("/", [HttpMethods.Get, HttpMethods.Head], StartPage.SendAsync);
        app.Services.GetRequiredService<SeriesEndpoints>().Map(readers);
        app.Services.GetRequiredService<ExemplarEndpoint>().Map(readers);
        readers.MapMetadata();

        // Made now, so that the first scrape has them all.
        _ = app.Services.GetRequiredService<Metrics>();
        _ = app.Services.GetRequiredService<RuntimeMetrics>();
        _ = app.Services.GetRequiredService<AccessMetrics>();
        CollectorRegistry registry = app.Services.GetRequiredService<CollectorRegistry>();
        readers.MapMetrics(settings => settings.Registry = registry, "/metrics");
    }

    private static void Announce(WebApplication app, TsdbRemoteOptions options)
    {
        ILogger log = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("TsdbRemote");
        Log.Starting(log, ProgramVersion.Number, RuntimeInformation.FrameworkDescription, Path.GetFullPath(options.Storage.DataDir));
        Listener.Warn(log, app.Configuration["urls"] ?? "", options.Http, app.Services.GetService<WebAccess>());
    }
}
