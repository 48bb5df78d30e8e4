using System.Globalization;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Storage.Options;
using TsdbRemote.Storage.Verification;

namespace TsdbRemote.Torture;

/// <summary>What a torture came to.</summary>
internal sealed record TortureFigures
{
    /// <summary>Samples that were answered 2xx.</summary>
    public long Acknowledged { get; set; }

    /// <summary>Of these, those that had to be there at the end and were.</summary>
    public long Recovered { get; set; }

    /// <summary>Samples of mode <c>none</c> that were acknowledged and not flushed when the server was killed: what that mode gives away.</summary>
    public long GivenAway { get; set; }

    /// <summary>Servers killed.</summary>
    public int Kills { get; set; }

    /// <summary>Of these, before they were ready.</summary>
    public int EarlyKills { get; set; }

    /// <summary>Damaged files.</summary>
    public int Damages { get; set; }

    /// <summary>Reads of what had just been acknowledged, beside writers.</summary>
    public long Reads { get; set; }
}

/// <summary>
/// Turn by turn, each with a mode of durability and a directory of its own: servers are written to and read from, killed at random moments, started again, and asked for all that they
/// acknowledged; in the end files of copies are damaged.
/// </summary>
internal sealed class TortureRun(TorturePlan plan, TextWriter output)
{
    private const int Readers = 2;

    // Of each turn, however short it is.
    private const int LeastKills = 3;
    private const int LeastDamages = 2;
    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(120);

    // Far back, so that every window is closed and becomes a block as soon as it is flushed.
    private static readonly TimeSpan Past = TimeSpan.FromDays(50);

    private readonly Random _random = new(plan.Seed);

    /// <summary>What it came to so far.</summary>
    public TortureFigures Figures { get; } = new();

    /// <summary>Runs it.</summary>
    /// <exception cref="TortureException">A promise was broken; what is in the directory shows how.</exception>
    public async Task RunAsync(CancellationToken cancel)
    {
        long began = TimeProvider.System.GetTimestamp();
        for (int turn = 0; !cancel.IsCancellationRequested; turn++)
        {
            if (turn >= plan.Modes.Count && TimeProvider.System.GetElapsedTime(began) + plan.TurnDuration / 2 >= plan.Duration) return;
            WalDurability mode = plan.Modes[turn % plan.Modes.Count];
            string directory = Path.Combine(plan.Directory, string.Create(CultureInfo.InvariantCulture, $"torture-{turn}-{mode}").ToLowerInvariant());
            await TurnAsync(mode, directory, cancel);
            Directory.Delete(directory, recursive: true);
        }
    }

    private async Task TurnAsync(WalDurability mode, string directory, CancellationToken cancel)
    {
        var ledger = new TortureLedger((TimeProvider.System.GetUtcNow() - Past).ToUnixTimeMilliseconds());
        RequestFate least = mode == WalDurability.None ? RequestFate.Flushed : RequestFate.Acknowledged;
        using var server = new TortureServer(directory, TorturePlan.ServerOptions(mode));
        long began = TimeProvider.System.GetTimestamp();
        for (int kill = 0; !cancel.IsCancellationRequested && (kill < LeastKills || TimeProvider.System.GetElapsedTime(began) < plan.TurnDuration * 0.6); kill++)
        {
            server.Start();
            bool isEarly = kill % 3 == 2;
            await RequireAsync(server, isEarly ? "/-/healthy" : "/-/ready");
            if (!isEarly) await CheckAsync(server, ledger, least, mode);
            long acknowledged = ledger.Acknowledged;
            TimeSpan life = TimeSpan.FromMilliseconds(50 * Math.Pow(100, _random.NextDouble()));
            await LiveAsync(server, ledger, life);
            if (mode == WalDurability.None) Figures.GivenAway += ledger.ForgetUnflushed();
            Figures.Acknowledged += Math.Max(0, ledger.Acknowledged - acknowledged);
            Figures.Kills++;
            if (isEarly) Figures.EarlyKills++;
            if (mode != WalDurability.None) Verify(directory);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{mode}: killed after {life.TotalMilliseconds:F0} ms{(isEarly ? ", while the log was replayed" : "")}; {ledger.Acknowledged} samples have to be there"));
        }

        server.Start();
        await RequireAsync(server, "/-/ready");
        Figures.Recovered += await CheckAsync(server, ledger, least, mode);
        server.Kill();
        await DamageAsync(mode, directory, ledger, least, began, cancel);
    }

    /// <summary>Writers, readers and somebody who flushes, until the server is killed under them.</summary>
    private async Task LiveAsync(TortureServer server, TortureLedger ledger, TimeSpan life)
    {
        using var stop = new CancellationTokenSource();
        List<Task> busy = [.. Enumerable.Range(0, TortureLedger.Writers).Select(number => Task.Run(() => new TortureWriter(ledger, number).RunAsync(server.Client, stop.Token)))];
        busy.AddRange(Enumerable.Range(0, Readers).Select(_ => Task.Run(() => ReadAsync(server.Client, ledger, new Random(_random.Next()), stop.Token))));
        Task upkeep = Task.Run(() => FlushAsync(server, ledger, life, stop.Token));
        Task first = await Task.WhenAny(LastAsync(ledger, life), Task.WhenAny(busy).Unwrap());
        if (server.HasEnded) throw new TortureException($"the server ended by itself with exit code {server.ExitCode}:\n{server.Output}");
        server.Kill();
        await stop.CancelAsync();
        await first;
        await Task.WhenAll([.. busy, upkeep]);
    }

    /// <summary>The end of a life: mostly some time after the first acknowledgement, now and then before there is any.</summary>
    private async Task LastAsync(TortureLedger ledger, TimeSpan life)
    {
        long before = ledger.Acknowledged;
        if (_random.Next(4) > 0) await TortureServer.UntilAsync(() => Task.FromResult(ledger.Acknowledged > before), StartPatience);
        await Task.Delay(life);
    }

    private async Task ReadAsync(HttpClient client, TortureLedger ledger, Random random, CancellationToken stop)
    {
        var reader = new TortureReader(ledger);
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await reader.ReadRecentAsync(client, random);
                lock (Figures) Figures.Reads++;
            }
            catch (Exception gone) when (gone is HttpRequestException or OperationCanceledException or IOException or ObjectDisposedException)
            {
                // Killed meanwhile.
            }

            await Task.Delay(10, CancellationToken.None);
        }
    }

    private static async Task FlushAsync(TortureServer server, TortureLedger ledger, TimeSpan life, CancellationToken stop)
    {
        try
        {
            await Task.Delay(life * 0.4, stop);
            RequestFate[][] before = ledger.Snapshot();
            if (await server.PostAsync("/api/v1/admin/flush")) ledger.Flush(before);
            await server.PostAsync("/api/v1/admin/compact");
        }
        catch (Exception gone) when (gone is HttpRequestException or OperationCanceledException or IOException or ObjectDisposedException)
        {
            // Killed meanwhile: nobody knows how far it came.
        }
    }

    private static async Task RequireAsync(TortureServer server, string page)
    {
        if (!await server.WaitForAsync(page, StartPatience)) throw new TortureException($"the server does not answer {page} after a kill{(server.HasEnded ? $" but ended with exit code {server.ExitCode}" : "")}:\n{server.Output}");
    }

    /// <returns>Samples that had to be there and were.</returns>
    private static async Task<long> CheckAsync(TortureServer server, TortureLedger ledger, RequestFate least, WalDurability mode)
    {
        long missing = 0;
        long must = 0;
        List<string> which = [];
        for (int writer = 0; writer < TortureLedger.Writers; writer++)
        {
            Recovered recovered = await new TortureReader(ledger).ReadAllAsync(server.Client, writer, least);
            if (recovered.Refusal is { } refusal) throw new TortureException($"a read after the start was refused: {refusal}\n{server.Output}");
            must += ledger.Snapshot()[writer].LongCount(fate => fate >= least) * TortureLedger.SeriesEach;
            missing += recovered.MissingSamples;
            which.AddRange(recovered.Missing.Take(5).Select(request => $"request {request} of writer {writer}"));
        }

        if (missing > 0) throw new TortureException($"{mode}: of {must} samples that have to be there {missing} are lost: {string.Join(", ", which)}\n{server.Output}");
        return must;
    }

    /// <summary>What a kill left is sound: what a torn end of the log and temporary files may be, notes, and nothing else.</summary>
    // Not in mode none: there a table whose commit was cut off has no segment to be made from again, so it may be the only copy, and is rightly warned of.
    private static void Verify(string directory)
    {
        VerifyReport report = DirectoryVerifier.Verify(new LocalFileSystem(mmap: false), directory, null, CancellationToken.None);
        if (!report.IsSound) throw new TortureException($"the directory is not sound after a kill: {string.Join('\n', report.Findings)}");
    }

    private async Task DamageAsync(WalDurability mode, string directory, TortureLedger ledger, RequestFate least, long began, CancellationToken cancel)
    {
        string[] kinds = [.. TortureDamage.KindsOf(directory).Keys.Order(StringComparer.Ordinal)];
        _random.Shuffle(kinds);
        var damage = new TortureDamage(ledger, least, TorturePlan.ServerOptions(mode), _random);
        for (int number = 0; !cancel.IsCancellationRequested && (number < LeastDamages || TimeProvider.System.GetElapsedTime(began) < plan.TurnDuration); number++)
        {
            string told = await damage.RunAsync(directory, kinds[number % kinds.Length], directory + "-copy");
            Figures.Damages++;
            output.WriteLine($"{mode}: {told}");
        }
    }
}
