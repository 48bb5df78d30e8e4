using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Torture;

/// <summary>The order of what the server asks of the kernel, seen from outside: what a simulated disk is told proves nothing about that.</summary>
public sealed partial class SystemCallTests
{
    private const string Calls = "write,pwrite64,pwritev,pwritev2,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [StraceFact]
    public async Task T27_contents_are_synced_before_their_name_the_name_before_it_is_relied_on_and_the_log_goes_last()
    {
        using var directory = new TempDirectory();
        string data = directory["data"];
        var ledger = new TortureLedger(DateTimeOffset.UtcNow.AddDays(-50).ToUnixTimeMilliseconds());
        using var server = new TortureServer(data, [.. TorturePlan.ServerOptions(Storage.Options.WalDurability.Fsync)]);
        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);
        string trace = directory["trace"];
        using Process strace = Process.Start(new ProcessStartInfo(
            "strace", ["-f", "-y", "-e", $"trace={Calls}", "-o", trace, "-p", server.ProcessId.ToString(CultureInfo.InvariantCulture)])
        { RedirectStandardError = true })!;
        await strace.StandardError.ReadLineAsync(); // it is attached
        using (var stop = new CancellationTokenSource())
        {
            Task writer = new TortureWriter(ledger, 0).RunAsync(server.Client, stop.Token);
            Assert.True(await TortureServer.UntilAsync(() => Task.FromResult(ledger.Acknowledged >= 30 * TortureLedger.SeriesEach), Patience), server.Output);
            await stop.CancelAsync();
            await writer;
        }

        Assert.True(await server.PostAsync("/api/v1/admin/compact"), server.Output);
        server.Kill();
        await strace.WaitForExitAsync();

        Order order = Read(trace, data);
        Assert.Equal([], order.Problems);
        Assert.True(order is { LogSyncs: > 5, Manifests: > 2, Tables: > 0, Blocks: > 0, Segments: > 0 }, $"not everything happened that this is about: {order}");
    }

    /// <summary>
    /// Killed as one of its threads is about to make its n-th call of a kind: around the names that flushes, commits, merges and conversions give and take, and the syncs between them.
    /// </summary>
    /// <remarks><c>KILL_ROUNDS=20</c> in the environment goes on to later calls so many times.</remarks>
    [StraceFact]
    public async Task T26_a_server_that_is_killed_at_a_step_of_its_work_on_the_disk_loses_nothing_acknowledged_whichever_it_is()
    {
        (string Call, int Number)[] steps = [("rename", 1), ("rename", 3), ("fsync", 2), ("fsync", 5), ("fdatasync", 3), ("unlink", 1)];
        int rounds = int.TryParse(Environment.GetEnvironmentVariable("KILL_ROUNDS"), CultureInfo.InvariantCulture, out int given) ? given : 1;
        using var directory = new TempDirectory();
        var ledger = new TortureLedger(DateTimeOffset.UtcNow.AddDays(-50).ToUnixTimeMilliseconds());
        using var server = new TortureServer(directory["data"], [.. TorturePlan.ServerOptions(Storage.Options.WalDurability.Fsync)]);
        int killed = 0;
        for (int kill = 0; kill < rounds * steps.Length; kill++)
        {
            (string call, int number) = steps[kill % steps.Length];
            await AssertHasAllAsync(server, ledger);
            if (await IsKilledAtAsync(server, ledger, call, number + kill / steps.Length)) killed++;
        }

        await AssertHasAllAsync(server, ledger);
        Assert.True(killed >= rounds * steps.Length - 1, $"only {killed} of the steps were come to"); // a slow disk may leave one out
        Assert.True(ledger.Acknowledged > 0);
    }

    private static async Task AssertHasAllAsync(TortureServer server, TortureLedger ledger)
    {
        server.Start();
        Assert.True(await server.WaitForAsync("/-/ready", Patience), server.Output);
        Recovered recovered = await new TortureReader(ledger).ReadAllAsync(server.Client, 0, RequestFate.Acknowledged);
        Assert.True(recovered is { MissingSamples: 0, Refusal: null }, $"{recovered.MissingSamples} samples are lost; refused: {recovered.Refusal}\n{server.Output}");
    }

    /// <returns>False if the server did not come to that step.</returns>
    private static async Task<bool> IsKilledAtAsync(TortureServer server, TortureLedger ledger, string call, int number)
    {
        using Process strace = Process.Start(new ProcessStartInfo(
            "strace",
            [
                "-f", "-qq", "-o", "/dev/null", "-e", $"trace={call}", "-e", string.Create(CultureInfo.InvariantCulture, $"inject={call}:signal=SIGKILL:when={number}"),
                "-p", server.ProcessId.ToString(CultureInfo.InvariantCulture),
            ]))!;
        using var stop = new CancellationTokenSource();
        Task writer = new TortureWriter(ledger, 0).RunAsync(server.Client, stop.Token);
        Task upkeep = Task.Run(async () =>
        {
            try
            {
                for (int round = 0; round < 5; round++) await server.PostAsync("/api/v1/admin/compact");
            }
            catch (Exception gone) when (gone is HttpRequestException or OperationCanceledException or IOException)
            {
                // Killed meanwhile.
            }
        });
        bool isKilled = await TortureServer.UntilAsync(() => Task.FromResult(server.HasEnded), TimeSpan.FromSeconds(20));
        server.Kill();
        await stop.CancelAsync();
        await Task.WhenAll(writer, upkeep);
        await strace.WaitForExitAsync();
        return isKilled;
    }

    private static Order Read(string trace, string data)
    {
        var order = new Order(data);
        Dictionary<string, string> begun = [];
        foreach (string line in File.ReadLines(trace))
        {
            // A call during which another thread's was told is told in two halves; it counts when it is done.
            string thread = line.Split(' ', 2)[0];
            string text = line[thread.Length..].TrimStart();
            if (text.EndsWith("<unfinished ...>", StringComparison.Ordinal)) begun[thread] = text;
            else if (text.StartsWith("<... ", StringComparison.Ordinal)) order.Note(begun.GetValueOrDefault(thread, "") + text);
            else order.Note(text);
        }

        return order;
    }

    [GeneratedRegex(@"^(\w+)\((?:\d+<([^>]*)>)?")]
    private static partial Regex Call();

    [GeneratedRegex("\"([^\"]*)\"")]
    private static partial Regex Quoted();

    /// <summary>The rules, call by call.</summary>
    private sealed class Order(string data)
    {
        private readonly HashSet<string> _unsynced = [];
        private readonly HashSet<string> _unsyncedDirectories = [];

        public List<string> Problems { get; } = [];

        public int LogSyncs { get; private set; }

        public int Manifests { get; private set; }

        public int Tables { get; private set; }

        public int Blocks { get; private set; }

        public int Segments { get; private set; }

        public void Note(string text)
        {
            Match call = Call().Match(text);
            if (!call.Success || text.Contains("= -1", StringComparison.Ordinal)) return;
            string file = call.Groups[2].Value;
            string name = call.Groups[1].Value;
            if (name.Contains("write", StringComparison.Ordinal))
            {
                if (file.StartsWith(data, StringComparison.Ordinal)) _unsynced.Add(file);
            }
            else if (name is "fsync" or "fdatasync")
            {
                if (file.Contains("/wal/", StringComparison.Ordinal)) LogSyncs++;
                _unsynced.Remove(file);
                _unsyncedDirectories.Remove(file);
            }
            else if (name.StartsWith("rename", StringComparison.Ordinal)) Rename(Quoted().Matches(text)[0].Groups[1].Value, Quoted().Matches(text)[1].Groups[1].Value);
            else if (Quoted().Match(text) is { Success: true } path) Unlink(path.Groups[1].Value);
        }

        public override string ToString() => $"{LogSyncs} syncs of the log, {Manifests} manifests, {Tables} tables, {Blocks} blocks, {Segments} segments removed";

        private void Rename(string from, string to)
        {
            if (!to.StartsWith(data, StringComparison.Ordinal)) return;
            foreach (string file in _unsynced.Where(file => file == from || file.StartsWith(from + "/", StringComparison.Ordinal))) Problems.Add($"{from} gets the name {to} before {file} is synced");
            bool isManifest = to == Path.Combine(data, "MANIFEST");
            if (isManifest)
            {
                Manifests++;
                foreach (string directory in _unsyncedDirectories.Where(directory => directory != data)) Problems.Add($"a manifest is committed before the names in {directory} are synced");
            }

            if (to.EndsWith(".sst", StringComparison.Ordinal)) Tables++;
            if (Path.GetDirectoryName(to) == Path.Combine(data, "blocks") && !to.Contains(".tmp", StringComparison.Ordinal)) Blocks++;
            _unsyncedDirectories.Add(Path.GetDirectoryName(to)!);
        }

        private void Unlink(string path)
        {
            if (!path.StartsWith(data, StringComparison.Ordinal)) return;
            bool isData = path.EndsWith(".log", StringComparison.Ordinal) || path.EndsWith(".sst", StringComparison.Ordinal);
            if (path.EndsWith(".log", StringComparison.Ordinal)) Segments++;
            if (isData && _unsyncedDirectories.Contains(data)) Problems.Add($"{path} is removed before the manifest that names it no longer is durable");
            if (isData && Manifests == 0) Problems.Add($"{path} is removed before any manifest is committed");
            _unsynced.Remove(path);
        }
    }

    /// <summary>Skipped where there is no strace.</summary>
    private sealed class StraceFactAttribute : FactAttribute
    {
        public StraceFactAttribute()
        {
            bool isThere = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(static directory => File.Exists(Path.Combine(directory, "strace")));
            if (!isThere) Skip = "needs strace";
        }
    }
}
